# SPDX-License-Identifier: Apache-2.0
"""Self-signed roots that are almost DER, as some chip makers' are: the flaws of real roots, over keys of ours."""

import base64
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from birthmark.core import der
from birthmark.pki import extensions
from birthmark.pki.authorities import Authority
from birthmark.pki.rewriting import _TBS, _any, _items
from birthmark.testing.statements import tlv

YEARS = timedelta(days=3650)
NAME = x509.Name(
    [
        x509.RelativeDistinguishedName(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, "Crooked Root"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Crooked Silicon"),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "TW"),
            ]
        )
    ]
)
Flaw = Callable[[_TBS], _TBS]


def straight_root(at: datetime) -> Authority:
    """Return a root with nothing wrong, whose name is one RDN of three attributes."""
    return self_signed(NAME, ec.generate_private_key(ec.SECP256R1()), at)


def self_signed(name: x509.Name, key: ec.EllipticCurvePrivateKey, at: datetime) -> Authority:
    """Return a root under this very name."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(0x1038AA9F)
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(extensions.SIGNS_CERTIFICATES, critical=True)
        .add_extension(extensions.subject_key_identifier(key.public_key()), critical=False)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def crooked(root: Authority, flaw: Flaw) -> bytes:
    """Return the root's certificate with the flaw in it, signed over the flaw by the root's own key."""
    tbs = flaw(der.decode(_TBS, root.certificate.tbs_certificate_bytes, "a TBSCertificate"))
    signed = der.encode(tbs)
    assert isinstance(root.key, ec.EllipticCurvePrivateKey)
    signature = root.key.sign(signed, ec.ECDSA(hashes.SHA256()))
    algorithm = tlv(0x30, *map(der.encode, tbs.algorithm))
    return tlv(0x30, signed, algorithm, tlv(0x03, b"\0", signature))


def pem(certificate: bytes) -> bytes:
    """Return PEM of what x509 might refuse to load."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(certificate) + b"-----END CERTIFICATE-----\n"


def unsorted_name(tbs: _TBS) -> _TBS:
    """Nuvoton's: the attributes of an RDN in another order than DER's."""
    name = [_turned(rdn) for rdn in tbs.subject]
    return _changed(tbs, issuer=name, subject=name)


def null_parameters(tbs: _TBS) -> _TBS:
    """Intel's: NULL beside the OID of an ECDSA signature."""
    return _changed(tbs, algorithm=[*tbs.algorithm, _any(b"\x05\x00")])


def generalized_time(tbs: _TBS) -> _TBS:
    """AMD's: dates of this half-century with four digits of year."""
    return _changed(tbs, validity=[_any(tlv(0x18, b"20" + bytes(time.data))) for time in tbs.validity])


def all_at_once(tbs: _TBS) -> _TBS:
    """Every flaw that is mended."""
    return unsorted_name(null_parameters(generalized_time(tbs)))


def loose_boolean(tbs: _TBS) -> _TBS:
    """A flaw that no real root has: TRUE as 01 in an extension."""
    return _changed(tbs, extensions=_any(der.encode(tbs.extensions).replace(b"\x01\x01\xff", b"\x01\x01\x01")))


def null_twice(tbs: _TBS) -> _TBS:
    """More parameters than are mended."""
    return null_parameters(null_parameters(tbs))


MENDED: tuple[Flaw, ...] = (unsorted_name, null_parameters, generalized_time, all_at_once)
NOT_MENDED: tuple[Flaw, ...] = (loose_boolean, null_twice)


def _turned(rdn: der.TLV) -> der.TLV:
    attributes = [der.encode(attribute) for attribute in _items(tlv(0x30, bytes(rdn.data)), "an RDN")]
    return _any(tlv(0x31, *reversed(attributes)))


def _changed(tbs: _TBS, **changes: object) -> _TBS:
    fields = ("version", "serial", "algorithm", "issuer", "validity", "subject", "spki", "extensions")
    return _TBS(**{name: changes.get(name, getattr(tbs, name)) for name in fields})  # type: ignore[arg-type] # by name
