# SPDX-License-Identifier: Apache-2.0
"""Keys in a token: SoftHSM, a new token for every test."""

import copy
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import make_sub_ca
from birthmark.pki.crl import build_crl, read_crl
from birthmark.pki.csr import build_csr, read_csr
from birthmark.pki.errors import (
    KeyExists,
    KeyMissing,
    KeyStoreError,
    MechanismMissing,
    PinRefused,
    TokenFailed,
    TokenMissing,
)
from birthmark.pki.keys.pkcs11 import POOL_MAX_SESSIONS, Token, TokenEd25519Key, TokenKey
from birthmark.pki.names import request_subject
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from support.hierarchy import AT, device_certificate, hierarchy
from support.openssl import made_by_openssl
from support.softhsm import LABEL, MODULE, PIN, SoftHSM, make_token, pkcs11_tool

SHA256 = ec.ECDSA(hashes.SHA256())


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHSM:
    made = make_token(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.configuration))
    return made


@pytest.fixture
def token(hsm: SoftHSM) -> Iterator[Token]:
    assert hsm.tokens.is_dir()
    with Token.open(MODULE, LABEL, PIN) as opened:
        yield opened


def check(key: ec.EllipticCurvePrivateKey) -> None:
    key.public_key().verify(key.sign(b"data", SHA256), b"data", SHA256)


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384])
def test_a_generated_key_signs_and_is_found_again(token: Token, algorithm: KeyAlgorithm) -> None:
    made = token.generate("issuing", algorithm)
    found = token.key("issuing")
    assert found.public_key() == made.public_key()
    assert (found.curve.name, found.key_size) == (algorithm.curve.name, algorithm.curve.key_size)
    check(found)


def test_a_generated_key_cannot_leave(token: Token, hsm: SoftHSM) -> None:
    token.generate("issuing", KeyAlgorithm.P256)
    shown = pkcs11_tool(hsm, "--list-objects")
    assert "Access:     sensitive, always sensitive, never extractable, local" in shown
    private = shown.split("Private Key Object")[1].split("Public Key Object")[0]
    assert "Usage:      sign\n" in private


def test_an_ed25519_key_signs_messages_and_is_found_again(token: Token) -> None:
    made = token.generate("ledger-1", KeyAlgorithm.ED25519)
    found = token.key("ledger-1")
    assert isinstance(found, TokenEd25519Key)
    assert found.public_key() == made.public_key()
    found.public_key().verify(found.sign(b"checkpoint"), b"checkpoint")
    with pytest.raises(KeyStoreError) as refused:
        found.private_bytes_raw()
    assert refused.value.finding == "key.usage"
    assert copy.deepcopy(found) is found
    assert repr(found) == "<TokenEd25519Key 'ledger-1'>"


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.MLDSA44, KeyAlgorithm.MLDSA65, KeyAlgorithm.MLDSA87])
def test_ml_dsa_in_a_token_is_refused_with_the_reason(token: Token, algorithm: KeyAlgorithm) -> None:
    with pytest.raises(MechanismMissing, match=f"{algorithm.value} in a token is not supported") as refused:
        token.generate("issuing-pq", algorithm)
    assert refused.value.finding == "key.mechanism"
    assert token.keys() == ()


def test_a_batch_is_signed_in_order(token: Token) -> None:
    key = token.generate("issuing", KeyAlgorithm.P256)
    assert isinstance(key, TokenKey)
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(20)]
    for digest, signature in zip(digests, key.sign_digests(digests), strict=True):
        key.public_key().verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def test_a_label_that_was_not_opened_signs_nothing(token: Token) -> None:
    token.generate("issuing", KeyAlgorithm.P256)
    with pytest.raises(KeyMissing, match="was not opened"):
        token.sign("issuing-2", bytes(32))


def test_the_builders_take_a_key_in_the_token(token: Token) -> None:
    root = hierarchy().root
    issuing = make_sub_ca(root, "HSM Issuing", token.generate("issuing", KeyAlgorithm.P256), AT)
    leaf = device_certificate(issuing)
    anchors = TrustAnchors((root.certificate,), (issuing.certificate,))
    assert len(validate_path(leaf, [], anchors, AT, Purpose.CLIENT)) == 3
    assert read_crl(build_crl((), issuing.key, issuing.certificate, AT, 60), issuing.certificate, AT)
    assert read_csr(build_csr(issuing.key, request_subject("BM-000001"), b"\x30\x00")).bundle == b"\x30\x00"


