# SPDX-License-Identifier: Apache-2.0
"""TLS contexts: what they admit, and what they say about files that cannot be used."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from birthmark.core.errors import ConfigError
from birthmark.net import tls
from support.tls_files import TLSFiles, new_key, weak_rsa_client, write_key


def contexts(files: TLSFiles) -> list[ssl.SSLContext]:
    server, rig = files.server(), files.rig()
    return [
        tls.server_context(server.certificate, server.key, files.trust),
        tls.mutual_server_context(server.certificate, server.key, files.trust),
        tls.client_context(files.trust),
        tls.client_context(files.trust, rig.certificate, rig.key),
    ]


def test_every_context_wants_tls_1_2_and_security_level_2(files: TLSFiles) -> None:
    for context in contexts(files):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.security_level == 2
        assert all(each["aead"] for each in context.get_ciphers())


def test_every_context_trusts_what_it_was_given_and_nothing_else(files: TLSFiles) -> None:
    for context in contexts(files):
        assert context.cert_store_stats() == {"x509": 1, "x509_ca": 1, "crl": 0}


def test_the_two_server_contexts_differ_in_whether_a_certificate_is_demanded(files: TLSFiles) -> None:
    asking, demanding, *_ = contexts(files)
    assert asking.verify_mode == ssl.CERT_OPTIONAL
    assert demanding.verify_mode == ssl.CERT_REQUIRED


def test_a_server_gives_no_tickets(files: TLSFiles) -> None:
    for context in contexts(files)[:2]:
        assert context.num_tickets == 0
        assert context.options & ssl.OP_NO_TICKET


def test_a_client_checks_the_server_s_name(files: TLSFiles) -> None:
    for context in contexts(files)[2:]:
        assert context.check_hostname
        assert context.verify_mode == ssl.CERT_REQUIRED


def test_a_missing_file_is_named(files: TLSFiles, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    _refused(f"{missing}: No such file or directory", files.trust, missing, files.server().key)
    _refused(f"{missing}: No such file or directory", files.trust, files.server().certificate, missing)


def test_the_key_of_another_certificate_is_refused(files: TLSFiles) -> None:
    _refused("the private key belongs to another", files.trust, files.server().certificate, files.rig().key)


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_not_pem_is_refused(files: TLSFiles, tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.pem"
    write_key(bad, content)
    _refused("no PEM certificate with its PEM private key", files.trust, bad, files.server().key)
    _refused("no PEM certificate with its PEM private key", files.trust, files.server().certificate, bad)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(files: TLSFiles, tmp_path: Path) -> None:
    encrypted = tmp_path / "encrypted.key"
    protection = BestAvailableEncryption(b"correct horse")
    write_key(encrypted, new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    _refused("is encrypted", files.trust, files.server().certificate, encrypted)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610])
def test_a_key_that_others_may_read_is_refused(files: TLSFiles, mode: int) -> None:
    server = files.server()
    server.key.chmod(mode)
    _refused(f"mode {mode:04o} lets others read", files.trust, server.certificate, server.key)
    with pytest.raises(ConfigError, match="lets others read"):
        tls.client_context(files.trust, server.certificate, server.key)


def test_a_certificate_file_with_the_key_in_it_is_held_to_the_key_s_mode(files: TLSFiles, tmp_path: Path) -> None:
    rig, both = files.rig(), tmp_path / "both.pem"
    both.write_bytes(rig.certificate.read_bytes() + rig.key.read_bytes())
    both.chmod(0o644)
    with pytest.raises(ConfigError, match="lets others read"):
        tls.client_context(files.trust, both)
    both.chmod(0o600)
    assert tls.client_context(files.trust, both)


def test_a_weak_rsa_key_is_refused(files: TLSFiles, tmp_path: Path) -> None:
    weak = weak_rsa_client(files, tmp_path)
    _refused("weaker than 112 bits", files.trust, weak.certificate, weak.key)


@pytest.mark.parametrize("trust", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_trust_that_is_not_pem_certificates_is_refused(files: TLSFiles, trust: bytes) -> None:
    server = files.server()
    _refused("not PEM certificates", trust, server.certificate, server.key)


def test_more_trust_than_the_limit_is_refused(files: TLSFiles) -> None:
    server = files.server()
    _refused("at most", b" " * (tls.TRUST_MAX_BYTES + 1), server.certificate, server.key)


def _refused(problem: str, trust: bytes, certificate: Path, key: Path) -> None:
    for make in (tls.server_context, tls.mutual_server_context):
        with pytest.raises(ConfigError) as refused:
            make(certificate, key, trust)
        assert refused.value.finding == "net.tls-files"
        assert problem in refused.value.message
        assert "\n" not in str(refused.value)
