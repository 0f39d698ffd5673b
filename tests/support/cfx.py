# SPDX-License-Identifier: Apache-2.0
"""CFX messages: a panel to tell of, every message that can be made, and a judge by the published lists alone."""

import enum
import re
import tomllib
import types
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from birthmark.core.line_events import (
    Heading,
    LineHeld,
    LineResumed,
    Outcome,
    PanelBegun,
    PanelEnded,
    Place,
    RigState,
    StateChange,
    UnitVerdict,
    WorkStarted,
)

PUBLISHED = tomllib.loads((Path(__file__).parents[1] / "vectors/cfx/ipc-2591-2.1.toml").read_text())
AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HANDLE = "Acme.Rig.A"
RUN, TRANSACTION = "0011223344556677", "5a1d6a3e-0000-4000-8000-000000000001"
PLACES = (
    Place(position=1, unit="BM-000001"),
    Place(position=2, unit="BM-000002"),
    Place(position=3, unit="BM-000003", bad=True),
    Place(position=4, unit="", bad=True),
)
SPAN = re.compile(r"(\d+\.)?\d\d:\d\d:\d\d(\.\d{7})?")
Json = Any
CHANGE = StateChange(was=RigState.IDLE, was_s=1.5, now=RigState.WORK)


def of_panel(what: str, **changes: object) -> Heading:
    """Return the heading of an event of the panel."""
    heading = Heading(
        idempotency_key=f"{TRANSACTION}:{what}",
        rig="rig-a",
        run=RUN,
        transaction=TRANSACTION,
        at=AT.isoformat(timespec="milliseconds"),
        operator="ada",
        product="controller",
        order="order-1",
        mes_hold=False,
    )
    return heading | changes  # type: ignore[return-value] # tests name the members that they change


BEGUN = PanelBegun(**of_panel("panel.begun"), places=PLACES)
WORK = WorkStarted(**of_panel("work.started"), places=PLACES, recipe_sha256="ab" * 32, change=CHANGE)
HELD = LineHeld(**of_panel("line.held.0"), what="no connection", hint="see", finding="line.ca.away", change=CHANGE)
RESUMED = LineResumed(**of_panel("line.held.0:over"), finding="line.ca.away", hold=HELD.idempotency_key, change=CHANGE)


def verdict(verdict: str, finding: str = "", reason: str = "", position: int = 1) -> UnitVerdict:
    return UnitVerdict(
        **of_panel(f"unit.verdict.{position}"),
        unit=PLACES[position - 1].unit,
        position=position,
        verdict=verdict,
        finding=finding,
        reason=reason,
        started=AT.isoformat(),
        recipe_sha256="ab" * 32,
    )


def outcomes(*verdicts: str) -> tuple[Outcome, ...]:
    """Return how the places ended, in their order."""
    return tuple(
        Outcome(position=place.position, unit=place.unit, verdict=each)
        for place, each in zip(PLACES, verdicts, strict=True)
    )


ENDED = PanelEnded(
    **of_panel("panel.ended"),
    passed=1,
    failed=1,
    skipped=2,
    panel_s=1.5,
    outcomes=outcomes("PASS", "FAIL", "SKIP", "SKIP"),
    worked=True,
    change=CHANGE,
)


def demand_envelope(value: Json) -> None:
    """Pass an envelope whose fields, and whose message's, are the published ones, all of them, with their types."""
    name = value["MessageName"]
    body = value.pop("MessageBody")
    _demand_fields(value, PUBLISHED["envelope"], "envelope")
    assert next(iter(body)) == "$type", "the SDK reads $type where it stands first"
    assert body.pop("$type") == f"{name}, CFX"
    _demand_fields(body, PUBLISHED["message"][name], name)


def _demand_fields(value: Json, fields: dict[str, str], where: str) -> None:
    assert isinstance(value, dict), where
    assert set(value) == set(fields), where
    for name, kind in fields.items():
        _demand(value[name], kind, f"{where}.{name}")


def _demand(value: Json, kind: str, where: str) -> None:
    if kind == "never":
        assert value is None or value == [], where
    elif kind.endswith("?"):
        if value is not None:
            _demand(value, kind[:-1], where)
    elif kind.endswith("[]"):
        assert isinstance(value, list), where
        for each in value:
            _demand(each, kind[:-2], f"{where}[]")
    elif kind in _PLAIN:
        _PLAIN[kind](value)
    elif kind in PUBLISHED["enumeration"]:
        assert value in PUBLISHED["enumeration"][kind], f"{where}: {value}"
    else:
        _demand_fields(value, PUBLISHED["structure"][kind], where)


def _text(value: Json) -> None:
    assert isinstance(value, str)


def _guid(value: Json) -> None:
    assert str(UUID(value)) == value


def _int(value: Json) -> None:
    assert type(value) is int


def _number(value: Json) -> None:
    assert type(value) in {int, float}


def _bool(value: Json) -> None:
    assert type(value) is bool


def _time(value: Json) -> None:
    assert datetime.fromisoformat(value).tzinfo is not None


def _span(value: Json) -> None:
    assert SPAN.fullmatch(value), value


def _map(value: Json) -> None:
    assert all(isinstance(part, str) for pair in value.items() for part in pair)


_PLAIN: dict[str, Callable[[Json], None]] = {
    "text": _text,
    "guid": _guid,
    "int": _int,
    "number": _number,
    "bool": _bool,
    "time": _time,
    "span": _span,
    "map": _map,
}
_TIMES = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2099, 1, 1))  # noqa: DTZ001 a zone is added
_TEXTS = {
    "Times": _TIMES.map(lambda at: at.isoformat() + "Z"),
    "Spans": st.sampled_from(["00:00:00", "1.02:03:04.0500000", "00:01:00"]),
}
_NAMED = {
    "occurred_at": _TEXTS["Times"],
    "due_date_time": st.none() | _TEXTS["Times"],
    "test_start_time": st.none() | _TEXTS["Times"],
    "test_end_time": st.none() | _TEXTS["Times"],
    "heartbeat_frequency": _TEXTS["Spans"],
    "old_state_duration": _TEXTS["Spans"],
}


def anything(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Every value of a message or a structure, by its annotations."""
    hints = get_type_hints(kind)
    fields = {name: _NAMED[name] if name in _NAMED else _of(hints[name]) for name in kind.__struct_fields__}
    return st.builds(kind, **fields)


def _of(annotation: Any) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _SIMPLE:
        made = _SIMPLE[annotation]
    elif origin in {Union, types.UnionType}:
        made = st.one_of(*map(_of, arguments))
    elif origin is dict:
        made = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
    elif origin is tuple:
        made = st.lists(_of(arguments[0]), max_size=2).map(tuple) if arguments else st.just(())
    elif issubclass(annotation, enum.Enum):
        made = st.sampled_from(annotation)
    else:
        made = anything(annotation)
    return made


_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    int: st.integers(-(2**31), 2**31 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    UUID: st.uuids(),
    type(None): st.none(),
}
