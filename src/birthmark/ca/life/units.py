# SPDX-License-Identifier: Apache-2.0
"""
The life cycle of a unit as a table: what may follow on what, who may say so, what becomes of its certificates. Pure.

What makes a unit dark is said by one person, and counts at once. What gives it its life back, or another chip, takes
two (`ca.approvals`): see `Rule.two_persons`. docs/reference/life-cycle.md shows the table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Final

from birthmark.ca.demands import CONFLICT, UNKNOWN
from birthmark.ca.errors import Refused
from birthmark.core.issuance import ChipID, Ending, Issuance, Unit, UnitState
from birthmark.core.roles import Role


class Move(Enum):
    """What can be said of a unit. The value stands in the log: `unit.ship`."""

    BIRTH = "birth"
    ACTIVATE = "activate"
    SHIP = "ship"
    SUSPEND = "suspend"
    RETURN = "return"
    RESUME = "resume"
    REPLACE = "replace"
    RETIRE = "retire"

    @property
    def act(self) -> str:
        """The act's name in the log."""
        return f"unit.{self.value}"


class Effect(Enum):
    """What becomes of the unit's living certificates."""

    NOTHING = "nothing"
    HOLD = "hold"
    """They count as revoked until they are released (RFC 5280 §5.3.1: certificateHold)."""
    RELEASE = "release"
    REVOKE = "revoke"
    """For good, and the chip is denied for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the table. Where `roles` is empty, the authority says it by itself; None as a source is no unit."""

    sources: frozenset[UnitState | None]
    target: UnitState | None
    """None: the state that the unit resumes."""
    roles: frozenset[Role]
    effect: Effect
    two_persons: bool = False


_SECURITY: Final = frozenset({Role.SECURITY_OFFICER})
_LINE: Final = frozenset({Role.SECURITY_OFFICER, Role.LINE_LEAD})
_GOOD: Final = frozenset({UnitState.MADE, UnitState.SHIPPED, UnitState.ACTIVE})
_HELD: Final = frozenset({UnitState.SUSPENDED, UnitState.RETURNED})

RULES: Final[Mapping[Move, Rule]] = MappingProxyType(
    {
        Move.BIRTH: Rule(
            sources=frozenset({None, UnitState.REWORKED, *_GOOD}),
            target=UnitState.MADE,
            roles=frozenset(),
            effect=Effect.NOTHING,
        ),
        Move.ACTIVATE: Rule(
            sources=frozenset({UnitState.MADE, UnitState.SHIPPED}),
            target=UnitState.ACTIVE,
            roles=frozenset(),
            effect=Effect.NOTHING,
        ),
        Move.SHIP: Rule(
            sources=frozenset({UnitState.MADE}), target=UnitState.SHIPPED, roles=_LINE, effect=Effect.NOTHING
        ),
        Move.SUSPEND: Rule(sources=_GOOD, target=UnitState.SUSPENDED, roles=_SECURITY, effect=Effect.HOLD),
        Move.RETURN: Rule(
            sources=_GOOD | {UnitState.SUSPENDED}, target=UnitState.RETURNED, roles=_LINE, effect=Effect.HOLD
        ),
        Move.RESUME: Rule(sources=_HELD, target=None, roles=_LINE, effect=Effect.RELEASE, two_persons=True),
        Move.REPLACE: Rule(
            sources=_GOOD | _HELD | {UnitState.REWORKED, UnitState.RETIRED},
            target=UnitState.REWORKED,
            roles=_LINE,
            effect=Effect.REVOKE,
            two_persons=True,
        ),
        Move.RETIRE: Rule(
            sources=_GOOD | _HELD | {UnitState.REWORKED},
            target=UnitState.RETIRED,
            roles=_SECURITY,
            effect=Effect.REVOKE,
        ),
    }
)
AT_THE_LINE: Final = frozenset({UnitState.MADE, UnitState.REWORKED})
"""What a line lead may scrap alone, beside units that were never born."""
BY_ONE: Final = tuple(move for move, rule in RULES.items() if rule.roles and not rule.two_persons)
"""What one person may say."""


