# SPDX-License-Identifier: Apache-2.0
"""
The ledger held against its own log: what the tables say must be what the log says, in both directions.

Whoever alters, adds or removes a certificate, a birth record, an ending, a place in an order or a log entry leaves a
discrepancy here, unless they alter tables and log alike; against that stand the checkpoints that others have kept
(`birthmark audit verify-log`). Reads by pages, in one consistent view. No clock, no key.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from birthmark.ca.people import signed
from birthmark.ca.ports import LedgerReader
from birthmark.core.audit import AuditRow, decode_row, link
from birthmark.core.dossier import Dossier, Leaf
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import End, Ending, Issuance
from birthmark.core.proposals import Proposal, State

PAGE: Final = 500
"""Rows that are read at a time."""
STRAYS_MAX: Final = 100
"""Places without an issuance that are told one by one."""
ISSUING_ACTS: Final = frozenset({"enrol", "renew"})
BIRTH_ACT: Final = "birth"
ENDING_ACTS: Final = frozenset({"end", "lapse", "revoke"})
"""Each of their entries stands for one decision about a certificate's end; every such decision has its own entry."""
PROPOSING_ACTS: Final = frozenset({"propose"})
RULING_ACTS: Final = frozenset({"approve", "reject", "expire"})


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something that the ledger says in two ways. `subject`: certificate serial, order, unit or entry number."""

    finding: str
    subject: str
    detail: str


def check_ledger(ledger: LedgerReader, authority: str) -> Iterator[Discrepancy]:
    """
    Yield every discrepancy between the tables and the log, as they are found; nothing from a sound ledger.

    What persons have signed must be there as they signed it, and for this authority: `authority` is the log's origin.

    Raises:
        StoreError: the ledger cannot be read.

    """
    yield from _check_log(ledger)
    yield from _check_links(ledger)
    yield from _check_issuances(ledger)
    yield from _check_orders(ledger)
    yield from _check_documents(ledger, authority)


# --- the log, entry by entry -----------------------------------------------------------------------------------


def _check_log(ledger: LedgerReader) -> Iterator[Discrepancy]:
    expected, proposed, ruled = 0, 0, 0
    while leaves := ledger.leaves(expected, PAGE):
        decided: list[tuple[Leaf, AuditRow]] = []
        for leaf in leaves:
            if leaf.number != expected:
                yield Discrepancy("ledger.entry.gap", str(expected), f"entries up to {leaf.number - 1} are missing")
            expected = leaf.number + 1
            try:
                decided.append((leaf, decode_row(leaf.entry)))
            except DecodeError as error:
                yield Discrepancy("ledger.entry.malformed", str(leaf.number), error.message)
        yield from _misfiled(decided)
        yield from _orphaned(ledger, decided)
        granted = [row.act for _, row in decided if not row.finding]
        proposed += sum(act in PROPOSING_ACTS for act in granted)
        ruled += sum(act in RULING_ACTS for act in granted)
    yield from _counted(ledger, proposed, ruled)


def _misfiled(decided: Sequence[tuple[Leaf, AuditRow]]) -> Iterator[Discrepancy]:
    for leaf, row in decided:
        if row.unit_serial != leaf.unit_serial:
            told = f"it is about unit {row.unit_serial or '(none)'} and filed under {leaf.unit_serial or '(none)'}"
            yield Discrepancy("ledger.entry.unit", str(leaf.number), told)


def _orphaned(ledger: LedgerReader, decided: Sequence[tuple[Leaf, AuditRow]]) -> Iterator[Discrepancy]:
    named = [(leaf, row) for leaf, row in decided if row.certificate and not row.finding]
    known = ledger.known_serials([row.certificate for _, row in named]) if named else frozenset[str]()
    for leaf, row in named:
        if row.certificate not in known:
            told = f"entry {leaf.number} ({row.act}) is about a certificate that the tables do not have"
            yield Discrepancy("ledger.certificate.missing", row.certificate, told)


def _counted(ledger: LedgerReader, proposed: int, ruled: int) -> Iterator[Discrepancy]:
    tally = ledger.tally()
    if tally.endings != tally.last_ending + 1:
        told = f"{tally.endings} endings, the last one has number {tally.last_ending}"
        yield Discrepancy("ledger.ending.gap", "endings", told)
    if tally.proposals != proposed:
        told = f"{tally.proposals} proposals in the table, {proposed} in the log"
        yield Discrepancy("ledger.proposal.count", "proposals", told)
    if tally.rulings != ruled:
        yield Discrepancy("ledger.ruling.count", "rulings", f"{tally.rulings} rulings in the table, {ruled} in the log")


def _check_links(ledger: LedgerReader) -> Iterator[Discrepancy]:
    """Each entry about a unit names the one before it: what was cut out of the middle shows."""
    place, last = ("", 0), ""
    while leaves := ledger.leaves_by_unit(place, PAGE):
        for leaf in leaves:
            before = last if leaf.unit_serial == place[0] else ""
            place, last = (leaf.unit_serial, leaf.number), link(leaf.number, leaf.entry)
            with suppress(DecodeError):
                said = decode_row(leaf.entry).previous
                if said != before:
                    told = f"before it comes {before or 'none'} about unit {leaf.unit_serial}, it says {said or 'none'}"
                    yield Discrepancy("ledger.entry.previous", str(leaf.number), told)


# --- issuances -------------------------------------------------------------------------------------------------


def _check_issuances(ledger: LedgerReader) -> Iterator[Discrepancy]:
    last = 0
    while dossiers := ledger.dossiers(last, PAGE):
        for dossier in dossiers:
            if dossier.number != last + 1:
                told = f"issuances {last + 1} to {dossier.number - 1} are missing"
                yield Discrepancy("ledger.issuance.gap", str(last + 1), told)
            last = dossier.number
            yield from check_dossier(dossier)


def check_dossier(dossier: Dossier) -> Iterator[Discrepancy]:
    """Yield every discrepancy about one issuance. Pure."""
    rows = _about(dossier)
    yield from _check_certificate(dossier, rows)
    yield from _check_birth(dossier, rows)
    yield from _check_ends(dossier, rows)
    if not dossier.holds_place:
        issuance = dossier.issuance
        told = f"unit {issuance.unit_serial} does not count towards order {issuance.order}"
        yield Discrepancy("ledger.quota.place", issuance.serial, told)


def _about(dossier: Dossier) -> list[AuditRow]:
    """Return what was granted about this certificate. Entries that cannot be read are told of elsewhere."""
    rows = []
    for leaf in dossier.leaves:
        try:
            row = decode_row(leaf.entry)
        except DecodeError:
            continue
        if row.certificate == dossier.issuance.serial and not row.finding:
            rows.append(row)
    return rows


def _check_certificate(dossier: Dossier, rows: Sequence[AuditRow]) -> Iterator[Discrepancy]:
    serial, der = dossier.issuance.serial, dossier.issuance.certificate
    logged = [row.about for row in rows if row.act in ISSUING_ACTS and row.about]
    if der is None:
        if logged:
            yield Discrepancy("ledger.certificate.missing", serial, "the log says that it was issued")
        return
    digest = fingerprint(der)
    if dossier.certificate_sha256 != digest:
        told = f"it is filed under {dossier.certificate_sha256}, its digest is {digest}"
        yield Discrepancy("ledger.certificate.filed", serial, told)
    yield from _check_logged("ledger.certificate", serial, digest, logged)


def _check_birth(dossier: Dossier, rows: Sequence[AuditRow]) -> Iterator[Discrepancy]:
    issuance = dossier.issuance
    logged = [row.about for row in rows if row.act == BIRTH_ACT]
    if dossier.birth is None:
        if logged:
            yield Discrepancy("ledger.birth.missing", issuance.serial, "the log says that its birth was confirmed")
        if issuance.confirmed_at not in (None, issuance.intended_at):
            # A renewal counts as confirmed from its intent on; everything else is confirmed by a birth record alone.
            yield Discrepancy("ledger.birth.missing", issuance.serial, "it counts as confirmed without a birth record")
        return
    if issuance.confirmed_at is None:
        yield Discrepancy("ledger.birth.state", issuance.serial, "it has a birth record and counts as unconfirmed")
    yield from _check_logged("ledger.birth", issuance.serial, fingerprint(dossier.birth.encode()), logged)


def _check_logged(what: str, serial: str, digest: str, logged: Sequence[str]) -> Iterator[Discrepancy]:
    if not logged:
        yield Discrepancy(f"{what}.unlogged", serial, "the log has no entry for it")
    elif len(logged) > 1:
        yield Discrepancy(f"{what}.repeated", serial, f"the log has {len(logged)} entries for it")
    elif logged[0] != digest:
        yield Discrepancy(f"{what}.digest", serial, f"its digest is {digest}, the log says {logged[0]}")


def _check_ends(dossier: Dossier, rows: Sequence[AuditRow]) -> Iterator[Discrepancy]:
    lives, written = dossier.issuance, _decisions(dossier.ends)
    other = sum(row.act not in (*ISSUING_ACTS, BIRTH_ACT) for row in rows)
    ending = sum(row.act in ENDING_ACTS for row in rows)
    if other < written:
        told = f"{written} decisions about its end in the tables, {other} in the log"
        yield Discrepancy("ledger.ending.unlogged", lives.serial, told)
    if ending > written:
        told = f"{ending} decisions about its end in the log, {written} in the tables"
        yield Discrepancy("ledger.ending.missing", lives.serial, told)
    if (lives.dies_at, lives.ending) != _end_of(dossier.ends, lives):
        told = f"it dies {lives.dies_at} ({lives.ending}), which is not what was decided last"
        yield Discrepancy("ledger.ending.life", lives.serial, told)


def _decisions(ends: Sequence[End]) -> int:
    """Count the decisions: what is written behind a release says again what held before, and nobody decided it."""
    again = sum(
        before.ending is Ending.RELEASED and (after.ending is Ending.UNCONFIRMED or after in ends[:number])
        for number, (before, after) in enumerate(pairwise(ends))
    )
    return len(ends) - again


def _end_of(ends: Sequence[End], lives: Issuance) -> tuple[object, object]:
    """Return when it dies and why by what was decided: last of all, else by its grace time, else not at all."""
    if ends and ends[-1].ending is not Ending.RELEASED:
        return ends[-1].dies_at, ends[-1].ending
    if ends or lives.confirmed_at is not None:
        return None, None
    return (lives.dies_at or "a moment"), Ending.UNCONFIRMED


# --- orders ----------------------------------------------------------------------------------------------------


def _check_orders(ledger: LedgerReader) -> Iterator[Discrepancy]:
    for order in ledger.orders():
        counted = ledger.order_use(order.id, "").units
        taken = ledger.order_account(order.id, order.not_after).taken
        if counted != taken:
            told = f"the order counts {counted} units, {taken} have a place in it"
            yield Discrepancy("ledger.quota.count", order.id, told)
        if order.document and ledger.proposal(order.document) is None:
            yield Discrepancy("ledger.order.document", order.id, f"there is no proposal {order.document}")
    for order_id, unit in ledger.stray_places(STRAYS_MAX):
        told = f"unit {unit} counts, and nothing was ever issued to it under this order"
        yield Discrepancy("ledger.quota.stray", order_id, told)


# --- what persons have signed ----------------------------------------------------------------------------------


def _check_documents(ledger: LedgerReader, authority: str) -> Iterator[Discrepancy]:
    seen = 0
    while proposals := ledger.proposals(PAGE, seen):
        seen += len(proposals)
        for proposal in proposals:
            yield from check_documents(proposal, authority)


def check_documents(proposal: Proposal, authority: str) -> Iterator[Discrepancy]:
    """Yield what is wrong with the documents of one proposal. Whether their signers may sign is not judged. Pure."""
    try:
        signed.proposed(proposal, authority)
    except DecodeError as error:
        yield _not_signed("ledger.proposal", proposal, error)
    ruling = proposal.ruling
    if ruling is None or ruling.state is State.EXPIRED:
        return
    try:
        signed.ruled(proposal, ruling, authority)
    except DecodeError as error:
        yield _not_signed("ledger.ruling", proposal, error)


def _not_signed(what: str, proposal: Proposal, error: DecodeError) -> Discrepancy:
    foreign = error.finding == "proposal.authority"
    return Discrepancy(f"{what}.authority" if foreign else f"{what}.document", proposal.id, error.message)
