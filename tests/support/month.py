# SPDX-License-Identifier: Apache-2.0
"""
A month of production in a rig's stores, made by the stores' own methods; and how a real station answers then.

What takes a line a month is written in minutes: many panels share a transaction, and the clock is the month's own.
"""

import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import msgspec

from birthmark.core.attempts import Attempt, KeepUnits
from birthmark.core.delivery import DeliveryDeferred, JournalEntry, Parcel, SignedBirth, Wants
from birthmark.core.line_events import LineEvent
from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line.attempts import counted
from birthmark.line.config import RigConfig, load_rig
from birthmark.line.events import Events
from birthmark.line.journal import Step
from birthmark.line.outbox import Outbox
from birthmark.line.retention import Retention
from birthmark.line.station.pace import spread
from birthmark.line.units import UnitLimits, begun, ended, seen
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.sqlite_file import SQLiteFile
from birthmark.stores.units_sqlite import UnitsSQLite
from support import parcels
from support.births import Births
from support.stations import Station, serving

MONTH = timedelta(days=30)
BOARDS = 8
TOGETHER = 50
"""Panels that share a transaction."""
FAILED_PERMILLE = 30
FINDINGS = ("chip.communication", "chip.absent", "evidence.signature", "ca.8.quota")
OPERATORS = ("ada", "bob", "eve")
OUTAGE = (0.4, 0.45)
"""The part of the month in which the MES is away."""
SEED = 26
LIMITS = UnitLimits()
JWS = Births().of("BM-000001").jws
ASKED = {"page": ("/", 50), "floor": ("/v1/floor", 200), "yields": ("/v1/yields?since=shift&rig=rig-a", 100)}
"""What a station's page asks for; and how often it is asked here."""
LEAD = {"lead_month": ("/v1/yields?since=30d", 20), "surroundings": ("/v1/surroundings", 20)}
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class MonthFigures:
    """
    What a month came to. `answers` has for each kind of ask `cpu_ms`, the server process's own time for one answer, and
    `p50_ms` and `p95_ms`, how long a client on the same machine waits for it: other programs of the machine included.
    """

    units: int
    attempts: int
    events: int
    fill_s: float
    rig_file_mib: float
    rig_file_half_mib: float
    units_file_mib: float
    bytes_per_unit: float
    pruned_growth: float
    """The units' file after more production under a short policy, as a part of what it was before."""
    lost: int
    doubled: int
    start_s: float
    answers: Mapping[str, Mapping[str, float]]
    first_pass: float

    def slowest(self, kind: str) -> float:
        """Return the largest `cpu_ms`, `p50_ms` or `p95_ms` of what a station's page asks for."""
        return max(self.answers[name][kind] for name in ASKED)

    def members(self) -> dict[str, object]:
        """Return the figures for a report, all of them plain."""
        told: dict[str, object] = asdict(self)
        del told["answers"]
        told |= {f"{name} {kind}": value for name, times in self.answers.items() for kind, value in times.items()}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in told.items()}


class Receiver:
    """A destination that notes what it was given, and again; while it is away it takes nothing."""

    def __init__(self) -> None:
        self.away = False
        self.sequences: list[int] = []
        self._keys: set[str] = set()
        self.doubled = 0

    def deliver(self, parcel: Parcel) -> None:
        if self.away:
            raise DeliveryDeferred("away")
        self.doubled += parcel.key in self._keys
        self._keys.add(parcel.key)
        self.sequences.append(parcel.sequence)

    def close(self) -> None:
        """Nothing to close."""


