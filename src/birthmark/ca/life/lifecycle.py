# SPDX-License-Identifier: Apache-2.0
"""
What is said of units, and what is revoked: by certificate, unit, chip, attestation key or chip model.

Everything here takes life away or notes it, so one person may say it; what gives life back is an act of two
(`ca.unit_acts`). Each decision is an entry of the log, and so is each certificate that ends by it.

A whole group of chips is revoked in two steps. The denial is one transaction: from then on no request for a chip of the
group is met. Then its certificates end, by pages; whoever is interrupted there, `settle` of any worker goes on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from msgspec import structs

from birthmark.ca.demands import UNKNOWN
from birthmark.ca.errors import Refused
from birthmark.ca.life.scrap import end_identity
from birthmark.ca.life.units import RULES, Effect, Move, demand_unit, holdable, moved, revocable
from birthmark.ca.ports import CAStore, Ledger
from birthmark.core.audit import AuditRow
from birthmark.core.clock import Clock
from birthmark.core.issuance import ChipGroup, ChipID, End, Ending, GroupDenial, Issuance, Unit
from birthmark.core.ledger_rows import denied_chip_row, denied_group_row, said, unit_row

SETTLE_MAX: Final = 500
"""Certificates of a denied group that end in one transaction."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who decides, as the log names them; `fingerprint` is that of their certificate."""

    holder: str
    fingerprint: str = ""


ADMINISTRATOR: Final = Actor("administrator")
"""Whoever opens the ledger on the CA's own machine."""
AUTHORITY: Final = Actor("authority")


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A unit, and every certificate that was ever issued to it, oldest first."""

    unit: Unit
    issuances: tuple[Issuance, ...]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Decides in one transaction each. Calls may come from several threads, and everything may raise StoreError."""

    store: CAStore
    clock: Clock

    def unit(self, unit_serial: str) -> UnitFile:
        """Return the unit as it stands. Raises Refused: ca.unit.unknown."""
        with self.store.reading() as ledger:
            unit = demand_unit(ledger.unit(unit_serial), unit_serial)
            return UnitFile(unit, ledger.issuances_of_unit(unit_serial))

    def move(self, actor: Actor, unit_serial: str, move: Move, reason: str) -> Unit:
        """
        Say something of a unit that one person may say; its certificates follow.

        Raises:
            Refused: ca.unit.unknown, ca.unit.transition; ca.unit.two-persons for a move that needs another one.

        """
        with self.store.writing() as ledger:
            at = self.clock()
            unit = demand_unit(ledger.unit(unit_serial), unit_serial)
            if RULES[move].two_persons or not RULES[move].roles:
                raise Refused(403, "ca.unit.two-persons", f"one person alone cannot {move.value} a unit")
            after = moved(unit, move, at, reason)
            ledger.put_units([after])
            ledger.append(take_effect(ledger, move, after, row_of(actor, move, after, reason, at)))
        return after

    def revoke_certificate(self, actor: Actor, serial: str, reason: str) -> tuple[str, ...]:
        """
        Revoke the certificate with this serial (hexadecimal, colons allowed) for good, and its key; return what ended.

        The certificates that it has replaced, and that live on for the overlap, go with it: the unit could renew itself
        with one of them.

        Raises:
            Refused: ca.certificate.unknown.

        """
        with self.store.writing() as ledger:
            issuance = _issuance(ledger, serial)
            at = self.clock()
            doomed = (issuance, *_replaced(ledger, issuance, at))
            return _revoke(ledger, actor, doomed, reason, at)

    def revoke_unit(self, actor: Actor, unit_serial: str, reason: str) -> tuple[str, ...]:
        """
        Revoke every living certificate of the unit, also one that it has renewed to; return their serials.

        The unit stays what it is, and its chip may be enrolled again with a new key: to end it, let it retire.

        Raises:
            Refused: ca.unit.unknown.

        """
        with self.store.writing() as ledger:
            known = ledger.issuances_of_unit(unit_serial)
            if not known:
                raise Refused(UNKNOWN, "ca.unit.unknown", f"nothing was ever issued to a unit {unit_serial[:64]}")
            at = self.clock()
            return _revoke(ledger, actor, revocable(known, at), reason, at)

    def revoke_chip(self, actor: Actor, chip: ChipID, reason: str) -> tuple[str, ...]:
        """Deny the chip for good, whether it was ever seen here or not, and revoke what it has; return the serials."""
        with self.store.writing() as ledger:
            at = self.clock()
            ledger.deny(chip, reason)
            denied = AuditRow(
                at=at,
                who=actor.holder,
                fingerprint=actor.fingerprint,
                act="deny",
                chip_serial=chip.serial,
                detail=f"chip of {chip.maker}: {reason}",
                state=said("denied_chip", denied_chip_row(chip, reason)),
            )
            ledger.append([denied])
            return _revoke(ledger, actor, revocable(ledger.issuances_of_chip(chip), at), reason, at)

    def revoke_group(self, actor: Actor, group: ChipGroup, reason: str) -> int:
        """Deny all chips of the group for good, and revoke what they have; return how many certificates ended."""
        with self.store.writing() as ledger:
            at = self.clock()
            earlier = [each.since for each in ledger.group_denials() if each.group == group]
            denial = GroupDenial(group=group, reason=reason, since=min([at, *earlier]))
            ledger.deny_group(denial)
            ledger.append([_group_row(actor, "deny", denial, reason, at)])
        return self.settle(actor)

    def settle(self, actor: Actor = AUTHORITY) -> int:
        """End what is left of denied groups, page by page; return how many certificates ended."""
        count = 0
        while denial := self._unsettled():
            with self.store.writing() as ledger:
                at = self.clock()
                page = ledger.living_of_group(denial.group, at, SETTLE_MAX)
                reason = f"{denial.group.kind.value} {denial.group.name}: {denial.reason}"
                count += len(_revoke(ledger, actor, page, reason, at))
                if len(page) < SETTLE_MAX:
                    settled = replace(denial, settled_at=at)
                    ledger.deny_group(settled)
                    ledger.append([_group_row(actor, "settle", settled, "no certificate of it counts any more", at)])
        return count

    def _unsettled(self) -> GroupDenial | None:
        with self.store.reading() as ledger:
            return next((each for each in ledger.group_denials() if each.settled_at is None), None)


