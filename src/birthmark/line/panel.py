# SPDX-License-Identifier: Apache-2.0
"""One panel: its positions side by side, each in a thread of its own, and a verdict for every one of them."""

import logging
from collections.abc import Sequence as Several
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from birthmark.core.attempts import Attempt
from birthmark.core.errors import BirthmarkError
from birthmark.core.ids import fingerprint
from birthmark.core.line_events import Outcome, Place
from birthmark.line.chip_time import TimedChip
from birthmark.line.config import Position
from birthmark.line.errors import AuthorityRefused, Contradiction, JournalUnwritable, UnitStopped
from birthmark.line.fixture.sharing import Turn
from birthmark.line.interlock import Clearance, Refusal
from birthmark.line.journal import BoardJournal, Result, Step, untouched
from birthmark.line.outcomes import state_after
from birthmark.line.ports import OpenChip
from birthmark.line.sequence import Sequence, Station
from birthmark.line.telling import Told

_log = logging.getLogger(__name__)
_QUARANTINE_FINDINGS = ("evidence.", "ca.3.", "ca.7.", "line.unit.chip", "line.unit.twin", "line.unit.quarantined")
"""What CA or rigs say when this chip is not what it should be, or belongs to another unit."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one position ended. Durations are in seconds; `software_s` is what the chip did not take."""

    result: Result
    finding: str = ""
    reason: str = ""
    board_s: float = 0.0
    chip_s: float = 0.0
    certificate_sha256: str = ""
    certificate_bytes: int = 0

    @property
    def failed(self) -> bool:
        """Whether the board was worked on and may not go on."""
        return self.result in {Result.FAIL, Result.QUARANTINE}

    @property
    def passed(self) -> bool:
        """Whether the board may go on: it has its identity and a birth record."""
        return self.result in {Result.PASS, Result.PASS_ALREADY, Result.RESUMED}


@dataclass(frozen=True, slots=True)
class _Board:
    """One position that is worked on."""

    number: int
    position: Position
    journal: BoardJournal
    turn: Turn


