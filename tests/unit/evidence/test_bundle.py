# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.core.registry import PKIX_EVIDENCE, TCG_ATTEST_TPM_CERTIFY
from birthmark.evidence.bundle import BUNDLE_MAX_BYTES, make_bundle, read_bundle
from birthmark.testing.forge import Chip, Forge
from birthmark.testing.statements import bundle as forged_bundle
from birthmark.testing.statements import oid, tlv
from support.damage import damaged

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number:UserWarning")

NOW = datetime(2026, 11, 23, tzinfo=UTC)
AK = Forge.at(NOW).maker.chip().ak_certificate.public_bytes(Encoding.DER)
STATEMENT = tlv(0x30, tlv(0x04, b"anything"))
TYPES = st.sampled_from([PKIX_EVIDENCE, TCG_ATTEST_TPM_CERTIFY])


@pytest.fixture(scope="module")
def chip(forge: Forge) -> Chip:
    return forge.maker.chip()


@pytest.fixture(scope="module")
def ak(chip: Chip) -> bytes:
    return chip.ak_certificate.public_bytes(Encoding.DER)


def test_a_bundle_is_read_as_it_was_made(ak: bytes, chip: Chip) -> None:
    bundle = read_bundle(make_bundle(PKIX_EVIDENCE, STATEMENT, (ak,)))
    assert (bundle.statement_type, bundle.statement) == (PKIX_EVIDENCE, STATEMENT)
    assert bundle.certificates == (chip.ak_certificate,)


@given(TYPES, st.binary(max_size=300), st.integers(1, 3))
def test_a_bundle_is_byte_for_byte_what_an_independent_encoder_writes(
    kind: ObjectIdentifier, content: bytes, copies: int
) -> None:
    statement = tlv(0x04, content)
    made = make_bundle(kind, statement, (AK,) * copies)
    assert made == forged_bundle(kind, statement, (AK,) * copies)
    assert read_bundle(made).statement == statement


def certificates(*ders: bytes) -> bytes:
    return tlv(0x30, *ders)


def statements(*ders: bytes) -> bytes:
    return tlv(0x30, *ders)


ONE = tlv(0x30, oid(PKIX_EVIDENCE), STATEMENT)
WRONG_FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "an empty sequence": lambda _: tlv(0x30),
    "no statement": lambda ak: tlv(0x30, statements(), certificates(ak)),
    "two statements": lambda ak: tlv(0x30, statements(ONE, ONE), certificates(ak)),
    "no certificates field": lambda _: tlv(0x30, statements(ONE)),
    "no certificate": lambda _: tlv(0x30, statements(ONE), certificates()),
    "five certificates": lambda ak: tlv(0x30, statements(ONE), certificates(*[ak] * 5)),
    "a third field": lambda ak: tlv(0x30, statements(ONE), certificates(ak), tlv(0x05)),
    "a trailing byte": lambda ak: tlv(0x30, statements(ONE), certificates(ak)) + b"\0",
    "a cut end": lambda ak: tlv(0x30, statements(ONE), certificates(ak))[:-1],
    "a long length": lambda ak: b"\x30\x83\x00" + tlv(0x30, statements(ONE), certificates(ak))[2:],
    "a set": lambda ak: tlv(0x31, statements(ONE), certificates(ak)),
    "the old hint": lambda ak: tlv(
        0x30, statements(tlv(0x30, oid(PKIX_EVIDENCE), STATEMENT, tlv(0x0C, b"hint"))), certificates(ak)
    ),
    "an other certificate choice": lambda ak: tlv(0x30, statements(ONE), certificates(tlv(0xA3, ak))),
    "a certificate that is none": lambda _: tlv(0x30, statements(ONE), certificates(tlv(0x30, tlv(0x02, b"\1")))),
    "a certificate and a byte": lambda ak: tlv(0x30, statements(ONE), certificates(ak + b"\0")),
}


@pytest.mark.parametrize("wrong", WRONG_FRAMES)
def test_a_wrong_frame_is_refused(wrong: str, ak: bytes) -> None:
    with pytest.raises(DecodeError):
        read_bundle(WRONG_FRAMES[wrong](ak))


def test_a_bundle_over_the_limit_is_not_even_parsed(ak: bytes) -> None:
    padding = tlv(0x04, bytes(BUNDLE_MAX_BYTES))
    with pytest.raises(DecodeError, match="at most"):
        read_bundle(forged_bundle(PKIX_EVIDENCE, padding, (ak,)))


def test_making_a_bundle_of_what_is_not_der_is_refused(ak: bytes) -> None:
    with pytest.raises(DecodeError):
        make_bundle(PKIX_EVIDENCE, STATEMENT + b"\0", (ak,))
    with pytest.raises(DecodeError):
        make_bundle(PKIX_EVIDENCE, STATEMENT, (b"\x30",))


def test_unused_bits_in_a_certificates_signature_are_refused(forge: Forge) -> None:
    # Only a signature that ends in a zero bit can claim an unused one and still be the same number.
    chips = (forge.maker.chip().ak_certificate.public_bytes(Encoding.DER) for _ in count())
    ak = next(certificate for certificate in chips if certificate[-1] % 2 == 0)
    signature = unused_bits_offset(ak)
    with pytest.raises(DecodeError, match="whole number of bytes"):
        read_bundle(forged_bundle(PKIX_EVIDENCE, STATEMENT, (ak[:signature] + b"\1" + ak[signature + 1 :],)))


def test_a_certificate_that_names_two_algorithms_is_refused(ak: bytes) -> None:
    outer = ak.rindex(bytes.fromhex("06082a8648ce3d040302"))
    changed = ak[: outer + 9] + b"\x03" + ak[outer + 10 :]
    with pytest.raises(DecodeError, match="two different signature algorithms"):
        read_bundle(forged_bundle(PKIX_EVIDENCE, STATEMENT, (changed,)))


def test_a_negative_serial_number_is_refused(ak: bytes, chip: Chip) -> None:
    serial = chip.ak_certificate.serial_number.to_bytes(16, "big")
    changed = ak.replace(b"\x02\x10" + serial, b"\x02\x10\x80" + serial[1:])
    with pytest.raises(DecodeError, match="positive serial"):
        read_bundle(forged_bundle(PKIX_EVIDENCE, STATEMENT, (changed,)))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read_bundle(data)
    except DecodeError:
        return


@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    whole = forged_bundle(PKIX_EVIDENCE, STATEMENT, (AK,))
    try:
        read_bundle(data.draw(damaged(whole)))
    except DecodeError:
        return


def unused_bits_offset(certificate: bytes) -> int:
    """Where the count of unused bits stands: behind tag and length of the last BIT STRING."""
    return certificate.rindex(bytes.fromhex("06082a8648ce3d040302")) + 12