class Production:
    """A rig at work, with the stores that its rig.toml names."""

    def __init__(self, rig: RigConfig, began: datetime, takt: timedelta) -> None:
        self.at, self._takt = began, takt
        self._rig = rig
        self.line = LineSQLite(rig.database, {"ca": Wants.BIRTHS, "mes-file": Wants.EVERYTHING})
        assert rig.units_database is not None
        self.units = UnitsSQLite(rig.units_database, lambda: self.at)
        self.ca, self.mes = Receiver(), Receiver()
        to = {"ca": self.ca, "mes-file": self.mes}
        heard = Events(lambda _: None)
        self._outbox = Outbox(self.line, to, heard, clock=lambda: self.at, stopwatch=time.monotonic, retry_s=0.01)
        self._chance = random.Random(SEED)  # noqa: S311 a course of production, not a secret
        self._panel = 0
        self._again: list[str] = []
        self._told = 0
        self.made = self.attempts = self.born = 0

    def make(self, units: int) -> None:
        """Make so many units more; what fails is tried again in a later panel."""
        goal = self.made + units
        while self.made < goal:
            with self.line._file.transaction(), self.units._file.transaction():
                for _ in range(TOGETHER):
                    if self.made < goal:
                        self._make_panel(goal)
            self._between()

    def finish(self) -> None:
        """Deliver what waits."""
        self.mes.away = False
        self._between()

    def prune(self, keep: KeepUnits) -> None:
        while self.units.prune(keep):
            pass

    def close(self) -> None:
        self.line.close()
        self.units.close()

    def _make_panel(self, goal: int) -> None:
        self._panel += 1
        self.at += self._takt
        again, self._again = self._again[:BOARDS], self._again[BOARDS:]
        fresh = min(BOARDS - len(again), goal - self.made)
        labels = [*again, *(f"BM-{number:06d}" for number in range(self.made + 1, self.made + fresh + 1))]
        self.made += fresh
        entries: list[JournalEntry] = []
        events: list[LineEvent] = []
        for position, unit in enumerate(labels, 1):
            told = self._attempt(unit, position)
            entries += self._entries(told)
            events += self._events(told)
        events.append(parcels.ended(f"panel-{self._panel}"))
        at = self.at.isoformat(timespec="milliseconds")
        self.line.journal(entries, [msgspec.structs.replace(event, at=at) for event in events])

    def _attempt(self, unit: str, position: int) -> Attempt:
        self.attempts += 1
        bad = self._chance.randrange(1000) < FAILED_PERMILLE
        finding = self._chance.choice(FINDINGS) if bad else ""
        verdict = "FAIL" if bad else "PASS"
        steps = list(Step)[:2] if bad else list(Step)
        told = Attempt(
            unit=unit,
            rig=self._rig.rig,
            run=f"{self._panel:016x}",
            position=position,
            operator=OPERATORS[self.at.hour // 8],
            product="controller-x1",
            order="order-2026-11",
            verdict=verdict,
            fixture="fx-1",
            finding=finding,
            step=steps[-1].value,
            board_s=1.5,
            step_ms={step.value: 187.432 for step in steps},
        )
        holder = Holder(told.rig, told.run)
        self.units.change(unit, lambda work, at: begun(work, holder, LIMITS, at))
        self.units.change(unit, lambda work, _: seen(work, holder, f"CHIP{unit}", unit.encode().hex().ljust(64, "0")))
        state = WorkState.DONE if verdict == "PASS" else WorkState.OPEN

        def ending(work: UnitWork, at: datetime) -> tuple[UnitWork, Attempt]:
            work, kept = counted(work, told, at)
            return ended(work, holder, state, finding, LIMITS, at), kept

        self.units.end(unit, ending)
        if bad:
            self._again.append(unit)
        return told

    def _entries(self, told: Attempt) -> Iterator[JournalEntry]:
        at = self.at.isoformat(timespec="milliseconds")
        for step, ms in told.step_ms.items():
            yield JournalEntry(at, told.run, told.position, told.unit, "begin", step)
            yield JournalEntry(at, told.run, told.position, told.unit, "end", step, ms)
        yield JournalEntry(
            at, told.run, told.position, told.unit, "verdict", verdict=told.verdict, finding=told.finding
        )

    def _events(self, told: Attempt) -> Iterator[LineEvent]:
        begun_event = parcels.started(told.unit)
        yield msgspec.structs.replace(begun_event, idempotency_key=f"{told.run}:{told.position}")
        if told.verdict == "PASS":
            self.born += 1
            yield parcels.born(SignedBirth(f"{told.unit}-certificate", told.unit, JWS))

    def _between(self) -> None:
        """Do what a rig does between panels: deliver, note what leads decided, take away what is done with."""
        for destination in ("ca", "mes-file"):
            if not (destination == "mes-file" and self.mes.away):
                with self.line._file.transaction():
                    self._outbox.drain(destination)
        while changes := self.units.history(self._told, 500):
            self._told = changes[-1].number
        self.line.tell_decisions(self._told, ())
        policy = Retention(self._rig.keep_events, self._rig.keep_events_days, self._rig.keep_journal_days)
        with self.line._file.transaction():
            while self.line.prune(policy.at(self.at)):
                pass


def month(config: Path, units: int) -> MonthFigures:
    """
    Fill the stores of a rig with a month, serve its station, and return what it came to.

    `config` is a rig.toml of a lab whose rig has not worked yet; its policy for events and journal is made short, so
    that the month is longer than what is kept.
    """
    _keep_a_week(config)
    rig = load_rig(config)
    began_s = time.monotonic()
    with closing(Production(rig, datetime.now(UTC) - MONTH, MONTH * BOARDS / units / 1.04)) as made:
        half_mib = _make_month(made, units)
        figures = _counts(made, rig, began_s, half_mib)
    return replace(_answered(figures, config), pruned_growth=_goes_on(rig, units))


def _keep_a_week(config: Path) -> None:
    config.write_text(f"keep_events_days = 7.0\nkeep_journal_days = 7.0\n{config.read_text()}")


def _make_month(made: Production, units: int) -> float:
    """Make a month, with an outage of the MES in it; return the size of the rig's file when half of it was over."""
    parts = (OUTAGE[0], OUTAGE[1] - OUTAGE[0], 0.7 - OUTAGE[1], 0.3)
    half_mib = 0.0
    for part, away in zip(parts, (False, True, False, False), strict=True):
        made.mes.away = away
        made.make(round(units * part))
        half_mib = max(half_mib, _size_mib(made.line._file)) if part != parts[-1] else half_mib
    made.make(units - made.made)
    made.finish()
    return half_mib


def _counts(made: Production, rig: RigConfig, began_s: float, half_mib: float) -> MonthFigures:
    assert rig.units_database is not None
    told = max(made.mes.sequences)
    units_mib = _size_mib(made.units._file)
    lost = told - len(set(made.mes.sequences)) + made.born - len(made.ca.sequences) + made.line.waiting()
    return MonthFigures(
        units=made.made,
        attempts=made.attempts,
        events=told,
        fill_s=time.monotonic() - began_s,
        rig_file_mib=_size_mib(made.line._file),
        rig_file_half_mib=half_mib,
        units_file_mib=units_mib,
        bytes_per_unit=units_mib * MIB / made.made,
        pruned_growth=0.0,
        lost=lost,
        doubled=made.mes.doubled + made.ca.doubled,
        start_s=0.0,
        answers={},
        first_pass=0.0,
    )


def _answered(figures: MonthFigures, config: Path) -> MonthFigures:
    """Serve the rig's station and note how long it takes to answer."""
    began_s = time.monotonic()
    with serving(config) as station:
        start_s = time.monotonic() - began_s
        answers = {name: _asked(station, path, times) for name, (path, times) in {**ASKED, **LEAD}.items()}
        with urlopen(f"{station.url}/v1/yields?since=31d") as answer:  # noqa: S310 our own station
            first_pass = float(msgspec.json.decode(answer.read())["yields"]["first_pass"])
        station.end()
    return replace(figures, start_s=start_s, answers=answers, first_pass=first_pass)


def _asked(station: Station, path: str, times: int) -> dict[str, float]:
    before_s = _cpu_s(station.process.pid)
    waits = spread([_wait_s(station.url + path) for _ in range(times)])
    cpu_s = (_cpu_s(station.process.pid) - before_s) / times
    return {"cpu_ms": 1000 * cpu_s, "p50_ms": 1000 * waits.p50, "p95_ms": 1000 * waits.p95}


def _wait_s(url: str) -> float:
    began_s = time.perf_counter()
    with urlopen(url) as answer:  # noqa: S310 as above
        answer.read()
    return time.perf_counter() - began_s


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has had, its own and the kernel's for it (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _goes_on(rig: RigConfig, units: int) -> float:
    """Go on with a short policy, and return what the units' file has grown to then, as a part of what it was."""
    made = Production(rig, datetime.now(UTC), MONTH * BOARDS / units)
    made.made = units
    before_mib = _size_mib(made.units._file)
    for _ in range(5):
        made.prune(KeepUnits(made.at - MONTH / 3, made.at - MONTH / 3))
        made.make(units // 10)
    grown = _size_mib(made.units._file) / before_mib
    made.close()
    return grown


def _size_mib(file: SQLiteFile) -> float:
    ((pages,),), ((size,),) = file.read("pragma page_count"), file.read("pragma page_size")
    return float(pages * size / MIB)
