# SPDX-License-Identifier: Apache-2.0
"""A station in this process: its page and REST interface over a desk whose panels end when a test lets them."""

import json
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line.config import Position, load_rig, people_of
from birthmark.line.lead import UnitOffice
from birthmark.line.outbox_office import OutboxOffice
from birthmark.line.people import People
from birthmark.line.periods import read_shifts
from birthmark.line.station.ca_watch import CAWatch
from birthmark.line.station.desk import Clocks, StationDesk
from birthmark.line.station.lead_desk import LeadDesk
from birthmark.line.station.order_watch import OrderWatch
from birthmark.line.station.overview import Overview
from birthmark.line.station.scan import Scanner
from birthmark.line.units import UnitLimits, begun, ended
from birthmark.line.wiring import OpenStation
from birthmark.line.yield_office import YieldOffice
from birthmark.net.transport import HTTPTransport
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.units_sqlite import UnitsSQLite
from birthmark.testing.lab.files import rig_toml
from birthmark.web.station.app import station_app
from birthmark.web.users import uids
from support.asgi_client import Answer, ask, get
from support.line_bench import RECIPE

MOMENT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
CHIPS = ("apdu:unix=/one", "apdu:unix=/two")
JSON = {"content-type": "application/json"}


class StationBench:
    """A station with two places and a real record of units. `ran` has the panels that were run."""

    def __init__(self, folder: Path, *, language: str = "en") -> None:
        config = folder / "rig.toml"
        config.write_text(f'language = "{language}"\n' + rig_toml("rig-a", "https://127.0.0.1:1", CHIPS))
        config.chmod(0o600)
        rig = load_rig(config)
        self.units = UnitsSQLite(folder / "units.sqlite")
        self.may_end = threading.Event()
        self.ran: list[tuple[Sequence[Position], str]] = []
        people = People(people_of(rig, config), time.monotonic)
        self.desk = StationDesk(CHIPS, Scanner(), people, self._run, Clocks(lambda: MOMENT, time.monotonic))
        leads = LeadDesk(UnitOffice(self.units, "rig-a", lambda: None), people, self.desk)
        yields = YieldOffice(self.units, read_shifts(["00:00"]), lambda: MOMENT)
        self.line = LineSQLite(folder / "rig.sqlite")
        nobody = HTTPTransport(rig.ca_url, ssl.create_default_context(), 1.0)
        ca = CAWatch(nobody, lambda: MOMENT, time.monotonic)
        progress = OrderWatch(nobody, RECIPE.order, time.monotonic)
        overview = Overview(yields, OutboxOffice(self.line, lambda: MOMENT), ca, RECIPE.order, progress)
        station = OpenStation(rig, RECIPE, people, self.desk, leads, "birthmark test", overview)
        self.app: Starlette = station_app(station, uids(()))

    @contextmanager
    def opened(self) -> Iterator["StationBench"]:
        """Run panels as long as the block runs."""
        with self.desk.open():
            yield self
            self.may_end.set()
        self.units.close()
        self.line.close()

    def scan(self, typed: str) -> Answer:
        return self.post("/v1/scan", {"typed": typed})

    def post(self, target: str, body: object, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.app, "POST", target, {**JSON, **named}, json.dumps(body).encode())

    def floor(self) -> dict[str, Any]:
        floor: dict[str, Any] = json.loads(get(self.app, "/v1/floor").body)
        return floor

    def quarantine(self, unit: str) -> None:
        """Let a unit be one that a rig has put into quarantine."""
        holder, limits = Holder("rig-a", "run"), UnitLimits()

        def contradict(work: UnitWork, at: datetime) -> UnitWork:
            return ended(work, holder, WorkState.QUARANTINED, "line.unit.twin", limits, at)

        self.units.change(unit, lambda work, at: begun(work, holder, limits, at))
        self.units.change(unit, contradict)

    def _run(self, positions: Sequence[Position], operator: str) -> None:
        self.ran.append((positions, operator))
        self.desk.heard({"event": "step.begin", "position": 1, "unit": positions[0].unit, "step": "power"})
        assert self.may_end.wait(20)
        for number, position in enumerate(positions, 1):
            word = "SKIP" if position.bad else "PASS"
            verdict = {"event": "verdict", "position": number, "unit": position.unit, "verdict": word}
            self.desk.heard({**verdict, **TOLD_OF_A_BOARD})
        self.desk.heard({"event": "panel.end", "panel_s": 1.0, "outbox": 1, "parked": 0})


TOLD_OF_A_BOARD = {"finding": "", "reason": "", "board_s": 1.0, "chip_s": 0.5, "certificate_sha256": "ab" * 32}


def told(answer: Answer) -> str:
    """Return the finding of a refusal, which has nothing but the three members that all have."""
    body: dict[str, str] = json.loads(answer.body)
    assert body.keys() == {"finding", "message", "hint"}
    return body["finding"]
