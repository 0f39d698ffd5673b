# SPDX-License-Identifier: Apache-2.0
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.evidence import tpm
from birthmark.evidence.attestation_key import AttestationKey, read_attestation_key
from birthmark.evidence.errors import EvidenceError, StatementSignatureError
from birthmark.testing.forge import TPM, Chip, Forge, new_key, spki
from birthmark.testing.statements import TPMSays, tlv, tpm2b, tpm_statement, tpms_attest, tpmt_public, tpmt_signature
from support.damage import damaged

AK = new_key()
KEY = new_key().public_key()
SAYS = TPMSays(nonce=bytes(range(32)), public_key=KEY)
ATTEST, PUBLIC = tpms_attest(SAYS), tpmt_public(KEY, SAYS.attributes)
SIGNATURE = tpmt_signature(ATTEST, AK)


@pytest.fixture(scope="module")
def chip(forge: Forge) -> Chip:
    return forge.maker.chip(TPM)


@pytest.fixture(scope="module")
def ak(chip: Chip) -> AttestationKey:
    return read_attestation_key(chip.ak_certificate)


def statement(attest: bytes = ATTEST, signature: bytes = SIGNATURE, public: bytes = PUBLIC) -> bytes:
    return tlv(0x30, *(tlv(0x04, part) for part in (attest, signature, public)))


