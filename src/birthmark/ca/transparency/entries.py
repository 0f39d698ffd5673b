# SPDX-License-Identifier: Apache-2.0
"""The log read entry by entry: whole, well formed, linked, and about things that the tables have."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from birthmark.ca.ports import LedgerReader
from birthmark.ca.transparency.discrepancy import PAGE, Discrepancy
from birthmark.ca.transparency.spill import LINKED, LINKS, Spill
from birthmark.core.audit import AuditRow, decode_row, link
from birthmark.core.dossier import Leaf
from birthmark.core.errors import DecodeError
from birthmark.core.ledger_rows import issuance_name, said


def check_entries(ledger: LedgerReader, spill: Spill) -> Iterator[Discrepancy]:
    """Yield what is wrong with entries, and what they name that the tables lack; spill what they say of rows."""
    expected = 0
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
        granted = [(leaf.number, row) for leaf, row in decided if not row.finding]
        yield from _orphaned(ledger, granted)
        yield from _reopened(ledger, granted)
        _spill(granted, spill)
        _spill_threads(decided, spill)


def check_links(ledger: LedgerReader) -> Iterator[Discrepancy]:
    """Each entry about a unit names the one before it: what was cut out of the middle shows."""
    place, last = ("", 0), ""
    while leaves := ledger.leaves_by_unit(place, PAGE):
        for leaf in leaves:
            before = last if leaf.unit_serial == place[0] else ""
            place, last = (leaf.unit_serial, leaf.number), link(leaf.number, leaf.entry)
            with suppress(DecodeError):
                previous = decode_row(leaf.entry).previous
                if previous != before:
                    there = f"before it comes {before or 'none'} about unit {leaf.unit_serial}"
                    told = f"{there}, it says {previous or 'none'}"
                    yield Discrepancy("ledger.entry.previous", str(leaf.number), told)


def _misfiled(decided: Sequence[tuple[Leaf, AuditRow]]) -> Iterator[Discrepancy]:
    for leaf, row in decided:
        if row.unit_serial != leaf.unit_serial:
            told = f"it is about unit {row.unit_serial or '(none)'} and filed under {leaf.unit_serial or '(none)'}"
            yield Discrepancy("ledger.entry.unit", str(leaf.number), told)


def _orphaned(ledger: LedgerReader, granted: Sequence[tuple[int, AuditRow]]) -> Iterator[Discrepancy]:
    named = [(number, row) for number, row in granted if row.certificate]
    known = ledger.known_serials([row.certificate for _, row in named]) if named else frozenset[str]()
    for number, row in named:
        if row.certificate not in known:
            told = f"entry {number} ({row.act}) is about a certificate that the tables do not have"
            yield Discrepancy("ledger.certificate.missing", row.certificate, told)


def _reopened(ledger: LedgerReader, granted: Sequence[tuple[int, AuditRow]]) -> Iterator[Discrepancy]:
    """A nonce is forgotten after a day; while it is known, it is known to be used by what has consumed it."""
    named = [(number, row) for number, row in granted if row.nonce]
    uses = ledger.nonce_uses([row.nonce for _, row in named]) if named else {}
    for number, row in named:
        if row.nonce in uses and uses[row.nonce] != row.certificate:
            used = f"as used by {uses[row.nonce]}" if uses[row.nonce] else "as unused"
            told = f"entry {number} ({row.act}) of {row.certificate} consumed the nonce, which is kept {used}"
            yield Discrepancy("ledger.nonce.reopened", row.nonce, told)


def _spill_threads(decided: Sequence[tuple[Leaf, AuditRow]], spill: Spill) -> None:
    """Spill the links of entries about no unit, and that the tables must file them under their threads."""
    for leaf, row in decided:
        if row.thread and not row.unit_serial:
            links = f"{row.previous}{LINKED}{link(leaf.number, leaf.entry)}"
            spill.add((f"{LINKS}{row.thread}", leaf.number, links))
            for name, digest in said("thread", {"name": row.thread, "number": leaf.number}).items():
                spill.add((name, leaf.number, digest))


def _spill(granted: Sequence[tuple[int, AuditRow]], spill: Spill) -> None:
    for number, row in granted:
        for name, digest in row.state.items():
            # An issuance is held against its entry where all about it is read.
            if name != issuance_name(row.certificate):
                spill.add((name, number, digest))
