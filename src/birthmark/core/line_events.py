# SPDX-License-Identifier: Apache-2.0
"""
What a rig tells the factory: one frozen type for each kind of event, and the JSON that is kept and sent.

`event` says which kind it is. The rig's store gives every event the next `sequence` of its `journal`, in the
transaction of what the event tells: a receiver that misses a number misses an event. Times are RFC 3339 in UTC.
"""

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


class PanelBegun(LineEvent, frozen=True, kw_only=True, tag="panel.begun"):
    """A panel has arrived, with these units in it."""

    places: tuple[Place, ...]


class UnitStarted(LineEvent, frozen=True, kw_only=True, tag="unit.started"):
    """Work on a unit has begun."""

    unit: str
    position: int


class UnitVerdict(LineEvent, frozen=True, kw_only=True, tag="unit.verdict"):
    """How a unit's run ended: PASS, PASS-ALREADY, RESUMED, FAIL, QUARANTINE, SKIP."""

    unit: str
    position: int
    verdict: str
    finding: str = ""
    reason: str = ""
    certificate_sha256: str = ""


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
    """Every position of a panel has its verdict."""

    passed: int
    failed: int
    skipped: int
    panel_s: float


class LineHeld(LineEvent, frozen=True, kw_only=True, tag="line.held"):
    """The line waits, or the one position of this unit does: for what, and why."""

    what: str
    hint: str
    finding: str
    unit: str = ""


class LineResumed(LineEvent, frozen=True, kw_only=True, tag="line.resumed"):
    """What was held goes on. `finding` is that of the hold."""

    finding: str
    unit: str = ""


AnyLineEvent: TypeAlias = (
    PanelBegun
    | UnitStarted
    | UnitVerdict
    | UnitBorn
    | UnitOverridden
    | UnitReworked
    | PanelEnded
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
