# SPDX-License-Identifier: Apache-2.0
"""Certificates in files, for tests that speak real TLS on loopback."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from birthmark.pki import authorities

PrivateKey = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Identity:
    """A certificate with its chain, and its key, as PEM files."""

    certificate: Path
    key: Path
    der: bytes


def new_key() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_key(path: Path, content: bytes) -> None:
    """Write a key as only its owner may read it: others are refused."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(content)


class TLSFiles:
    """A root with an operations CA under it, and what they issue, written into one folder."""

    def __init__(
        self, folder: Path, at: datetime, organization: str = "Example", root: authorities.Authority | None = None
    ) -> None:
        self.folder = folder
        self.at = at
        self.root = root or authorities.make_root(organization, "Root", new_key(), at)
        self.operations = authorities.make_sub_ca(self.root, "Operations CA", new_key(), at)
        self.trust = pem(self.root.certificate)

    def server(self, hosts: tuple[str, ...] = ("localhost", "127.0.0.1")) -> Identity:
        key = new_key()
        return self.write("server", authorities.make_tls_server(self.operations, key.public_key(), self.at, hosts), key)

    def rig(self, name: str = "rig-a", days: int = 397) -> Identity:
        key = new_key()
        return self.write(name, authorities.make_rig(self.operations, name, key.public_key(), self.at, days), key)

    def write(self, name: str, certificate: x509.Certificate, key: PrivateKey) -> Identity:
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(pem(certificate, self.operations.certificate))
        write_key(paths[1], key_pem(key))
        return Identity(*paths, certificate.public_bytes(Encoding.DER))


def weak_rsa_client(files: TLSFiles, folder: Path) -> Identity:
    """A client certificate that our own CA has issued for an RSA key of 1024 bits."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 breakable is the point
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(files.operations.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(files.at)
        .not_valid_after(files.at + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(files.operations.key, hashes.SHA256())
    )
    paths = folder / "weak.pem", folder / "weak.key"
    paths[0].write_bytes(pem(certificate, files.operations.certificate))
    write_key(paths[1], key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Identity(*paths, certificate.public_bytes(Encoding.DER))
