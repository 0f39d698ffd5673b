# SPDX-License-Identifier: Apache-2.0
"""
Makes what stands around the customer's PKI: the simulated chip maker, the legacy line, servers and rigs.

The customer's roots and CAs come from a ceremony (`customer`). What would be offline or at the chip maker lies in
`offline/`; it is there because a lab plays every role.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from birthmark.core.roles import Role
from birthmark.core.secret_files import read_secret
from birthmark.pki import authorities
from birthmark.pki.algorithms import SigningKey
from birthmark.pki.authorities import Authority
from birthmark.pki.keys import software
from birthmark.testing.lab.record import RIGS

ORGANIZATION = "Example Controls"
MAKER = "Example Silicon"
SKU = "x0"
_SECRET_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Authorities:
    """The CAs of a lab that are not its customer's, with their keys."""

    maker: Authority
    ak_ca: Authority
    lost_ak_ca: Authority
    """A CA of the endorsed maker whose key is known to be in other hands: the lab's endorsements deny it."""
    legacy: Authority


def make_surroundings(directory: Path, at: datetime) -> Authorities:
    """Make chip maker, legacy line, servers and rigs; the customer's ceremony has been held below `directory`."""
    maker = authorities.make_root(MAKER, "Attestation Root", _new_key(), at)
    made = Authorities(
        maker=maker,
        ak_ca=authorities.make_ak_ca(maker, "Attestation CA 1", _new_key(), at),
        lost_ak_ca=authorities.make_ak_ca(maker, "Attestation CA 0", _new_key(), at),
        legacy=authorities.make_root(ORGANIZATION, "Corporate CA (old)", _new_key(), at),
    )
    _bundle(directory / "pki" / "chipmaker.pem", made.maker, made.ak_ca)
    _bundle(directory / "pki" / "legacy.pem", made.legacy)
    _write_end_entities(directory / "pki", offline_authority(directory, "operations"), made.legacy, at)
    for name in ("maker", "ak_ca", "lost_ak_ca", "legacy"):
        authority: Authority = getattr(made, name)
        write_secret(directory / "offline" / f"{name}.key", _key_pem(authority.key))
        (directory / "offline" / f"{name}.pem").write_bytes(_pem(authority.certificate))
    return made


def offline_authority(directory: Path, name: str) -> Authority:
    """Return one of the authorities whose keys a lab keeps in `offline/`; its customer's are encrypted there."""
    offline = directory / "offline"
    certificate = x509.load_pem_x509_certificate((offline / f"{name}.pem").read_bytes())
    passphrase, key = offline / f"{name}.passphrase", offline / f"{name}.key"
    if passphrase.exists():
        return Authority(certificate, software.load_encrypted(key, read_secret(passphrase)))
    return Authority(certificate, software.load_plain(key))


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _SECRET_MODE), "wb") as file:
        file.write(content)


def _write_end_entities(pki: Path, operations: Authority, legacy: Authority, at: datetime) -> None:
    for name in ("ca-server", "cloud-server"):
        key = _new_key()
        _credential(pki, name, key, authorities.make_tls_server(operations, key.public_key(), at), operations)
    key = _new_key()
    follower = authorities.make_officer(operations, "cloud", Role.FOLLOWER, key.public_key(), at)
    _credential(pki, "cloud-feed", key, follower, operations)
    for rig in RIGS:
        key = _new_key()
        _credential(pki, rig, key, authorities.make_rig(operations, rig, key.public_key(), at), operations)
    key = _new_key()
    _credential(pki, "legacy-sku", key, authorities.make_legacy(legacy, SKU, key.public_key(), at))


def _credential(pki: Path, name: str, key: SigningKey, certificate: x509.Certificate, *issuers: Authority) -> None:
    write_secret(pki / f"{name}.key", _key_pem(key))
    (pki / f"{name}.pem").write_bytes(_pem(certificate) + b"".join(_pem(issuer.certificate) for issuer in issuers))


def _bundle(path: Path, *made: Authority) -> None:
    path.write_bytes(b"".join(_pem(authority.certificate) for authority in made))


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: SigningKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