def test_a_digest_that_was_made_elsewhere_is_signed_as_it_is(token: Token) -> None:
    key = token.generate("issuing", KeyAlgorithm.P256)
    prehashed = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    key.public_key().verify(key.sign(hashlib.sha256(b"data").digest(), prehashed), b"data", SHA256)


def test_many_threads_sign_through_one_token(token: Token) -> None:
    key = token.generate("issuing", KeyAlgorithm.P256)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(50):
                check(key)
        except Exception as error:  # noqa: BLE001 reported below, in the test's own thread
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(POOL_MAX_SESSIONS + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_the_secret_stays_where_it_is(token: Token) -> None:
    key = token.generate("issuing", KeyAlgorithm.P256)
    for wish in (
        key.private_numbers,
        lambda: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        lambda: key.exchange(ec.ECDH(), key.public_key()),
    ):
        with pytest.raises(KeyStoreError) as refused:
            wish()
        assert refused.value.finding == "key.usage"
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key
    assert isinstance(key, TokenKey)
    assert repr(key) == "<TokenKey 'issuing' secp256r1>"


def test_another_signature_scheme_than_ecdsa_is_unsupported(token: Token) -> None:
    key = token.generate("issuing", KeyAlgorithm.P256)
    with pytest.raises(UnsupportedAlgorithm):
        key.sign(b"data", object())  # type: ignore[arg-type] # the point


def test_a_label_that_is_taken_is_not_overwritten(token: Token) -> None:
    public = token.generate("issuing", KeyAlgorithm.P256).public_key()
    with pytest.raises(KeyExists) as refused:
        token.generate("issuing", KeyAlgorithm.P384)
    assert refused.value.finding == "key.exists"
    assert token.key("issuing").public_key() == public


def test_a_label_that_is_not_there_is_missing_and_harms_no_other(token: Token) -> None:
    key = token.generate("issuing", KeyAlgorithm.P256)
    with pytest.raises(KeyMissing) as refused:
        token.key("missing")
    assert refused.value.finding == "key.missing"
    check(key)


@pytest.mark.usefixtures("hsm")
def test_a_wrong_pin_is_refused_and_not_shown() -> None:
    with pytest.raises(PinRefused) as refused:
        Token.open(MODULE, LABEL, b"654321")
    assert refused.value.finding == "key.pin"
    assert "654321" not in str(refused.value)
    with Token.open(MODULE, LABEL, PIN) as token:
        check(token.generate("issuing", KeyAlgorithm.P256))


@pytest.mark.usefixtures("hsm")
@pytest.mark.parametrize(
    ("module", "label"),
    [(MODULE, "another"), (Path("/missing.so"), LABEL), (Path("/etc/passwd"), LABEL)],
    ids=["no such token", "no such file", "no library"],
)
def test_a_token_that_is_not_there_is_missing(module: Path, label: str) -> None:
    with pytest.raises(TokenMissing) as refused:
        Token.open(module, label, PIN)
    assert refused.value.finding == "key.token-missing"


def test_a_process_opens_a_token_once(token: Token) -> None:
    with pytest.raises(TokenFailed, match="AlreadyLoggedIn"):
        Token.open(MODULE, LABEL, PIN)
    check(token.generate("issuing", KeyAlgorithm.P256))


@pytest.mark.usefixtures("hsm")
def test_a_closed_token_signs_no_more() -> None:
    with Token.open(MODULE, LABEL, PIN) as token:
        key = token.generate("issuing", KeyAlgorithm.P256)
    with pytest.raises(TokenFailed, match="was closed"):
        check(key)


def test_openssl_verifies_what_the_token_signed(token: Token, tmp_path: Path) -> None:
    key = token.generate("issuing", KeyAlgorithm.P384)
    (tmp_path / "public.pem").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "signature").write_bytes(key.sign(b"data", ec.ECDSA(hashes.SHA384())))
    files = ("-verify", "public.pem", "-signature", "signature", "data")
    assert b"Verified OK" in made_by_openssl(tmp_path, "dgst", "-sha384", *files)
