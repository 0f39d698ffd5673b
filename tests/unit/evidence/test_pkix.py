# SPDX-License-Identifier: Apache-2.0
import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import SignatureAlgorithmOID
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import registry
from birthmark.core.errors import DecodeError
from birthmark.evidence import pkix
from birthmark.evidence.attestation_key import AttestationKey, read_attestation_key
from birthmark.evidence.errors import StatementSignatureError
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey
from birthmark.pki.keys.software import generate
from birthmark.testing.forge import Chip, Forge, new_key, spki
from birthmark.testing.statements import PKIXSays, element, oid, pkix_statement, pkix_tbs, tlv
from support.damage import damaged

AK = new_key()
SAYS = PKIXSays(nonce=bytes(32), spki=spki(new_key().public_key()), hw_model=b"optiga-trust-m", hw_serial="0123456789")
KEY_ID = hashlib.sha256(spki(AK.public_key())).digest()
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@pytest.fixture(scope="module")
def chip(forge: Forge) -> Chip:
    return forge.maker.chip()


@pytest.fixture(scope="module")
def ak(chip: Chip) -> AttestationKey:
    return read_attestation_key(chip.ak_certificate)


says = st.builds(
    PKIXSays,
    nonce=st.binary(min_size=32, max_size=32),
    spki=st.binary(max_size=200),
    hw_model=st.text(st.characters(codec="ascii"), max_size=40).map(str.encode),
    hw_serial=TEXT,
    firmware=TEXT,
    debugstat=st.integers(0, 127),
    key_identifier=TEXT,
    extractable=st.booleans(),
    sensitive=st.booleans(),
    never_extractable=st.booleans(),
    local=st.booleans(),
    purpose=st.lists(st.sampled_from([registry.CAPABILITY_SIGN, registry.CAPABILITY_DECRYPT]), max_size=3).map(tuple),
)


@given(says)
def test_whatever_is_said_is_read_as_it_was_said(told: PKIXSays) -> None:
    read = pkix.read(pkix_statement(told, AK))
    heard = PKIXSays(
        nonce=read.nonce,
        spki=read.spki,
        hw_model=read.hw_model.encode(),
        hw_serial=read.hw_serial,
        firmware=read.firmware,
        debugstat=read.debugstat,
        key_identifier=read.key_identifier,
        extractable=read.extractable,
        sensitive=read.sensitive,
        never_extractable=read.never_extractable,
        local=read.local,
        purpose=read.purpose,
    )
    assert heard == told
    assert read.signed == pkix_tbs(told)


@pytest.mark.parametrize(
    ("change", "claim", "value"),
    [
        ({}, "extractable", False),
        ({"extractable": True}, "extractable", True),
        ({"never_extractable": False}, "extractable", True),
        ({"sensitive": False}, "extractable", True),
        ({}, "made_in_chip", True),
        ({"local": False}, "made_in_chip", False),
        ({}, "sign_only", True),
        ({"purpose": ()}, "sign_only", False),
        ({"purpose": (registry.CAPABILITY_DECRYPT,)}, "sign_only", False),
        ({"purpose": (registry.CAPABILITY_SIGN, registry.CAPABILITY_DECRYPT)}, "sign_only", False),
        ({"debugstat": 0}, "debug_disabled", False),
        ({"debugstat": 2}, "debug_disabled", False),
        ({"debugstat": 3}, "debug_disabled", True),
        ({"debugstat": 4}, "debug_disabled", True),
        ({"debugstat": 5}, "debug_disabled", False),
    ],
)
def test_a_claim_means_what_the_draft_says(
    chip: Chip, ak: AttestationKey, change: dict[str, object], claim: str, value: object
) -> None:
    claims = pkix.verify(pkix_statement(replace(SAYS, **change), chip.ak), ak)
    assert getattr(claims, claim) is value


def test_another_keys_signature_is_refused(chip: Chip, ak: AttestationKey) -> None:
    tbs = pkix_tbs(SAYS)
    key_id = hashlib.sha256(spki(chip.ak.public_key())).digest()
    with pytest.raises(StatementSignatureError, match="did not sign"):
        pkix.verify(signed(tbs, key_id=key_id, key=new_key()), ak)


def test_a_statement_that_names_another_signer_is_refused(chip: Chip, ak: AttestationKey) -> None:
    with pytest.raises(StatementSignatureError, match="another attestation key"):
        pkix.verify(signed(pkix_tbs(SAYS), key=chip.ak), ak)


def test_a_p384_ak_may_sign_with_sha384() -> None:
    key = new_key(ec.SECP384R1())
    ak = AttestationKey(key.public_key(), KEY_ID.hex(), registry.TCG_HW_TYPE_TPM20, "00", None)
    statement = signed(pkix_tbs(SAYS), key=key, hash_algorithm=hashes.SHA384(), algorithm=SHA384)
    assert pkix.verify(statement, ak).nonce == SAYS.nonce


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_an_attestation_key_may_be_of_any_type_that_we_certify(algorithm: KeyAlgorithm) -> None:
    key = generate(algorithm)
    ak = AttestationKey(key.public_key(), fingerprint_of(key), registry.TCG_HW_TYPE_TPM20, "00", None)
    assert pkix.verify(pkix_statement(SAYS, key), ak).nonce == SAYS.nonce