def row_of(actor: Actor, move: Move, unit: Unit, reason: str, at: datetime) -> AuditRow:
    """Return the log entry of what was said of a unit."""
    return AuditRow(
        at=at,
        who=actor.holder,
        fingerprint=actor.fingerprint,
        act=move.act,
        order=unit.order,
        unit_serial=unit.serial,
        chip_serial="" if unit.chip is None else unit.chip.serial,
        detail=reason,
        state=said("unit", unit_row(unit)),
    )


def take_effect(ledger: Ledger, move: Move, unit: Unit, row: AuditRow) -> Sequence[AuditRow]:
    """Let the unit's certificates follow what was said of it; return `row` and the log entries of those that did."""
    actor, at = Actor(row.who, row.fingerprint), row.at
    match RULES[move].effect:
        case Effect.NOTHING:
            return [row]
        case Effect.HOLD:
            held, ended = holdable(ledger.issuances_of_unit(unit.serial), at)
            ledger.hold([each.serial for each in held], at)
            ledger.end([End(each.serial, at, Ending.REVOKED) for each in ended])
            return [
                row,
                *(_end_row(_row(actor, "hold", each, row.detail, at), at, Ending.HELD) for each in held),
                *(
                    _end_row(_row(actor, "revoke", each, "unconfirmed, and its unit is held", at), at, Ending.REVOKED)
                    for each in ended
                ),
            ]
        case Effect.RELEASE:
            held = tuple(each for each in ledger.issuances_of_unit(unit.serial) if each.ending is Ending.HELD)
            ledger.release([each.serial for each in held], at)
            released = (_end_row(_row(actor, "release", each, row.detail, at), at, Ending.RELEASED) for each in held)
            return [row, *released]
        case Effect.REVOKE:
            return end_identity(ledger, unit.serial, f"{move.value}: {row.detail}", at).rows(row)


def _revoke(ledger: Ledger, actor: Actor, doomed: Iterable[Issuance], reason: str, at: datetime) -> tuple[str, ...]:
    issuances = tuple(doomed)
    # What has ended already keeps its moment.
    ends = [End(each.serial, min(at, each.dies_at or at), Ending.REVOKED) for each in issuances]
    ledger.end(ends)
    told = zip(issuances, ends, strict=True)
    ledger.append([_end_row(_row(actor, "revoke", each, reason, at), end.dies_at, end.ending) for each, end in told])
    return tuple(each.serial for each in issuances)


def _row(actor: Actor, act: str, issuance: Issuance, detail: str, at: datetime) -> AuditRow:
    return AuditRow(
        at=at,
        who=actor.holder,
        fingerprint=actor.fingerprint,
        act=act,
        order=issuance.order,
        unit_serial=issuance.unit_serial,
        chip_serial=issuance.chip.serial,
        certificate=issuance.serial,
        detail=detail,
    )


def _end_row(row: AuditRow, dies_at: datetime, ending: Ending) -> AuditRow:
    """Return the log entry of a certificate's end, which says when it dies and why."""
    return structs.replace(row, dies=dies_at, ending=ending.value)


def _group_row(actor: Actor, act: str, denial: GroupDenial, detail: str, at: datetime) -> AuditRow:
    return AuditRow(
        at=at,
        who=actor.holder,
        fingerprint=actor.fingerprint,
        act=act,
        detail=f"{denial.group.kind.value} {denial.group.name}: {detail}",
        state=said("denied_group", denied_group_row(denial)),
    )


def _issuance(ledger: Ledger, serial: str) -> Issuance:
    found = ledger.issuance(serial.replace(":", "").lower().lstrip("0"))
    if found is None:
        raise Refused(
            UNKNOWN,
            "ca.certificate.unknown",
            f"this CA issued no certificate with the serial {serial[:64]}",
            hint="birthmark ca certificates lists them",
        )
    return found


def _replaced(ledger: Ledger, issuance: Issuance, at: datetime) -> Iterable[Issuance]:
    """Yield the living certificates of the same chip that are older than this one."""
    for other in ledger.issuances_of_chip(issuance.chip):
        if other.serial == issuance.serial:
            return
        yield from revocable([other], at)
