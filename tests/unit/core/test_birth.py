# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from birthmark.core import jws
from birthmark.core.birth import BIRTH_MAX_BYTES, BirthRecord, read_birth, sign_birth, verify_birth
from birthmark.core.errors import DecodeError
from birthmark.core.possession import possession_message
from birthmark.pki.authorities import make_rig, make_root, make_sub_ca

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CA = make_sub_ca(
    make_root("Org", "Root", ec.generate_private_key(ec.SECP256R1()), NOW),
    "Operations",
    ec.generate_private_key(ec.SECP256R1()),
    NOW,
)
KEY = ec.generate_private_key(ec.SECP256R1())
RIG = make_rig(CA, "rig-a", KEY.public_key(), NOW)
RECORD = BirthRecord(
    unit_serial="BM-000001",
    chip_model="optiga-trust-m",
    chip_serial="00A1B2C3D4E5F607",
    product="controller-x1",
    order="order-1",
    rig="rig-a",
    operator="lead",
    position=1,
    certificate_serial="4f",
    certificate_sha256="ab" * 32,
    key_sha256="cd" * 32,
    evidence_sha256="ef" * 32,
    software="birthmark 0.1.0",
    started="2026-11-23T12:00:00Z",
    finished="2026-11-23T12:00:01Z",
    outcome="PASS",
    step_ms={"generate": 61.5},
)
TOKEN = sign_birth(RECORD, KEY, RIG)


def test_a_signed_record_is_read_back_and_verified() -> None:
    assert verify_birth(TOKEN, RIG) == read_birth(TOKEN) == RECORD


def test_any_jose_library_verifies_it() -> None:
    assert jwt.decode(TOKEN, KEY.public_key(), algorithms=["ES256"])["unit_serial"] == "BM-000001"


def test_a_record_of_another_rig_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(DecodeError) as caught:
        verify_birth(TOKEN, make_rig(CA, "rig-b", other.public_key(), NOW))
    assert caught.value.finding == "birth.signature"


def test_a_record_that_names_another_certificate_of_the_same_key_is_refused() -> None:
    with pytest.raises(DecodeError) as caught:
        verify_birth(TOKEN, make_rig(CA, "rig-a", KEY.public_key(), NOW))
    assert caught.value.finding == "birth.signer"


def test_an_unsigned_token_is_refused() -> None:
    payload = jwt.api_jws.base64url_decode(TOKEN.split(".")[1])
    with pytest.raises(DecodeError):
        verify_birth(jwt.PyJWS().encode(payload, "", "none"), RIG)


@pytest.mark.parametrize(
    ("single", "double"),
    [
        ('"unit_serial":', '"unit_serial":"BM-000002","unit_serial":'),
        ('"outcome":"PASS"', '"outcome":"PASS","outcome":"PASS"'),
        ('"generate":61.5', '"generate":1.0,"generate":61.5'),
    ],
)
def test_a_record_that_says_one_thing_twice_is_refused(single: str, double: str) -> None:
    payload = jws.read(TOKEN).payload.decode()
    assert single in payload
    token = jws.sign(payload.replace(single, double).encode(), "birth+jws", KEY, RIG)
    with pytest.raises(DecodeError, match="stands there twice"):
        verify_birth(token, RIG)
    assert verify_birth(jws.sign(payload.encode(), "birth+jws", KEY, RIG), RIG) == RECORD


def test_every_changed_character_is_refused() -> None:
    for place in range(0, len(TOKEN), 7):
        changed = TOKEN[:place] + ("A" if TOKEN[place] != "A" else "B") + TOKEN[place + 1 :]
        with pytest.raises(DecodeError):
            verify_birth(changed, RIG)


def test_a_record_larger_than_the_limit_is_not_read() -> None:
    large = replace(RECORD, operator="x" * BIRTH_MAX_BYTES)
    with pytest.raises(DecodeError, match="at most"):
        verify_birth(sign_birth(large, KEY, RIG), RIG)


@given(st.text(max_size=60))
def test_any_text_is_a_record_or_a_decode_error(text: str) -> None:
    for read in (read_birth, lambda token: verify_birth(token, RIG)):
        with pytest.raises(DecodeError):
            read(text)


def test_a_proof_of_possession_binds_challenge_and_certificate() -> None:
    messages = {possession_message(challenge, der) for challenge in (bytes(32), b"\x01" * 32) for der in (b"a", b"b")}
    assert len(messages) == 4
    with pytest.raises(ValueError, match="32 bytes"):
        possession_message(b"short", b"a")
