# SPDX-License-Identifier: Apache-2.0
"""A cloud around a forge: its trust, its revocation list, a clock that tests move, a registry on disk."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from re import compile as pattern

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.cloud.doors import Doors
from birthmark.cloud.legacy import LegacyPolicy
from birthmark.cloud.ports import CRLAnswer
from birthmark.cloud.revocation import ListSource, RevocationFeed
from birthmark.cloud.service import Cloud
from birthmark.cloud.verification import Revocations
from birthmark.pki.authorities import Authority, make_legacy, make_root
from birthmark.pki.cmw import cmw_extension
from birthmark.pki.crl import RevokedCertificate, build_crl, read_crl
from birthmark.pki.paths import TrustAnchors
from birthmark.stores.cloud_sqlite import CloudSQLite
from birthmark.testing.forge import Device, Forge, new_key

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SUNSET = NOW + timedelta(days=365)
UNIT = "BM-000001"
OLD_UNIT = "AX-4711"


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def crl(issuing: Authority, *revoked: int, at: datetime = NOW, next_update_s: int = 3600) -> bytes:
    entries = [RevokedCertificate(serial, at) for serial in revoked]
    return build_crl(entries, issuing.key, issuing.certificate, at, next_update_s)


def trust_of(forge: Forge) -> TrustAnchors:
    return TrustAnchors((forge.root.certificate,), (forge.issuing.certificate,))


def revocations(forge: Forge, *revoked: int) -> Revocations:
    issuer = forge.issuing.certificate
    return Revocations.of([(issuer, read_crl(crl(forge.issuing, *revoked), issuer, NOW))])


def renewed(forge: Forge, device: Device, moment: datetime) -> Device:
    """Return the same unit and chip with a new key and a certificate of this moment."""
    key = new_key()
    bundle = device.chip.bundle(device.chip.attest(key.public_key(), bytes(32)))
    later = replace(forge, moment=moment)
    certificate = later.certify(device.unit, device.chip, key.public_key(), cmw_extension(bundle).value)
    return replace(device, key=key, bundle=bundle, certificate=certificate)


@dataclass
class CloudParts:
    """One cloud service, with everything around it at hand."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    forge: Forge = field(default_factory=lambda: Forge.at(NOW))
    legacy_root: Authority = field(default_factory=lambda: make_root("Forge", "Forge legacy root", new_key(), NOW))

    def __post_init__(self) -> None:
        legacy = LegacyPolicy(TrustAnchors((self.legacy_root.certificate,)), SUNSET, pattern("^BM-[0-9]{6}$"))
        self.doors = Doors(trust_of(self.forge), self.forge.endorsements(), legacy)
        self.published = crl(self.forge.issuing)
        source = ListSource(lambda _tag: CRLAnswer(self.published))
        self.feed = RevocationFeed([source], [self.forge.issuing.certificate], self.clock)
        self.registry = CloudSQLite(self.folder / "cloud.sqlite")
        self.cloud = Cloud(self.doors, self.registry, self.feed, self.clock)

    def publish(self, *revoked: int) -> None:
        """Publish and pull a revocation list of this moment."""
        self.published = crl(self.forge.issuing, *revoked, at=self.clock.now)
        self.feed.pull()

    def legacy_certificate(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = new_key()
        return make_legacy(self.legacy_root, "thermostat-1", key.public_key(), NOW), key