def demand_unit(unit: Unit | None, unit_serial: str) -> Unit:
    """Return the unit when it was ever born. Refused: ca.unit.unknown."""
    if unit is None:
        raise Refused(UNKNOWN, "ca.unit.unknown", f"no unit {unit_serial[:64]} was born here")
    return unit


def moved(unit: Unit, move: Move, at: datetime, reason: str) -> Unit:
    """Return how the unit stands after somebody said this of it. Refused: ca.unit.transition."""
    rule = RULES[move]
    if unit.state not in rule.sources:
        allowed = ", ".join(sorted(each.value for each in rule.sources if each is not None))
        raise Refused(
            CONFLICT,
            "ca.unit.transition",
            f"unit {unit.serial} is {unit.state.value}: it cannot {move.value}",
            hint=f"that can only be said of one that is {allowed}",
        )
    target = rule.target or unit.resumes or UnitState.SHIPPED
    return replace(unit, state=target, since=at, reason=reason, resumes=_resumes(unit, move))


def born(unit: Unit | None, issuance: Issuance, at: datetime) -> Unit:
    """Return the unit whose birth with this certificate is confirmed: from then on it is bound to that chip."""
    fresh = Unit(serial=issuance.unit_serial, chip=issuance.chip, state=UnitState.MADE, since=at, order=issuance.order)
    if unit is None:
        return fresh
    return replace(moved(unit, Move.BIRTH, at, ""), chip=issuance.chip, order=issuance.order)


def replaced(unit: Unit, chip: ChipID, at: datetime, reason: str) -> Unit:
    """Return the unit that waits for its birth with another chip. Refused: ca.unit.transition, ca.unit.same-chip."""
    if chip == unit.chip:
        raise Refused(CONFLICT, "ca.unit.same-chip", f"unit {unit.serial} has the chip {chip.serial} already")
    return replace(moved(unit, Move.REPLACE, at, reason), chip=chip)


def scrapped(unit: Unit | None, at: datetime, reason: str) -> tuple[Unit, ...]:
    """
    Return the unit that was scrapped at the line, when it was born and is not retired already.

    The line speaks for what it has before it. To end a unit that has left it is for security officers, like any
    retirement: else one line lead could make a customer's whole fleet dark for good.

    Raises:
        Refused: ca.unit.transition.

    """
    if unit is None or unit.state is UnitState.RETIRED:
        return ()
    if unit.state not in AT_THE_LINE:
        told = f"unit {unit.serial} is {unit.state.value}: it is not at the line any more"
        raise Refused(CONFLICT, "ca.unit.transition", told, hint="a security officer retires it: ca unit retire")
    return (moved(unit, Move.RETIRE, at, reason),)


def made_again(unit: Unit | None, at: datetime, reason: str) -> tuple[Unit, ...]:
    """Return the unit that two persons let be made again at the line, with whatever chip it gets there."""
    return () if unit is None else (replace(moved(unit, Move.REPLACE, at, reason), chip=None),)


def revocable(issuances: Iterable[Issuance], at: datetime) -> tuple[Issuance, ...]:
    """Return those that have a life to end, or one that is held."""
    return tuple(each for each in issuances if each.open(at) or each.ending is Ending.HELD)


def holdable(issuances: Iterable[Issuance], at: datetime) -> tuple[tuple[Issuance, ...], tuple[Issuance, ...]]:
    """Return what is held, and what is ended for good because nobody has confirmed it."""
    living = [each for each in issuances if each.open(at)]
    held = tuple(each for each in living if each.ending is not Ending.UNCONFIRMED)
    return held, tuple(each for each in living if each.ending is Ending.UNCONFIRMED)


def _resumes(unit: Unit, move: Move) -> UnitState | None:
    match move:
        case Move.SUSPEND:
            return unit.state
        case Move.RETURN:
            return UnitState.SHIPPED
        case _:
            return None
