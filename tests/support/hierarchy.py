# SPDX-License-Identifier: Apache-2.0
"""A small PKI at a fixed moment: root, issuing CA, operations CA, and device certificates under them."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier

from birthmark.core import der
from birthmark.core.registry import CHIP_MODEL_ARC
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority, make_root, make_sub_ca, new_serial
from birthmark.pki.keys.software import generate
from birthmark.pki.names import HardwareModule
from birthmark.pki.profiles import AlgorithmPolicy, DeviceIdentity, DeviceProfile, lint, prepare, sign

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
CHIP = HardwareModule(ObjectIdentifier(f"{CHIP_MODEL_ARC}.1"), "0123456789ABCDEF")
BUNDLE = der.encode(b"stands for evidence; the PKI carries it and does not look inside" * 12)
PROFILE = DeviceProfile(
    name="device-p256",
    organization="Acme Controls",
    product="Controller",
    algorithms=(AlgorithmPolicy(KeyAlgorithm.P256, date(2035, 12, 31)),),
)


@dataclass(frozen=True)
class Hierarchy:
    root: Authority
    issuing: Authority
    operations: Authority


def hierarchy(at: datetime = AT, algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> Hierarchy:
    root = make_root("Acme Controls", "Acme Root", generate(algorithm), at)
    issuing = make_sub_ca(root, "Acme Issuing", generate(algorithm), at)
    return Hierarchy(root, issuing, make_sub_ca(root, "Acme Operations", generate(algorithm), at))


def identity(**changes: object) -> DeviceIdentity:
    spki = generate(KeyAlgorithm.P256).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole = DeviceIdentity(spki=spki, unit_serial="BM-000001", chip=CHIP, bundle=BUNDLE)
    return replace(whole, **changes)  # type: ignore[arg-type] # a test names the field that it changes


def device_certificate(
    issuer: Authority, at: datetime = AT, profile: DeviceProfile = PROFILE, **changes: object
) -> x509.Certificate:
    prepared = prepare(profile, identity(**changes), issuer.certificate, at, new_serial())
    return sign(lint(prepared), issuer.key, issuer.certificate)
