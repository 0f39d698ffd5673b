# SPDX-License-Identifier: Apache-2.0
"""
Making an audit bundle. That one was made is itself an entry of the log: what it holds back would show.

All that belongs to it is gathered while nobody waits for the ledger. Then the entry is written, if nothing has been
added to any of its threads meanwhile; otherwise it is gathered again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Final

from birthmark.ca.demands import UNKNOWN
from birthmark.ca.errors import Refused
from birthmark.ca.ports import CAStore, Ledger, LedgerReader
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.ca.transparency.bundle_format import AuditObject, Manifest, ThreadEnd
from birthmark.ca.transparency.log import Log
from birthmark.ca.transparency.trust_log import read_trust_document
from birthmark.core.audit import BELIEVED_ACTS, CONFIGURATION_ACT, TRUST_ACT, AuditRow, decode_row, link, order_thread
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Issuance
from birthmark.evidence.endorsements import files_of_canonical

SOFTWARE: Final = f"birthmark {version('birthmark')}"
ATTEMPTS: Final = 5
"""How often a unit on which somebody works is gathered before the ledger is held for it."""
_Entries = Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRequest:
    """Whose bundle is made for whom, and why. `evidence`: also what certificates do not carry; the log will say so."""

    serial: str
    who: str
    fingerprint: str = ""
    reason: str = ""
    evidence: bool = False


@dataclass(frozen=True, slots=True)
class _Threads:
    """The entries of a bundle: those of the unit, and those of other threads by name."""

    unit_serial: str
    unit: _Entries
    others: Mapping[str, _Entries]

    def numbers(self) -> list[int]:
        return [number for entries in (self.unit, *self.others.values()) for number, _ in entries]

    def rows(self) -> Iterator[AuditRow]:
        return (decode_row(entry) for entries in (self.unit, *self.others.values()) for _, entry in entries)


@dataclass(frozen=True, slots=True)
class Auditing:
    """Makes bundles out of one ledger. Calls may come from several threads."""

    store: CAStore
    log: Log
    clock: Clock

    def bundle(self, request: BundleRequest) -> bytes:
        """
        Return the bundle of a unit, named by its serial or by the serial of one of its certificates.

        Raises:
            Refused: ca.unit.unknown. NotNow: the log's key cannot sign. StoreError: the ledger. TlogError: the ledger
                is not the one that was signed for. DecodeError: it is too large.

        """
        at = self.clock()
        manifest, numbers = self._committed(request, at)
        self.log.publish()
        return bundle.encode_bundle(manifest, self.log.prove(numbers))

    def _committed(self, request: BundleRequest, at: datetime) -> tuple[bytes, list[int]]:
        """Write the entry of the making; return the manifest that it commits to, and the numbers of all entries."""
        for _ in range(ATTEMPTS):
            with self.store.reading() as reader:
                threads = _threads(reader, request.serial)
                manifest = self._manifest(reader, threads, request, at)
            with self.store.writing() as ledger:
                if _threads(ledger, request.serial) == threads:
                    return manifest, _append(ledger, manifest, threads, request, at)
        with self.store.writing() as ledger:
            threads = _threads(ledger, request.serial)
            manifest = self._manifest(ledger, threads, request, at)
            return manifest, _append(ledger, manifest, threads, request, at)

    def _manifest(self, ledger: LedgerReader, threads: _Threads, request: BundleRequest, at: datetime) -> bytes:
        ends = (ThreadEnd(thread=name, last=link(*entries[-1])) for name, entries in threads.others.items() if entries)
        return bundle.encode_manifest(
            Manifest(
                unit_serial=threads.unit_serial,
                made_at=at,
                software=SOFTWARE,
                threads=tuple(sorted(ends, key=lambda end: end.thread)),
                objects=tuple(dict.fromkeys(_objects(ledger, threads, evidence=request.evidence))),
            )
        )


def _append(ledger: Ledger, manifest: bytes, threads: _Threads, request: BundleRequest, at: datetime) -> list[int]:
    said = [f"{len(threads.unit)} entries before this one"]
    said += ["with the evidence that is kept"] if request.evidence else []
    row = AuditRow(
        at=at,
        who=request.who,
        fingerprint=request.fingerprint,
        act=bundle.BUNDLE_ACT,
        unit_serial=threads.unit_serial,
        about=fingerprint(manifest),
        detail=": ".join(filter(None, (", ".join(said), request.reason))),
    )
    numbers = [*threads.numbers(), ledger.log_size()]
    ledger.append([row])
    return numbers


# --- entries ---------------------------------------------------------------------------------------------------


def _threads(ledger: LedgerReader, serial: str) -> _Threads:
    unit_serial, entries = _unit(ledger, serial)
    issued = [row for row in (decode_row(entry) for _, entry in entries) if row.grounds is not None]
    orders = {name: ledger.entries_of_thread(name) for name in dict.fromkeys(order_thread(row.order) for row in issued)}
    first = min(found[0][0] for found in (entries, *orders.values()) if found)
    believed = {name: _since(ledger.entries_of_thread(name), first) for name in BELIEVED_ACTS}
    return _Threads(unit_serial, entries, orders | believed)


def _unit(ledger: LedgerReader, serial: str) -> tuple[str, _Entries]:
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


def _since(entries: _Entries, first: int) -> _Entries:
    """Return the entries from the one on that was the last when the first entry was written."""
    before = [each for each in entries if each[0] < first][-1:]
    return (*before, *(each for each in entries if each[0] > first))


# --- objects ---------------------------------------------------------------------------------------------------


def _objects(ledger: LedgerReader, threads: _Threads, *, evidence: bool) -> Iterator[AuditObject]:
    rows = [row for row in threads.rows() if not row.finding]
    for issuance in ledger.issuances_of_unit(threads.unit_serial):
        yield from _issued(ledger, issuance, evidence=evidence)
    for row in rows:
        if row.act == "propose":
            yield from _decided(ledger, row)
    grounds = [row.grounds for row in rows if row.grounds is not None]
    yield from _kept(ledger, bundle.RIG, (row.fingerprint for row in rows if row.act == "birth"))
    yield from _kept(ledger, bundle.RESULT_KEY, (each.result_key for each in grounds))
    trusts = tuple(_kept(ledger, bundle.TRUST, (row.about for row in rows if row.act == TRUST_ACT)))
    yield from trusts
    yield from _kept(ledger, bundle.AUTHORITY, (*_certificates_of(trusts), *(each.issuer for each in grounds)))
    policies = tuple(_kept(ledger, bundle.POLICY, (each.policy for each in grounds)))
    yield from policies
    yield from _kept(ledger, bundle.POLICY_FILE, _files_of(policies))
    yield from _kept(ledger, bundle.CONFIGURATION, (row.about for row in rows if row.act == CONFIGURATION_ACT))


def _issued(ledger: LedgerReader, issuance: Issuance, *, evidence: bool) -> Iterator[AuditObject]:
    if issuance.certificate is None:
        return
    yield _object(bundle.CERTIFICATE, issuance.serial, issuance.certificate)
    if evidence and issuance.result is not None:
        yield _object(bundle.EVIDENCE, issuance.serial, issuance.evidence)
    birth = ledger.birth(fingerprint(issuance.certificate))
    if birth is not None:
        yield _object(bundle.BIRTH_RECORD, issuance.serial, birth.encode())


def _decided(ledger: LedgerReader, row: AuditRow) -> Iterator[AuditObject]:
    proposal = ledger.proposal(row.about)
    if proposal is None:
        return
    yield _object(bundle.PROPOSAL, row.unit_serial or row.order, proposal.document.encode())
    yield _object(bundle.OFFICER, "", proposal.certificate)
    if proposal.ruling is not None and proposal.ruling.document:
        yield _object(bundle.RULING, row.unit_serial or row.order, proposal.ruling.document.encode())
        yield _object(bundle.OFFICER, "", proposal.ruling.certificate)


def _kept(ledger: LedgerReader, kind: str, digests: Iterable[str]) -> Iterator[AuditObject]:
    wanted = [digest for digest in dict.fromkeys(digests) if digest]
    found = ledger.kept(wanted)
    return (_object(kind, "", found[digest]) for digest in wanted if digest in found)


def _certificates_of(trusts: Iterable[AuditObject]) -> Iterator[str]:
    for each in trusts:
        with suppress(DecodeError):  # the auditor will say so
            document = read_trust_document(each.content)
            yield from (*document.anchors, *document.intermediates)


def _files_of(policies: Iterable[AuditObject]) -> Iterator[str]:
    for each in policies:
        with suppress(DecodeError):  # as above
            yield from files_of_canonical(each.content).values()


def _object(kind: str, of: str, content: bytes) -> AuditObject:
    return AuditObject(kind=kind, of=of, sha256=fingerprint(content), content=content)
