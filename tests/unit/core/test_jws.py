# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import jws
from birthmark.core.errors import DecodeError
from birthmark.pki.authorities import make_rig, make_root

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CA = make_root("Org", "Root", ec.generate_private_key(ec.SECP256R1()), NOW)
KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER = make_rig(CA, "rig-a", KEY.public_key(), NOW)
TYP = "test+jws"
TOKEN = jws.sign(b'{"a":1}', TYP, KEY, SIGNER)


@given(st.binary(max_size=300))
def test_a_document_is_read_back_and_verified(payload: bytes) -> None:
    token = jws.sign(payload, TYP, KEY, SIGNER)
    assert jws.verify(token, TYP, SIGNER) == jws.read(token).payload == payload


def test_another_library_verifies_it() -> None:
    assert jwt.decode(TOKEN, KEY.public_key(), algorithms=["ES256"]) == {"a": 1}


def test_what_another_library_signs_with_the_same_header_is_verified() -> None:
    header = {"typ": TYP, "x5t#S256": jws.thumbprint(SIGNER)}
    assert jws.verify(jwt.PyJWS().encode(b"{}", KEY, "ES256", headers=header), TYP, SIGNER) == b"{}"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": TYP},
        {"typ": "birth+jws", "x5t#S256": jws.thumbprint(SIGNER)},
        {"typ": TYP, "x5t#S256": jws.thumbprint(SIGNER), "kid": "1"},
        {"typ": TYP, "x5t#S256": jws.thumbprint(SIGNER), "crit": ["b64"], "b64": True},
        {"x5t#S256": jws.thumbprint(SIGNER), "jwk": {}, "typ": TYP},
    ],
)
def test_a_header_with_more_or_other_members_is_refused(header: dict[str, object]) -> None:
    token = jwt.PyJWS().encode(b"{}", KEY, "ES256", headers=header)
    with pytest.raises(DecodeError) as caught:
        jws.verify(token, TYP, SIGNER)
    assert caught.value.finding == "jws.malformed"


def test_an_unsigned_document_is_refused() -> None:
    with pytest.raises(DecodeError) as caught:
        jws.verify(TOKEN.rpartition(".")[0] + ".", TYP, SIGNER)
    assert caught.value.finding == "jws.malformed"


def test_the_last_character_has_one_spelling() -> None:
    """86 characters of base64url have four spare bits: 15 other spellings of the same signature."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in alphabet.replace(TOKEN[-1], ""):
        with pytest.raises(DecodeError):
            jws.verify(TOKEN[:-1] + other, TYP, SIGNER)


def test_every_changed_character_is_refused() -> None:
    for place in range(len(TOKEN)):
        changed = TOKEN[:place] + ("A" if TOKEN[place] != "A" else "B") + TOKEN[place + 1 :]
        with pytest.raises(DecodeError):
            jws.verify(changed, TYP, SIGNER)


def test_a_key_on_another_curve_verifies_nothing() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(DecodeError) as caught:
        jws.verify(TOKEN, TYP, make_rig(CA, "rig-a", key.public_key(), NOW))
    assert caught.value.finding == "jws.signer"


def test_a_long_document_is_not_read() -> None:
    with pytest.raises(DecodeError, match="at most"):
        jws.read("A" * (jws.JWS_MAX_CHARACTERS + 1))


@given(st.text(max_size=80))
def test_any_text_is_a_document_or_a_decode_error(text: str) -> None:
    with pytest.raises(DecodeError):
        jws.verify(text, TYP, SIGNER)
