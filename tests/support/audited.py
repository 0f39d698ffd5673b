# SPDX-License-Identifier: Apache-2.0
"""An authority whose units are audited: everything is announced that a service announces, and bundles can be forged."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.audit.case import Given
from birthmark.ca.audit.findings import Judgement
from birthmark.ca.audit.verifying import judge_audit_bundle
from birthmark.ca.issuing.grounds import keep_signers
from birthmark.ca.issuing.signers import Signers, Verifier
from birthmark.ca.service import CA
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.ca.transparency.bundle_format import AuditObject, Manifest
from birthmark.ca.transparency.bundle_making import Auditing, BundleRequest
from birthmark.ca.transparency.in_force import announce_configuration, announce_policy
from birthmark.ca.transparency.log import Log
from birthmark.ca.transparency.trust_log import announce_trust
from birthmark.core.audit import BELIEVED_ACTS, AuditRow, decode_row, order_thread
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Order
from birthmark.evidence.ear import VerifierID
from birthmark.evidence.endorsements import key_fingerprint
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.keys import software
from birthmark.pki.paths import TrustAnchors
from birthmark.pki.profiles import KINDS
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.forge import new_key
from birthmark.tlog.keys import NotePrivateKey, Signer
from support.ca_parts import AUTHORITY, UNIT, CAParts, order, renewed

OTHER_UNIT, OTHER_ORDER = "BM-000002", "order-2"
PRIVATE_UNIT, PRIVATE_PROFILE = "BM-000003", "device-private"
AUDITOR = "auditor:Ada"
CONFIGURATION = b'{"birth_grace_s": 86400}'


class AnnouncedParts(CAParts):
    """As a serving authority: what is in force stands in the log before anything is decided."""

    announced = False

    def put_order(self, wanted: Order) -> None:
        if not self.announced:
            self.announce()
        super().put_order(wanted)

    def announce(self) -> None:
        self.announced = True
        terms = self.policy.terms["device-p256"]
        private = replace(terms, name=PRIVATE_PROFILE, kind=KINDS[PRIVATE_PROFILE])
        self.policy = replace(self.policy, terms={**self.policy.terms, PRIVATE_PROFILE: private})
        announce_policy(self.store, self.policy.endorsements.canonical, self.texts(), self.clock)
        announce_trust(self.store, self.policy.trust, self.clock)
        configuration = announce_configuration(self.store, CONFIGURATION, self.clock)
        self.policy = replace(self.policy, configuration=configuration)
        verifier = Verifier(software.generate(KeyAlgorithm.ED25519), VerifierID("Forge", "birthmark test"))
        self.signers = Signers(self.forge.issuing, verifier=verifier)
        keep_signers(self.store, self.signers)
        self.serve()

    def serve(self) -> None:
        """Serve under the policy as it is now."""
        self.ca = CA(self.store, self.signers, self.policy, self.clock)

    def texts(self) -> dict[str, bytes]:
        return {"endorsements.toml": b"# as the canonical form says", "maker.pem": self.forge.maker.trust_pem}


@dataclass
class Audited:
    """Three units: one that was renewed and revoked, one of another order, and one that publishes no evidence."""

    parts: AnnouncedParts
    auditing: Auditing

    @classmethod
    def at(cls, folder: Path) -> "Audited":
        parts = AnnouncedParts(SQLiteCAStore(folder / "ca.sqlite"))
        parts.put_order(order(OTHER_ORDER))
        parts.put_order(order("order-3", profile=PRIVATE_PROFILE))
        key = software.generate(KeyAlgorithm.ED25519)
        assert isinstance(key, NotePrivateKey)
        made = cls(parts, Auditing(parts.store, Log(parts.store, Signer(AUTHORITY, key)), parts.clock))
        board = parts.board()
        certificate = parts.confirmed(board)
        renewed(parts, board, certificate, new_key())
        made.born(OTHER_UNIT, OTHER_ORDER, "rig-b")
        made.born(PRIVATE_UNIT, "order-3", "rig-a")
        return made

    def born(self, unit: str, label: str, rig: str) -> x509.Certificate:
        board = self.parts.board(unit)
        certificate = self.parts.born(board, rig, label)
        self.parts.ca.take_birth(self.parts.client(rig), self.parts.birth(board, certificate, rig, order=label))
        return certificate

    @property
    def given(self) -> Given:
        """What a careful auditor has."""
        root = self.parts.forge.maker.root.certificate
        return Given(TrustAnchors((self.parts.forge.root.certificate,)), frozenset({key_fingerprint(root)}))

    def made(self, serial: str = UNIT, *, evidence: bool = False) -> bytes:
        return self.auditing.bundle(BundleRequest(serial=serial, who=AUDITOR, reason="a test", evidence=evidence))

    def judged(self, data: bytes, given: Given | None = None) -> Judgement:
        return judge_audit_bundle(data, self.auditing.log._keys, given or self.given)

    def manifest(self, serial: str = UNIT, *, evidence: bool = False) -> Manifest:
        return bundle.decode_bundle(self.made(serial, evidence=evidence))[1]

    def append(self, *rows: AuditRow) -> None:
        with self.parts.store.writing() as ledger:
            ledger.append(rows)

    def lied(self, manifest: Manifest) -> bytes:
        """Return the bundle of an authority whose log commits to whatever manifest it likes."""
        told = bundle.encode_manifest(manifest)
        unit = manifest.unit_serial
        self.append(
            AuditRow(at=manifest.made_at, who="liar", act="audit.bundle", unit_serial=unit, about=fingerprint(told))
        )
        self.auditing.log.publish()
        return bundle.encode_bundle(told, self.auditing.log.prove(self.numbers(unit)))

    def numbers(self, unit: str) -> list[int]:
        with self.parts.store.reading() as ledger:
            entries = ledger.entries_of_unit(unit)
            orders = {decode_row(entry).order for _, entry in entries} - {""}
            threads = (*BELIEVED_ACTS, *map(order_thread, orders))
            others = [number for name in threads for number, _ in ledger.entries_of_thread(name)]
        return [*(number for number, _ in entries), *others]


def filed(kind: str, of: str, content: bytes) -> AuditObject:
    return AuditObject(kind=kind, of=of, sha256=fingerprint(content), content=content)


def with_objects(manifest: Manifest, objects: Iterable[AuditObject]) -> Manifest:
    return msgspec.structs.replace(manifest, objects=tuple(objects))


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def ids(judged: Judgement) -> set[str]:
    return {each.id for each in judged.findings}