class Panel:
    """Runs the positions of one panel. Used once."""

    def __init__(self, station: Station, open_chip: OpenChip, boards: Executor) -> None:
        self._station = station
        self._open_chip = open_chip
        self._boards = boards

    def run(self, positions: Several[Position]) -> tuple[tuple[Verdict, ...], float]:
        """
        Return one verdict per position, and the seconds from the boards being offered to the last verdict.

        Raises:
            JournalUnwritable: no board was touched.
            HoldEnded: the factory did not say for too long whether it lets the boards be worked on; none was touched.

        """
        desk = self._station.desk
        numbered = list(enumerate(positions, 1))
        places = [Place(position=number, unit=position.unit, bad=position.bad) for number, position in numbered]
        desk.keep(desk.teller.panel_begun(places))
        desk.events.emit(event="panel.start", positions=len(positions), mes_hold=desk.teller.mes_hold)
        undone = self._start(places)
        boards = [
            _Board(
                number,
                position,
                BoardJournal(desk, number, position.unit),
                self._station.shared.turn(number, position.chip),
            )
            for number, position in numbered
            if number not in undone
        ]
        verdicts, panel_s = self._run(boards)
        whole = tuple((undone | verdicts)[number] for number, _ in numbered)
        self._tell_end(places, whole, panel_s)
        return whole, panel_s

    def _start(self, places: Several[Place]) -> dict[int, Verdict]:
        """Start the work, once the factory lets it; return and announce the verdicts of what is not worked on."""
        desk = self._station.desk
        clearance = self._cleared(places)
        undone = {
            refusal.position: Verdict(Result.FAIL, refusal.finding, _reason(refusal)) for refusal in clearance.refusals
        } | {place.position: Verdict(Result.SKIP) for place in places if place.bad}
        units = {place.position: place.unit for place in places}
        kept = [
            untouched(desk, number, units[number], Told(verdict.result.value, verdict.finding, verdict.reason))
            for number, verdict in sorted(undone.items())
        ]
        worked = len(undone) < len(places)
        started = (desk.teller.work_started(places, clearance.assumed, desk.standing()),) if worked else ()
        desk.keep(*started, *(event for _, event in kept), entries=tuple(entry for entry, _ in kept))
        for number, verdict in undone.items():
            self._announce(number, units[number], verdict)
        return undone

    def _cleared(self, places: Several[Place]) -> Clearance:
        """Return the factory's clearance; the line holds until there is one. Raises HoldEnded, LineStopped."""
        clearance = self._station.holds.call("", lambda: self._station.interlock.clear(places))
        if clearance.assumed:
            _log.warning("nobody cleared this panel, and it is worked on: %s", clearance.assumed)
            self._station.desk.events.emit(event="interlock.assumed", what=clearance.assumed)
        return clearance

    def _tell_end(self, places: Several[Place], verdicts: Several[Verdict], panel_s: float) -> None:
        desk = self._station.desk
        passed = sum(verdict.passed for verdict in verdicts)
        failed = sum(verdict.failed for verdict in verdicts)
        counts = (passed, failed, len(verdicts) - passed - failed)
        outcomes = [
            Outcome(position=place.position, unit=place.unit, verdict=verdict.result.value)
            for place, verdict in zip(places, verdicts, strict=True)
        ]
        try:
            desk.keep(*desk.teller.panel_ended(outcomes, counts, panel_s, desk.standing()))
        except JournalUnwritable as error:
            _log.error("the panel's end is not in the outbox: %s", error)

    def _run(self, boards: list[_Board]) -> tuple[dict[int, Verdict], float]:
        try:
            powered = list(self._boards.map(self._power, boards))
            began = self._station.desk.stopwatch()
            with self._station.leases.renewing():
                verdicts = list(self._boards.map(self._work, boards, powered))
        except BaseException:
            # Threads cannot be killed, and must not be in the middle of a step: they end before their next one.
            self._station.holds.stop()
            raise
        numbers = (board.number for board in boards)
        return dict(zip(numbers, verdicts, strict=True)), self._station.desk.stopwatch() - began

    def _power(self, board: _Board) -> TimedChip | Verdict:
        """Return the board's chip, or the verdict when none answers."""
        try:
            power = self._station.power.place(board.number)
            with board.journal.step(Step.POWER):
                power.on()
                return TimedChip(
                    lambda: self._open_chip(board.position.chip), self._station.desk.stopwatch, power, board.turn
                )
        except Exception as error:  # noqa: BLE001 a verdict for each board, whatever happened to it
            return _failed(error)

    def _work(self, board: _Board, powered: TimedChip | Verdict) -> Verdict:
        """Return and announce the board's verdict; never raise, so that no board takes its neighbours along."""
        began = self._station.desk.stopwatch()
        verdict = powered if isinstance(powered, Verdict) else self._identified(board, powered)
        if verdict.finding:
            self._journal_failure(board, verdict)
        verdict = replace(verdict, board_s=self._station.desk.stopwatch() - began)
        # After the journal: what is told here about the unit is on disk already.
        self._station.leases.end(self._attempt(board, verdict), state_after(verdict.result, verdict.finding))
        verdict = replace(verdict, board_s=self._station.desk.stopwatch() - began)
        if isinstance(powered, TimedChip):
            verdict = replace(verdict, chip_s=powered.seconds)
            _close(powered)
        # Before the verdict is shown: a board is taken out of the fixture then.
        self._station.power.place(board.number).off()
        self._announce(board.number, board.position.unit, verdict)
        return verdict

    def _attempt(self, board: _Board, verdict: Verdict) -> Attempt:
        rig = self._station.rig
        return Attempt(
            unit=board.position.unit,
            rig=rig.name,
            run=self._station.desk.run,
            position=board.number,
            operator=rig.operator,
            product=rig.product,
            order=rig.order,
            verdict=verdict.result.value,
            site=rig.where.site,
            line=rig.where.line,
            station=rig.where.station,
            fixture=rig.where.fixture,
            finding=verdict.finding,
            step=board.journal.begun,
            board_s=verdict.board_s,
            step_ms=dict(board.journal.step_ms),
        )

    def _identified(self, board: _Board, chip: TimedChip) -> Verdict:
        unit = board.position.unit
        try:
            self._station.holds.call(unit, lambda: self._station.leases.take(unit))
            done = Sequence(self._station, board.journal, chip, position=board.number, unit=unit).run()
        except Exception as error:  # noqa: BLE001 as in _power
            return _failed(error)
        return Verdict(done.result, certificate_sha256=fingerprint(done.der), certificate_bytes=len(done.der))

    def _journal_failure(self, board: _Board, verdict: Verdict) -> None:
        try:
            board.journal.verdict(Told(verdict.result.value, verdict.finding, verdict.reason))
        except JournalUnwritable as error:
            _log.error("%s: %s is not in the journal: %s", board.position.unit, verdict.result, error)

    def _announce(self, number: int, unit: str, verdict: Verdict) -> None:
        self._station.desk.events.emit(
            event="verdict",
            position=number,
            unit=unit,
            verdict=verdict.result.value,
            finding=verdict.finding,
            reason=verdict.reason,
            board_s=round(verdict.board_s, 6),
            chip_s=round(verdict.chip_s, 6),
            software_s=round(verdict.board_s - verdict.chip_s, 6),
            certificate_sha256=verdict.certificate_sha256,
            certificate_bytes=verdict.certificate_bytes,
        )


def _failed(error: Exception) -> Verdict:
    if not isinstance(error, BirthmarkError):
        _log.error("an error that nobody foresaw", exc_info=error)
        return Verdict(Result.FAIL, "internal", f"{type(error).__name__}: see the log")
    refused = isinstance(error, AuthorityRefused | UnitStopped) and error.finding.startswith(_QUARANTINE_FINDINGS)
    result = Result.QUARANTINE if refused or isinstance(error, Contradiction) else Result.FAIL
    return Verdict(result, error.finding, str(error))


def _reason(refusal: Refusal) -> str:
    return f"{refusal.reason} (code {refusal.code})" if refusal.code else refusal.reason


def _close(chip: TimedChip) -> None:
    try:
        chip.close()
    except BirthmarkError as error:
        _log.warning("a chip's link did not close: %s", error)
