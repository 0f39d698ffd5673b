# SPDX-License-Identifier: Apache-2.0
"""
A shift: two operators work off boards at two rigs at once until every unit is finished, whatever is killed meanwhile.

A board that was not finished is put into a fixture again, of either rig. Some boards are given to both rigs at the
same moment. A unit that was interrupted too often is sent to rework by the lead.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from birthmark.silicon.simulator.armed import Fault
from support.shopfloor.boards import Board, Kind, Link, Supplier
from support.shopfloor.delivery import Delivery
from support.shopfloor.rigs import Floor, Gone, Rig

PASSED = frozenset({"PASS", "RESUMED", "PASS-ALREADY"})
REWORKED = frozenset({"line.unit.interrupted", "line.unit.spent"})
BUS_FAULTS = {
    Fault.NAK_TRANSFERS: 12,
    Fault.BREAK_BLOCKS_FROM_CHIP: 12,
    Fault.BREAK_BLOCKS_TO_CHIP: 12,
    Fault.HANG_AT_COMMAND: 12,
    Fault.CUT_BEFORE_COMMAND: 12,
    Fault.CUT_AFTER_COMMAND: 12,
    Fault.CUT_AFTER_TRANSFERS: 300,
    Fault.DROP_AFTER_TRANSFERS: 300,
}
"""What is armed in a chip before its board is laid down, and the highest count of it (`simulator.armed.Fault`)."""
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Odds:
    """How often what is done to a board that is laid down: of 1."""

    bus_fault: float = 0.1
    bad_mark: float = 0.1
    both_rigs: float = 0.4


@dataclass
class Outcome:
    """How a unit ended; `certificate_sha256` is what its chip holds."""

    board: Board
    verdict: str
    finding: str
    certificate_sha256: str = ""


@dataclass
class Shift:
    """The work of two rigs. Thread-safe."""

    rigs: tuple[Rig, Rig]
    supplier: Supplier
    coming: Delivery
    chance: Random
    odds: Odds = Odds()
    may_begin: Callable[[int], bool] = lambda _: True
    """Asked with the number of panels so far, until it says yes: keeps the work in step with what is killed."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    armed: Counter[str] = field(default_factory=Counter)
    panel_s: list[float] = field(default_factory=list)
    problem: BaseException | None = None

    def __post_init__(self) -> None:
        self._turn = threading.Lock()
        self._waiting: list[Board] = []
        self._lying: Counter[str] = Counter()
        self._shared: dict[str, list[Board]] = {rig.name: [] for rig in self.rigs}
        self.in_work: dict[str, dict[int, Board]] = {rig.name: {} for rig in self.rigs}

    @property
    def over(self) -> bool:
        """Whether every unit is finished and lies nowhere any more, or somebody has failed."""
        with self._turn:
            finished = len(self.outcomes) == self.coming.count and not any(self._lying.values())
        return self.problem is not None or finished

    def begin(self) -> list[threading.Thread]:
        """Let the operators work, each in a thread."""
        threads = [threading.Thread(target=self._work, args=(rig,), name=rig.name) for rig in self.rigs]
        for thread in threads:
            thread.start()
        return threads

    # --- one operator ---

    def _work(self, rig: Rig) -> None:
        try:
            while not self.over:
                self._panel(rig)
        except BaseException as problem:  # noqa: BLE001 reported in the test's own thread
            self.problem = problem

    def _panel(self, rig: Rig) -> None:
        boards = self._next(rig)
        if not boards:
            time.sleep(0.05)
            return
        self.in_work[rig.name] = boards
        verdicts: dict[str, tuple[str, str]] = {}
        try:
            floor = rig.run(boards, self.supplier)
            verdicts = _verdicts(floor)
            self._count("panels stopped" if floor["told"]["finding"] else "panels with verdicts")
            self.panel_s.append(floor["panel_s"])
        except Gone:
            self._count("panels cut short")
        finally:
            self.in_work[rig.name] = {}
        for board in boards.values():
            verdict, finding = verdicts.get(board.unit, ("", ""))
            if finding in REWORKED and board.kind is Kind.GOOD:
                self._rework(rig, board.unit)
            self._back(board, verdict, finding)

    def _rework(self, rig: Rig, unit: str) -> None:
        """Ask the lead; where the rig is dead, or the other one has the unit just now, it comes back anyway."""
        try:
            if unit not in self.outcomes and rig.rework(unit):
                self._count("sent to rework")
        except Gone:
            self._count("panels cut short")

    def _back(self, board: Board, verdict: str, finding: str) -> None:
        """Take a board out of a fixture."""
        with self._turn:
            self._lying[board.unit] -= 1
            final = verdict in PASSED or verdict == "QUARANTINE" or (finding in REWORKED and board.kind is Kind.BROKEN)
            if verdict:
                self.counts[verdict] += 1
            if final:
                self.outcomes[board.unit] = Outcome(board, verdict, finding)
            else:
                # What has passed at the other rig meanwhile is run again too: this operator saw no PASS.
                self.outcomes.pop(board.unit, None)
                if board not in self._waiting:
                    self._waiting.append(board)
            gone = board.unit in self.outcomes and not self._lying[board.unit]
            if gone:
                self.outcomes[board.unit].certificate_sha256 = board.certificate_sha256()
        if gone:
            self.supplier.take_away(board)

    # --- what comes next ---

    def _next(self, rig: Rig) -> dict[int, Board]:
        """Return boards for the places of a rig: what was given to the other one too, what came back, and new ones."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.over and not self.may_begin(self.counts["panels"]) and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._turn:
            boards: dict[int, Board] = {}
            for place in rig.places:
                bad = self.chance.random() < self.odds.bad_mark
                board = None if bad else self._one(rig, place.link, boards)
                if board is not None:
                    boards[place.number] = board
                    self._lying[board.unit] += 1
            self.counts["panels"] += bool(boards)
            self._share(rig, boards)
            alone = [board for board in boards.values() if board.link is Link.DIRECT]
        for board in alone:
            if self.chance.random() < self.odds.bus_fault:
                self._arm(board)
        return boards

    def _one(self, rig: Rig, link: Link, taken: dict[int, Board]) -> Board | None:
        for store in (self._shared[rig.name], self._waiting):
            for board in tuple(store):
                if board.unit in self.outcomes and not self._lying[board.unit]:
                    store.remove(board)
                elif (board.link is Link.SMP) is (link is Link.SMP) and board not in taken.values():
                    store.remove(board)
                    return board
        return self.coming.next(link)

    def _share(self, rig: Rig, boards: dict[int, Board]) -> None:
        """Give some of these to the other rig too, at the same moment."""
        (other,) = [each for each in self.rigs if each is not rig]
        for board in boards.values():
            if board.link is Link.BENCH and self.chance.random() < self.odds.both_rigs:
                self._shared[other.name].append(board)
                self.counts["given to both rigs"] += 1

    def _arm(self, board: Board) -> None:
        fault = self.chance.choice(tuple(BUS_FAULTS))
        self.supplier.arm(board, fault, self.chance.randint(1, BUS_FAULTS[fault]))
        with self._turn:
            self.armed[f"bus: {fault.name.lower().replace('_', ' ')}"] += 1

    def _count(self, what: str) -> None:
        with self._turn:
            self.counts[what] += 1


def _verdicts(floor: Floor) -> dict[str, tuple[str, str]]:
    """Return verdict and finding of each unit that has one."""
    judged = {"pass", "fail", "quarantine"}
    return {each["unit"]: (each["word"], each["finding"]) for each in floor["places"] if each["look"] in judged}
