# SPDX-License-Identifier: Apache-2.0
"""
What a rig tells the factory: one frozen type for each kind of event, and the JSON that is kept and sent.

`event` says which kind it is. The rig's store gives every event the next `sequence` of its `journal`, in the
transaction of what the event tells: a receiver that misses a number misses an event. Times are RFC 3339 in UTC.
"""

from enum import StrEnum
from typing import Any, Final, TypeAlias, TypedDict

import msgspec

from birthmark.core import strict_json
from birthmark.core.birth import BirthRecord, read_birth
from birthmark.core.errors import DecodeError

EVENT_MAX_BYTES: Final = 65_536
BIRTH_KIND: Final = "unit.born"


class LineEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="event"):
    """
    What every event says.

    `idempotency_key` is the same at every delivery, and no other event's; `journal` and `sequence` are the store's.
    `transaction` is the panel's, `run` the rig's run in its journal. `mes_hold`: made while the MES was behind; what
    is downstream may keep the unit back until the MES has caught up.
    """

    idempotency_key: str
    rig: str
    journal: str = ""
    sequence: int = 0
    run: str
    transaction: str
    at: str
    operator: str
    product: str
    order: str
    mes_hold: bool = False

    @property
    def kind(self) -> str:
        """Return which kind of event it is, as `event` has it."""
        return str(self.__struct_config__.tag)

    @property
    def about(self) -> str:
        """Return the unit that the event is about, or nothing."""
        return str(getattr(self, "unit", ""))


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place of a panel as it lies in the fixture. A bad mark is never worked on."""

    position: int
    unit: str
    bad: bool = False


class RigState(StrEnum):
    """What a rig is doing, as the factory knows it."""

    DOWN = "down"
    IDLE = "idle"
    WORK = "work"
    HELD = "held"


class StateChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rig went from one state, in which it was for `was_s` seconds, to another; or it stays in that one."""

    was: RigState
    was_s: float
    now: RigState


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one place of a panel ended. `verdict` is empty where the panel was broken off before there was one."""

    position: int
    unit: str
    verdict: str


class RigStarted(LineEvent, frozen=True, kw_only=True, tag="rig.started"):
    """The rig is ready for panels."""

    change: StateChange | None = None


class RigEnded(LineEvent, frozen=True, kw_only=True, tag="rig.ended"):
    """The rig takes no more panels. Of one that died its next start tells it: `at` is its last sign of life."""

    change: StateChange | None = None


class PanelBegun(LineEvent, frozen=True, kw_only=True, tag="panel.begun"):
    """A panel has arrived, with these units in it."""

    places: tuple[Place, ...]


class WorkStarted(LineEvent, frozen=True, kw_only=True, tag="work.started"):
    """
    Nothing keeps the panel from being worked on: those of its boards that may be get power.

    `assumed` says why the factory's clearance was assumed, where it was asked for one and gave none.
    """

    places: tuple[Place, ...]
    recipe_sha256: str
    assumed: str = ""
    change: StateChange | None = None


class UnitStarted(LineEvent, frozen=True, kw_only=True, tag="unit.started"):
    """Work on a unit has begun."""

    unit: str
    position: int


class UnitVerdict(LineEvent, frozen=True, kw_only=True, tag="unit.verdict"):
    """
    How a unit's run ended: PASS, PASS-ALREADY, RESUMED, FAIL, QUARANTINE, SKIP.

    `started` is when its first step began (RFC 3339), empty where there was none.
    """

    unit: str
    position: int
    verdict: str
    finding: str = ""
    reason: str = ""
    certificate_sha256: str = ""
    started: str = ""
    recipe_sha256: str = ""


class UnitBorn(LineEvent, frozen=True, kw_only=True, tag=BIRTH_KIND):
    """A unit has its identity. `jws` is its birth record; the key is the record's own, whichever rig tells it."""

    unit: str
    position: int
    jws: str


class UnitOverridden(LineEvent, frozen=True, kw_only=True, tag="unit.overridden"):
    """A lead has let a unit out of quarantine."""

    unit: str
    by: str
    reason: str


class UnitReworked(LineEvent, frozen=True, kw_only=True, tag="unit.reworked"):
    """A lead lets a unit that did not pass begin anew, for the `reworks`-th time."""

    unit: str
    by: str
    reason: str
    reworks: int


class PanelEnded(LineEvent, frozen=True, kw_only=True, tag="panel.ended"):
    """Every position of a panel has its verdict. `worked`: work had started on one of them at least."""

    passed: int
    failed: int
    skipped: int
    panel_s: float
    outcomes: tuple[Outcome, ...] = ()
    worked: bool = False
    change: StateChange | None = None


class PanelBroken(LineEvent, frozen=True, kw_only=True, tag="panel.broken"):
    """A panel was broken off. Where the rig died its next start tells it: `at` is its last sign of life."""

    outcomes: tuple[Outcome, ...]
    worked: bool
    change: StateChange | None = None


class LineHeld(LineEvent, frozen=True, kw_only=True, tag="line.held"):
    """The line waits, or the one position of this unit does: for what, and why."""

    what: str
    hint: str
    finding: str
    unit: str = ""
    change: StateChange | None = None


class LineResumed(LineEvent, frozen=True, kw_only=True, tag="line.resumed"):
    """What was held goes on, or is given up. `finding` is that of the hold, `hold` its key."""

    finding: str
    unit: str = ""
    hold: str = ""
    change: StateChange | None = None


AnyLineEvent: TypeAlias = (
    RigStarted
    | RigEnded
    | PanelBegun
    | WorkStarted
    | UnitStarted
    | UnitVerdict
    | UnitBorn
    | UnitOverridden
    | UnitReworked
    | PanelEnded
    | PanelBroken
    | LineHeld
    | LineResumed
)
KINDS: Final[tuple[type[LineEvent], ...]] = AnyLineEvent.__args__


class Heading(TypedDict):
    """What the maker of an event says of itself and of the moment."""

    idempotency_key: str
    rig: str
    run: str
    transaction: str
    at: str
    operator: str
    product: str
    order: str
    mes_hold: bool


def encode_event(event: LineEvent) -> bytes:
    """Return the JSON under which an event is kept."""
    return msgspec.json.encode(event)


def decode_event(data: bytes) -> LineEvent:
    """Return the event that the JSON is. Raises DecodeError."""
    if len(data) > EVENT_MAX_BYTES:
        raise DecodeError(f"an event of {len(data)} bytes; at most {EVENT_MAX_BYTES} are read")
    try:
        event: LineEvent = strict_json.decode(data, AnyLineEvent)  # type: ignore[arg-type] # mypy knows no unions as types
    except DecodeError as error:
        raise DecodeError(f"not an event of a line: {error.message}") from error
    return event


def delivered_form(event: LineEvent) -> bytes:
    """
    Return the JSON that receivers get: the event, and with a birth its record in plain, as `record`.

    Raises:
        DecodeError: what should be a birth record is none.

    """
    if not isinstance(event, UnitBorn):
        return encode_event(event)
    members: dict[str, Any] = msgspec.to_builtins(event)
    record: BirthRecord = read_birth(event.jws)
    return msgspec.json.encode({**members, "record": record})
