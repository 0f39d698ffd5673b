# SPDX-License-Identifier: Apache-2.0
"""What a station shows, as JSON (docs/reference/line-station.md): the page and local programs read the same."""

from dataclasses import asdict
from typing import Any

from birthmark.core.work import UnitChange, UnitWork
from birthmark.line.journal import Step
from birthmark.line.station.desk import Shown
from birthmark.line.station.pace import Board, Spread
from birthmark.line.wiring import OpenStation


def station_view(station: OpenStation) -> dict[str, Any]:
    """Return what does not change while the station is open."""
    return {
        "rig": station.rig.rig,
        "product": station.recipe.product,
        "order": station.recipe.order,
        "recipe_sha256": station.recipe.sha256,
        "takt_s": station.recipe.takt_s,
        "software": station.software,
        "language": station.rig.language,
        "positions": len(station.rig.fixture),
        "leads": station.people.leads,
        "badge_prefix": station.rig.scanner.badge_prefix,
        "gap_ms": station.rig.scanner.gap_ms,
    }


def floor_view(shown: Shown, session: str) -> dict[str, Any]:
    """Return what is to be seen now. `session` names this run of the station: versions of another one mean nothing."""
    floor, pace = shown.floor, shown.pace
    return {
        "version": f"{session}-{floor.version}",
        "phase": floor.phase,
        "operator": floor.operator,
        "role": shown.role or "",
        "panel": floor.panel,
        "panel_s": round(floor.panel_s, 3),
        "running_s": None if pace.running_s is None else round(pace.running_s, 3),
        "places": [asdict(place) for place in floor.places],
        "told": asdict(floor.told),
        "held": asdict(floor.held),
        "behind": floor.behind,
        "assumed": floor.assumed,
        "reader": floor.reader,
        "outbox": floor.outbox,
        "parked": floor.parked,
        "panels": _spread(pace.panel),
        "steps": {step.value: _spread(pace.steps[step.value]) for step in Step if step.value in pace.steps},
        "units_last_hour": pace.units_last_hour,
        "last": [_board(board) for board in pace.last],
    }


def unit_view(work: UnitWork, history: tuple[UnitChange, ...]) -> dict[str, Any]:
    """Return how a unit stands, and how it came to that, oldest first."""
    return {**work_view(work), "history": [work_view(change.work) for change in history]}


def work_view(work: UnitWork) -> dict[str, Any]:
    """Return one record of a unit."""
    members = asdict(work)
    del members["lease_until"], members["holder"]
    return {**members, "rig": work.holder.rig, "changed_at": work.changed_at.isoformat(timespec="milliseconds")}


def _spread(times: Spread) -> dict[str, Any]:
    return {"count": times.count, "p50_s": round(times.p50, 4), "p95_s": round(times.p95, 4)}


def _board(board: Board) -> dict[str, Any]:
    return {**asdict(board), "at": board.at.isoformat(timespec="seconds"), "board_s": round(board.board_s, 3)}
