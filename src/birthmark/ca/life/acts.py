# SPDX-License-Identifier: Apache-2.0
"""
What two persons can do about a unit: give it its life back, or another chip.

A replacement names the old chip and the new one, so that both persons have signed which board goes and which comes. The
old chip is denied for good and its certificates are revoked when it is approved, not when the new one is born: from
then on the old board is worth nothing, whoever repairs it.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import structs

from birthmark.ca.demands import CONFLICT
from birthmark.ca.errors import Refused
from birthmark.ca.life.lifecycle import take_effect
from birthmark.ca.life.units import RULES, Move, demand_unit, moved, replaced
from birthmark.ca.people.approvals import APPROVERS, Act, Asked
from birthmark.ca.ports import Ledger
from birthmark.core.audit import AuditRow
from birthmark.core.issuance import ChipID, Unit
from birthmark.core.ledger_rows import said, unit_row

RESUME, REPLACE = Move.RESUME.act, Move.REPLACE.act
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class ResumeTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The terms of `unit.resume`: since when the unit is dark, so that no later suspension is lifted with it."""

    since: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class ReplaceTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The terms of `unit.replace`."""

    old_maker: _Name
    old_chip: _Name
    new_maker: _Name
    new_chip: _Name


def unit_acts() -> tuple[Act, ...]:
    """Return the rows of the table of acts."""
    return (
        Act(RESUME, ResumeTerms, "unit_serial", RULES[Move.RESUME].roles, APPROVERS, _ask_resume, _resume),
        Act(REPLACE, ReplaceTerms, "unit_serial", RULES[Move.REPLACE].roles, APPROVERS, _ask_replace, _replace),
    )


def _ask_resume(ledger: Ledger, asked: Asked) -> None:
    _resumed(ledger, asked)


def _resume(ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
    """Release what is held, and let the unit be what it was. Refused: ca.unit.*."""
    return _said(ledger, asked, Move.RESUME, _resumed(ledger, asked))


def _resumed(ledger: Ledger, asked: Asked) -> Unit:
    unit = demand_unit(ledger.unit(asked.subject), asked.subject)
    if since_text(unit) != asked.terms.since:
        reason = f"unit {unit.serial} is {unit.state.value} since {since_text(unit)}"
        raise Refused(CONFLICT, "ca.unit.stale", reason, hint="look at it and sign again")
    return moved(unit, Move.RESUME, asked.at, asked.reason)


def _ask_replace(ledger: Ledger, asked: Asked) -> None:
    _replaced(ledger, asked)


def _replace(ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
    """Retire the old chip, and let the unit wait for the new one. Refused: ca.unit.*."""
    return _said(ledger, asked, Move.REPLACE, _replaced(ledger, asked))


def _replaced(ledger: Ledger, asked: Asked) -> Unit:
    terms: ReplaceTerms = asked.terms
    old, new = ChipID(terms.old_maker, terms.old_chip), ChipID(terms.new_maker, terms.new_chip)
    unit = demand_unit(ledger.unit(asked.subject), asked.subject)
    if unit.chip is not None and unit.chip != old:
        raise Refused(
            CONFLICT,
            "ca.unit.stale",
            f"unit {unit.serial} has the chip {unit.chip.serial} of {unit.chip.maker}",
            hint="look at it and sign again",
        )
    after = replaced(unit, new, asked.at, asked.reason)
    _demand_fresh(ledger, new, unit.serial)
    return after


def _demand_fresh(ledger: Ledger, chip: ChipID, unit_serial: str) -> None:
    """Pass a chip that may be born in the unit: not denied, and of no other unit. Refused: ca.unit.chip."""
    denial = ledger.denial(chip)
    if denial is not None:
        raise Refused(CONFLICT, "ca.unit.chip", f"chip {chip.serial} is denied: {denial}")
    others = [each.serial for each in ledger.units_of_chip(chip) if each.serial != unit_serial]
    if others:
        raise Refused(CONFLICT, "ca.unit.chip", f"chip {chip.serial} is that of unit {others[0]}")


def _said(ledger: Ledger, asked: Asked, move: Move, after: Unit) -> Sequence[AuditRow]:
    chip_serial = "" if after.chip is None else after.chip.serial
    row = asked.row(asked.reason, order=after.order, chip_serial=chip_serial)
    rows = take_effect(ledger, move, after, structs.replace(row, state=said("unit", unit_row(after))))
    ledger.put_units([after])
    return rows


def since_text(unit: Unit) -> str:
    """Return since when the unit is what it is, as a proposal to resume it says it."""
    return unit.since.isoformat(timespec="microseconds")