@given(st.binary(min_size=1, max_size=64), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_whatever_is_said_is_read_as_it_was_said(nonce: bytes, attributes: int, firmware: int) -> None:
    told = TPMSays(nonce=nonce, public_key=KEY, attributes=attributes, firmware_version=firmware)
    read = tpm.read(tpm_statement(told, AK))
    assert read.attest.signed == tpms_attest(told)
    assert (read.attest.extra_data, read.attest.firmware_version) == (nonce, firmware)
    assert (read.public.attributes, read.public.x, read.public.y) == (attributes, *point(KEY))
    assert read.attest.name == read.public.name


def point(key: ec.EllipticCurvePublicKey) -> tuple[int, int]:
    numbers = key.public_numbers()
    return numbers.x, numbers.y


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
def test_the_attested_key_is_given_as_the_spki_that_a_certificate_has(
    chip: Chip, ak: AttestationKey, curve: ec.EllipticCurve
) -> None:
    key = new_key(curve).public_key()
    claims = tpm.verify(tpm_statement(replace(SAYS, public_key=key), chip.ak), ak)
    assert claims.spki == spki(key)


@pytest.mark.parametrize("wrapped", [(), ("attest",), ("public",), ("attest", "public")])
@pytest.mark.parametrize("signature", ["TPMT_SIGNATURE", "DER"])
def test_every_mix_of_wrappings_means_the_same(
    chip: Chip, ak: AttestationKey, wrapped: tuple[str, ...], signature: str
) -> None:
    parts = {"attest": ATTEST, "public": PUBLIC}
    parts |= {name: tpm2b(parts[name]) for name in wrapped}
    by_tpm, by_der = tpmt_signature(ATTEST, chip.ak), chip.ak.sign(ATTEST, ec.ECDSA(hashes.SHA256()))
    mixed = statement(parts["attest"], by_der if signature == "DER" else by_tpm, parts["public"])
    assert tpm.verify(mixed, ak) == tpm.verify(tpm_statement(SAYS, chip.ak), ak)


def test_a_der_signature_by_a_p384_ak_is_over_sha384() -> None:
    key = new_key(ec.SECP384R1())
    ak = AttestationKey(key.public_key(), "", TPM.hw_type, "00", "swtpm")
    mixed = statement(signature=key.sign(ATTEST, ec.ECDSA(hashes.SHA384())))
    assert tpm.verify(mixed, ak).nonce == SAYS.nonce


def test_another_keys_signature_is_refused(ak: AttestationKey) -> None:
    with pytest.raises(StatementSignatureError):
        tpm.verify(statement(), ak)


def test_a_statement_about_another_key_than_it_shows_is_refused(chip: Chip, ak: AttestationKey) -> None:
    with pytest.raises(EvidenceError) as refused:
        tpm.verify(tpm_statement(replace(SAYS, certified=new_key().public_key()), chip.ak), ak)
    assert refused.value.finding == "evidence.key.mismatch"


def test_a_point_off_its_curve_is_refused(chip: Chip, ak: AttestationKey) -> None:
    x, _ = point(KEY)
    public = PUBLIC[:-34] + tpm2b(x.to_bytes(32, "big"))
    attest = ATTEST.replace(tpm.read_public(PUBLIC).name, tpm.read_public(public).name)
    with pytest.raises(DecodeError, match="not on its curve"):
        tpm.verify(statement(attest, tpmt_signature(attest, chip.ak), public), ak)


FIXED_TPM, FIXED_PARENT, ORIGIN, RESTRICTED, DECRYPT, SIGN = 1 << 1, 1 << 4, 1 << 5, 1 << 16, 1 << 17, 1 << 18
GOOD = FIXED_TPM | FIXED_PARENT | ORIGIN | SIGN


@pytest.mark.parametrize(
    ("attributes", "meaning"),
    [
        (GOOD, {"made_in_chip", "sign_only"}),
        (GOOD & ~FIXED_TPM, {"made_in_chip", "sign_only", "extractable"}),
        (GOOD & ~FIXED_PARENT, {"made_in_chip", "sign_only", "extractable"}),
        (GOOD & ~ORIGIN, {"sign_only"}),
        (GOOD & ~SIGN, {"made_in_chip"}),
        (GOOD | RESTRICTED, {"made_in_chip"}),
        (GOOD | DECRYPT, {"made_in_chip"}),
        (0, {"extractable"}),
    ],
)
def test_attributes_mean_what_part_2_of_the_library_says(
    chip: Chip, ak: AttestationKey, attributes: int, meaning: set[str]
) -> None:
    claims = tpm.verify(tpm_statement(replace(SAYS, attributes=attributes), chip.ak), ak)
    assert {name for name in ("made_in_chip", "extractable", "sign_only") if getattr(claims, name)} == meaning


@pytest.mark.parametrize(("version", "text"), [(1, "0.0.0.1"), (0x0007_0055_0011_CB00, "7.85.17.51968")])
def test_firmware_is_written_as_makers_write_it(version: int, text: str) -> None:
    assert tpm.firmware_text(version) == text


def changed(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def u16(value: int) -> bytes:
    return struct.pack(">H", value)


# Offsets into TPMT_PUBLIC: type 0, nameAlg 2, attributes 4, authPolicy 8, symmetric 10, scheme 12, its hash 14,
# curve 16, kdf 18, x 20. Into TPMS_ATTEST: magic 0, type 4, qualifiedSigner 6, extraData 42, clockInfo 76.
WRONG: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "two parts": lambda: tlv(0x30, tlv(0x04, ATTEST), tlv(0x04, SIGNATURE)),
    "four parts": lambda: tlv(0x30, *[tlv(0x04, ATTEST)] * 4),
    "a trailing byte": lambda: statement() + b"\0",
    "a byte behind TPMS_ATTEST": lambda: statement(attest=ATTEST + b"\0"),
    "a cut TPMS_ATTEST": lambda: statement(attest=ATTEST[:-1]),
    "an empty TPMS_ATTEST": lambda: statement(attest=b""),
    "a wrapped TPMS_ATTEST of the wrong size": lambda: statement(attest=u16(len(ATTEST) + 1) + ATTEST),
    "another magic": lambda: statement(attest=changed(ATTEST, 0, b"\0")),
    "a quote": lambda: statement(attest=changed(ATTEST, 4, u16(0x8018))),
    "no nonce": lambda: statement(attest=tpms_attest(replace(SAYS, nonce=b""))),
    "a nonce of 65 bytes": lambda: statement(attest=tpms_attest(replace(SAYS, nonce=bytes(65)))),
    "safe neither YES nor NO": lambda: statement(attest=changed(ATTEST, 92, b"\2")),
    "a byte behind TPMT_PUBLIC": lambda: statement(public=PUBLIC + b"\0"),
    "an empty TPMT_PUBLIC": lambda: statement(public=b""),
    "an RSA key": lambda: statement(public=changed(PUBLIC, 0, u16(0x0001))),
    "a name by SHA-1": lambda: statement(public=changed(PUBLIC, 2, u16(0x0004))),
    "a symmetric algorithm": lambda: statement(public=changed(PUBLIC, 10, u16(0x0006))),
    "the scheme ECDAA": lambda: statement(public=changed(PUBLIC, 12, u16(0x001A))),
    "the scheme ECDSA with SHA-1": lambda: statement(public=changed(PUBLIC, 14, u16(0x0004))),
    "the curve P-224": lambda: statement(public=changed(PUBLIC, 16, u16(0x0002))),
    "the curve P-521": lambda: statement(public=changed(PUBLIC, 16, u16(0x0005))),
    "a key derivation": lambda: statement(public=changed(PUBLIC, 18, u16(0x0020))),
    "a byte behind the signature": lambda: statement(signature=SIGNATURE + b"\0"),
    "an empty signature": lambda: statement(signature=b""),
    "an RSA signature": lambda: statement(signature=changed(SIGNATURE, 0, u16(0x0014))),
    "a signature over SHA-1": lambda: statement(signature=changed(SIGNATURE, 2, u16(0x0004))),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_statement_outside_the_profile_is_refused(wrong: str) -> None:
    with pytest.raises(DecodeError):
        tpm.read(WRONG[wrong]())


def test_a_key_without_a_fixed_scheme_is_read() -> None:
    public = changed(PUBLIC, 12, u16(0x0010))
    assert tpm.read_public(public[:14] + public[16:]).attributes == SAYS.attributes


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (tpm.read, tpm.read_attest, tpm.read_public, tpm.read_signature):
        try:
            read(data)
        except DecodeError:
            continue


@given(damaged(statement()), damaged(ATTEST), damaged(PUBLIC), damaged(SIGNATURE))
def test_any_damage_is_read_or_refused(whole: bytes, attest: bytes, public: bytes, signature: bytes) -> None:
    damage = ((tpm.read, whole), (tpm.read, statement(attest, signature, public)))
    for read, data in damage:
        try:
            read(data)
        except DecodeError:
            continue