@pytest.mark.parametrize("named", KeyAlgorithm)
@pytest.mark.parametrize("made", KeyAlgorithm)
def test_a_signature_of_another_kind_than_is_named_is_refused(made: KeyAlgorithm, named: KeyAlgorithm) -> None:
    key = generate(made)
    ak = AttestationKey(key.public_key(), fingerprint_of(key), registry.TCG_HW_TYPE_TPM20, "00", None)
    right = pkix_statement(SAYS, key)
    written = oid(pkix.read(right).algorithm)
    wrong = right.replace(written, oid(named.signature_oid))
    if wrong == right:
        return
    with pytest.raises((StatementSignatureError, DecodeError)):  # DecodeError: an OID of another length
        pkix.verify(wrong, ak)


def fingerprint_of(key: SigningKey) -> str:
    return hashlib.sha256(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


SHA384 = oid(ObjectIdentifier("1.2.840.10045.4.3.3"))
SHA1 = oid(ObjectIdentifier("1.2.840.10045.4.1"))


def signed(  # noqa: PLR0913 each argument is one field to be wrong
    tbs: bytes,
    *,
    key_id: bytes = KEY_ID,
    key: ec.EllipticCurvePrivateKey = AK,
    hash_algorithm: hashes.HashAlgorithm | None = None,
    algorithm: bytes = oid(SignatureAlgorithmOID.ECDSA_WITH_SHA256),
    sid: bytes | None = None,
    copies: int = 1,
    tail: bytes = b"",
) -> bytes:
    value = key.sign(tbs, ec.ECDSA(hash_algorithm or hashes.SHA256()))
    sid = tlv(0xA0, tlv(0x04, key_id)) if sid is None else sid
    block = tlv(0x30, tlv(0x30, sid), tlv(0x30, algorithm), tlv(0x04, value))
    return tlv(0x30, tbs, tlv(0x30, *[block] * copies), tail)


TRANSACTION, PLATFORM, KEY = registry.ELEMENT_TRANSACTION, registry.ELEMENT_PLATFORM, registry.ELEMENT_KEY
NONCE = (registry.CLAIM_NONCE, tlv(0x04, bytes(32)))
PLATFORM_CLAIMS = [
    (registry.CLAIM_HWMODEL, tlv(0x04, b"m")),
    (registry.CLAIM_HWSERIAL, tlv(0x0C, b"s")),
    (registry.CLAIM_SWVERSION, tlv(0x0C, b"1")),
    (registry.CLAIM_DEBUGSTAT, tlv(0x02, b"\3")),
]
YES, NO = tlv(0x01, b"\xff"), tlv(0x01, b"\0")
KEY_CLAIMS = [
    (registry.CLAIM_KEY_IDENTIFIER, tlv(0x0C, b"k")),
    (registry.CLAIM_KEY_SPKI, tlv(0x04, b"spki")),
    (registry.CLAIM_KEY_EXTRACTABLE, NO),
    (registry.CLAIM_KEY_SENSITIVE, YES),
    (registry.CLAIM_KEY_NEVER_EXTRACTABLE, YES),
    (registry.CLAIM_KEY_LOCAL, YES),
    (registry.CLAIM_KEY_PURPOSE, tlv(0x30, oid(registry.CAPABILITY_SIGN))),
]
VERSION = tlv(0x02, b"\1")
Claim = tuple[ObjectIdentifier, bytes]


def told(
    transaction: list[Claim] | None = None,
    platform: list[Claim] | None = None,
    key: list[Claim] | None = None,
    *more: bytes,
    version: bytes = VERSION,
) -> bytes:
    elements = (
        element(TRANSACTION, transaction or [NONCE]),
        element(PLATFORM, platform or PLATFORM_CLAIMS),
        element(KEY, key or KEY_CLAIMS),
    )
    return signed(tlv(0x30, version, tlv(0x30, *elements, *more)))


UNKNOWN = ObjectIdentifier("1.3.6.1.4.1.58270.77")


def test_elements_and_claims_that_we_do_not_know_are_passed_over() -> None:
    new_claim = [*PLATFORM_CLAIMS, (UNKNOWN, tlv(0x30))]
    assert pkix.read(told(None, new_claim, None, element(UNKNOWN, [NONCE]))).hw_model == "m"


@pytest.mark.parametrize(
    "value",
    [tlv(0x30, tlv(0x02, b"\1")), tlv(0x05), tlv(0x02, b"\1" * 40), tlv(0x13, b"text"), tlv(0xA0, tlv(0x05)), b""],
)
def test_a_claim_that_we_do_not_know_may_have_any_value(value: bytes) -> None:
    unknown = element(UNKNOWN, [(UNKNOWN, value)])
    assert pkix.read(told(None, None, None, unknown)).hw_model == "m"
    if value:
        assert pkix.read(told(None, [*PLATFORM_CLAIMS, (UNKNOWN, value)])).hw_model == "m"


@pytest.mark.parametrize("missing", [*range(len(PLATFORM_CLAIMS))])
def test_every_platform_claim_is_demanded(missing: int) -> None:
    with pytest.raises(DecodeError, match="says nothing about"):
        pkix.read(told(None, PLATFORM_CLAIMS[:missing] + PLATFORM_CLAIMS[missing + 1 :]))


@pytest.mark.parametrize("missing", [*range(len(KEY_CLAIMS))])
def test_every_key_claim_is_demanded(missing: int) -> None:
    with pytest.raises(DecodeError, match="says nothing about"):
        pkix.read(told(None, None, KEY_CLAIMS[:missing] + KEY_CLAIMS[missing + 1 :]))


GOOD_TBS = pkix_tbs(SAYS)
WRONG: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no signature": lambda: signed(GOOD_TBS, copies=0),
    "two signatures": lambda: signed(GOOD_TBS, copies=2),
    "certificates inside": lambda: signed(GOOD_TBS, tail=tlv(0xA0, tlv(0x30))),
    "a trailing byte": lambda: signed(GOOD_TBS) + b"\0",
    "no signer": lambda: signed(GOOD_TBS, sid=b""),
    "a signer by its key": lambda: signed(GOOD_TBS, sid=tlv(0xA1, spki(AK.public_key()))),
    "a signer by keyId and key": lambda: signed(
        GOOD_TBS, sid=tlv(0xA0, tlv(0x04, KEY_ID)) + tlv(0xA1, spki(AK.public_key()))
    ),
    "an implicit tag": lambda: signed(GOOD_TBS, sid=tlv(0x80, KEY_ID)),
    "SHA-1": lambda: signed(GOOD_TBS, algorithm=SHA1),
    "parameters": lambda: signed(GOOD_TBS, algorithm=oid(SignatureAlgorithmOID.ECDSA_WITH_SHA256) + tlv(0x05)),
    "version 2": lambda: told(version=tlv(0x02, b"\2")),
    "version in two bytes": lambda: told(version=tlv(0x02, b"\0\1")),
    "no elements": lambda: signed(tlv(0x30, VERSION, tlv(0x30))),
    "two transactions": lambda: told(None, None, None, element(TRANSACTION, [NONCE])),
    "two keys": lambda: told(None, None, None, element(KEY, KEY_CLAIMS)),
    "two nonces": lambda: told([NONCE, NONCE]),
    "a nonce without a value": lambda: signed(
        tlv(0x30, VERSION, tlv(0x30, tlv(0x30, oid(TRANSACTION), tlv(0x30, tlv(0x30, oid(registry.CLAIM_NONCE))))))
    ),
    "a nonce of text": lambda: told([(registry.CLAIM_NONCE, tlv(0x0C, b"0" * 32))]),
    "a long nonce": lambda: told([(registry.CLAIM_NONCE, tlv(0x04, bytes(33)))]),
    "a BOOLEAN of 1": lambda: told(None, None, [*KEY_CLAIMS[:5], (registry.CLAIM_KEY_LOCAL, tlv(0x01, b"\1"))]),
    "a number for a BOOLEAN": lambda: told(
        None, None, [*KEY_CLAIMS[:5], (registry.CLAIM_KEY_LOCAL, tlv(2, b"\1")), KEY_CLAIMS[6]]
    ),
    "a BOOLEAN for a number": lambda: told(None, [*PLATFORM_CLAIMS[:3], (registry.CLAIM_DEBUGSTAT, YES)]),
    "a purpose that is no sequence": lambda: told(
        None, None, [*KEY_CLAIMS[:6], (registry.CLAIM_KEY_PURPOSE, oid(registry.CAPABILITY_SIGN))]
    ),
    "a claim that is not told": lambda: told(None, [*PLATFORM_CLAIMS, (UNKNOWN, b"")]),
    "a model beyond ASCII": lambda: told(None, [(registry.CLAIM_HWMODEL, tlv(0x04, b"\xff")), *PLATFORM_CLAIMS[1:]]),
    "a serial beyond UTF-8": lambda: told(
        None, [PLATFORM_CLAIMS[0], (registry.CLAIM_HWSERIAL, tlv(0x0C, b"\xff")), *PLATFORM_CLAIMS[2:]]
    ),
    "a purpose of numbers": lambda: told(
        None, None, [*KEY_CLAIMS[:6], (registry.CLAIM_KEY_PURPOSE, tlv(0x30, tlv(0x02, b"\1")))]
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_statement_outside_the_profile_is_refused(wrong: str) -> None:
    with pytest.raises(DecodeError):
        pkix.read(WRONG[wrong]())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        pkix.read(data)
    except DecodeError:
        return


@given(damaged(pkix_statement(SAYS, AK)))
def test_any_damage_is_read_or_refused(data: bytes) -> None:
    try:
        pkix.read(data)
    except DecodeError:
        return
