# SPDX-License-Identifier: Apache-2.0
"""Keys in files: encrypted, private to their owner, whole or not there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm
from birthmark.pki.errors import KeyMissing, KeyStoreError, PassphraseRefused
from birthmark.pki.keys.software import generate, load_encrypted, load_plain, save_encrypted, save_plain
from support.openssl import made_by_openssl

PASSPHRASE = b"0123456789abcdef0123456789abcdef"
KEY = generate(KeyAlgorithm.P256)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_key_is_of_the_type_that_was_asked_for(algorithm: KeyAlgorithm) -> None:
    assert key_algorithm(generate(algorithm).public_key()) is algorithm


def test_an_encrypted_key_comes_back_under_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "ca.key"
    save_encrypted(path, KEY, PASSPHRASE)
    assert load_encrypted(path, PASSPHRASE).private_numbers() == KEY.private_numbers()
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()


def test_a_plain_key_comes_back(tmp_path: Path) -> None:
    save_plain(tmp_path / "tls.key", KEY)
    assert load_plain(tmp_path / "tls.key").private_numbers() == KEY.private_numbers()


def test_openssl_opens_the_file_with_the_passphrase(tmp_path: Path) -> None:
    save_encrypted(tmp_path / "ca.key", KEY, PASSPHRASE)
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    made_by_openssl(tmp_path, "pkey", "-in", "ca.key", "-passin", "file:passphrase", "-noout")


@pytest.mark.parametrize(
    "save",
    [
        pytest.param(lambda path: save_encrypted(path, KEY, PASSPHRASE), id="encrypted"),
        pytest.param(lambda path: save_plain(path, KEY), id="plain"),
    ],
)
def test_only_the_owner_reads_the_file_and_nothing_is_left_beside_it(
    tmp_path: Path, save: Callable[[Path], None]
) -> None:
    path = tmp_path / "ca.key"
    path.write_text("an older key, readable by all")
    path.chmod(0o644)
    save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", range(40))
def test_a_wrong_passphrase_is_refused_without_being_shown(tmp_path: Path, number: int) -> None:
    path = tmp_path / "ca.key"
    save_encrypted(path, KEY, PASSPHRASE)
    wrong = b"wrong passphrase %02d" % number
    with pytest.raises(PassphraseRefused) as refused:
        load_encrypted(path, wrong)
    assert refused.value.finding == "key.passphrase"
    assert wrong.decode() not in str(refused.value)


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PassphraseRefused, match="fewer than 16"):
        save_encrypted(tmp_path / "ca.key", KEY, b"hunter2")
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyMissing) as refused:
        load_encrypted(tmp_path / "ca.key", PASSPHRASE)
    assert refused.value.finding == "key.missing"


def test_a_key_that_should_be_encrypted_and_is_not_is_refused(tmp_path: Path) -> None:
    save_plain(tmp_path / "ca.key", KEY)
    with pytest.raises(KeyStoreError) as refused:
        load_encrypted(tmp_path / "ca.key", PASSPHRASE)
    assert refused.value.finding == "key.unencrypted"


def test_an_encrypted_key_without_a_passphrase_is_refused(tmp_path: Path) -> None:
    save_encrypted(tmp_path / "ca.key", KEY, PASSPHRASE)
    with pytest.raises(KeyStoreError) as refused:
        load_plain(tmp_path / "ca.key")
    assert refused.value.finding == "key.passphrase"


def test_a_file_that_is_no_key_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(KeyStoreError) as refused:
        load_plain(tmp_path / "ca.key")
    assert refused.value.finding == "key.malformed"


def test_an_rsa_key_is_refused(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyStoreError, match="not one that we sign with"):
        load_plain(tmp_path / "ca.key")


def test_a_directory_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="No such file"):
        save_plain(tmp_path / "missing" / "tls.key", KEY)
    with pytest.raises(KeyStoreError, match="Is a directory"):
        load_plain(tmp_path)
