# SPDX-License-Identifier: Apache-2.0
"""Making an audit bundle. That one was made is itself an entry of the log: what it holds back would show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.audit import bundle
from birthmark.ca.audit.bundle import AuditObject, Manifest
from birthmark.ca.demands import UNKNOWN
from birthmark.ca.errors import Refused
from birthmark.ca.ports import CAStore, Ledger
from birthmark.ca.transparency.log import Log
from birthmark.core import jws
from birthmark.core.audit import AuditRow, decode_row
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Issuance


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around every unit: the CAs above certificates and above rigs and officers, and this software."""

    issuing_chain: tuple[x509.Certificate, ...]
    operations_chain: tuple[x509.Certificate, ...]
    software: str


@dataclass(frozen=True, slots=True)
class Auditing:
    """Makes bundles out of one ledger."""

    store: CAStore
    log: Log
    surroundings: Surroundings
    clock: Clock

    def bundle(self, serial: str, who: str, who_fingerprint: str = "") -> bytes:
        """
        Return the bundle of a unit, named by its serial or by the serial of one of its certificates.

        Raises:
            Refused: ca.unit.unknown. NotNow: the log's key cannot sign. StoreError: the ledger. TlogError: the ledger
                is not the one that was signed for.

        """
        at = self.clock()
        with self.store.writing() as ledger:
            unit, entries = _unit(ledger, serial)
            policies = _policies(ledger, decode_row(entries[0][1]).at)
            numbers = [*(entry for _, entry in policies), *(number for number, _ in entries), ledger.log_size()]
            manifest = bundle.encode_manifest(
                Manifest(
                    unit_serial=unit,
                    made_at=at,
                    software=self.surroundings.software,
                    policies=tuple(digest for digest, _ in policies),
                    objects=_once((*self._around(), *_objects(ledger, ledger.issuances_of_unit(unit)))),
                )
            )
            row = AuditRow(
                at=at,
                who=who,
                fingerprint=who_fingerprint,
                act=bundle.BUNDLE_ACT,
                unit_serial=unit,
                about=fingerprint(manifest),
                detail=f"{len(entries)} entries before this one",
            )
            ledger.append([row])
        self.log.publish()
        return bundle.encode_bundle(manifest, self.log.prove(numbers))

    def _around(self) -> Iterator[AuditObject]:
        for certificate in self.surroundings.issuing_chain:
            yield _object(bundle.ISSUING_CHAIN, "", certificate.public_bytes(Encoding.DER))
        for certificate in self.surroundings.operations_chain:
            yield _object(bundle.OPERATIONS_CHAIN, "", certificate.public_bytes(Encoding.DER))


def _unit(ledger: Ledger, serial: str) -> tuple[str, Sequence[tuple[int, bytes]]]:
    entries = ledger.entries_of_unit(serial)
    if entries:
        return serial, entries
    issuance = ledger.issuance(serial.replace(":", "").lower().lstrip("0"))
    if issuance is not None and (entries := ledger.entries_of_unit(issuance.unit_serial)):
        return issuance.unit_serial, entries
    raise Refused(
        UNKNOWN,
        "ca.unit.unknown",
        f"nothing is known of {serial[:64]}",
        hint="give the serial of a unit or of one of its certificates",
    )


def _policies(ledger: Ledger, born_at: datetime) -> list[tuple[str, int]]:
    """Return digest and entry of each policy that was in force since the unit's first entry."""
    known = ledger.policies()
    before = [policy for policy in known if policy.since <= born_at][-1:]
    return [(each.digest, each.entry) for each in known if each in before or each.since > born_at]


def _objects(ledger: Ledger, issuances: Sequence[Issuance]) -> Iterator[AuditObject]:
    for issuance in issuances:
        if issuance.certificate is None:
            continue
        yield _object(bundle.CERTIFICATE, issuance.serial, issuance.certificate)
        birth = ledger.birth(fingerprint(issuance.certificate))
        if birth is not None:
            yield _object(bundle.BIRTH_RECORD, issuance.serial, birth.encode())
            yield from _rig(ledger, issuance.serial, birth)
    for order_id in dict.fromkeys(issuance.order for issuance in issuances):
        yield from _order(ledger, order_id)


def _rig(ledger: Ledger, serial: str, birth: str) -> Iterator[AuditObject]:
    try:
        signer = jws.signer_sha256(jws.read(birth))
    except DecodeError:
        return
    for content in ledger.kept([signer]).values():
        yield _object(bundle.RIG_CERTIFICATE, serial, content)


def _order(ledger: Ledger, order_id: str) -> Iterator[AuditObject]:
    order = ledger.order(order_id)
    proposal = ledger.proposal(order.document) if order is not None and order.document else None
    if proposal is None:
        return
    yield _object(bundle.ORDER_DOCUMENT, order_id, proposal.document.encode())
    yield _object(bundle.OFFICER_CERTIFICATE, order_id, proposal.certificate)
    if proposal.ruling is not None and proposal.ruling.document:
        yield _object(bundle.ORDER_RULING, order_id, proposal.ruling.document.encode())
        yield _object(bundle.OFFICER_CERTIFICATE, order_id, proposal.ruling.certificate)


def _object(kind: str, of: str, content: bytes) -> AuditObject:
    return AuditObject(kind=kind, of=of, sha256=fingerprint(content), content=content)


def _once(objects: Sequence[AuditObject]) -> tuple[AuditObject, ...]:
    return tuple(dict.fromkeys(objects))
