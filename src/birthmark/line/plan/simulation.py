# SPDX-License-Identifier: Apache-2.0
"""
The factory floor, board by board: a discrete-event simulation on SimPy.

Panels come at the takt into a buffer; when it is full, the line before it stands. Rigs take them from there. On a rig
the boards of a panel run side by side and share its processor, and its bus when it has but one; all rigs share the
operators and the CA's workers. A rig that fails leaves its panel where it is: after `takeover_s`, when the leases
have ended, whoever is alive takes it first; its boards are looked at anew and go on with the step that broke off.
"""

from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeAlias

import simpy

from birthmark.line.journal import Step
from birthmark.line.plan.board import ChipCall, StepWork, Where, board_way, chip_model
from birthmark.line.plan.bounds import HOUR_S, Resource
from birthmark.line.plan.chance import Chance, board_chance
from birthmark.line.plan.scenario import Nonces, Scenario, Sharing
from birthmark.line.plan.trace import BoardTrace, FloorRun, PanelTrace

Flow: TypeAlias = Generator[simpy.Event, Any, None]
_MS: Final = 1e-3
_TAKEN_OVER, _FRESH = range(2)


@dataclass(slots=True)
class _Board:
    """One board on its way."""

    chance: Chance
    todo: list[StepWork]
    fails_at: Step | None
    spent: defaultdict[tuple[Step, Where], float] = field(default_factory=lambda: defaultdict(float))
    faults: int = 0
    passed: bool = True
    decided_s: float = 0.0
    nonce: simpy.Process | None = None


@dataclass(slots=True, order=True)
class _Panel:
    """One panel on its way; panels that were taken over are served first, in the order in which they came."""

    priority: int
    number: int
    arrived_s: float = field(compare=False)
    boards: list[_Board] = field(compare=False)
    taken_s: float = field(default=0.0, compare=False)
    offered_s: float = field(default=0.0, compare=False)
    takeovers: int = field(default=0, compare=False)


class _Rig:
    """One rig: what its boards share. `repaired` is pending while it is down."""

    def __init__(self, floor: simpy.Environment, scenario: Scenario) -> None:
        self.head = simpy.Resource(floor)
        self.processor = simpy.Resource(floor, scenario.rig.cores)
        self.bus = simpy.Resource(floor)
        self.nests: list[simpy.Process] = []
        self.repaired = floor.event().succeed()


class _Level:
    """How many of something there are over time; `with` counts one more for as long as it lasts."""

    def __init__(self, floor: simpy.Environment) -> None:
        self._floor = floor
        self._count, self._since_s, self._area = 0, 0.0, 0.0

    def change(self, by: int) -> None:
        """Count so many more from now on."""
        self._area, self._since_s = self.area(), self._floor.now
        self._count += by

    def area(self) -> float:
        """Return the number summed over time, in seconds."""
        return self._area + self._count * (self._floor.now - self._since_s)

    def __enter__(self) -> None:
        self.change(+1)

    def __exit__(self, *_: object) -> None:
        self.change(-1)


class Floor:
    """One run of the floor. Used once."""

    def __init__(self, scenario: Scenario, replication: int) -> None:
        self._scenario = scenario
        self._replication = replication
        self._way = board_way(scenario)
        self._fault_s = chip_model(scenario).block_waiting_ms * _MS
        self._floor = floor = simpy.Environment()
        self._slots = simpy.Container(floor, scenario.line.buffer_panels, init=scenario.line.buffer_panels)
        self._queue = simpy.PriorityStore(floor)
        self._operators = simpy.Resource(floor, scenario.line.operators)
        self._workers = simpy.Resource(floor, scenario.ca.workers)
        self._busy = {resource: _Level(floor) for resource in Resource}
        self._present = _Level(floor)
        self._left: list[PanelTrace] = []
        self._wanted, self._enough = 0, floor.event()
        self._rigs = [_Rig(floor, scenario) for _ in range(scenario.line.rigs)]

    def run(self, panels: int, warm_up: int) -> FloorRun:
        """Return what the panels behind the warm-up met."""
        self._start()
        self._run_until_left(warm_up)
        began_s, before, area = self._floor.now, self._busy_seconds(), self._present.area()
        self._run_until_left(warm_up + panels)
        window_s, after = self._floor.now - began_s, self._busy_seconds()
        return FloorRun(
            panels=tuple(self._left[warm_up : warm_up + panels]),
            window_s=window_s,
            utilisation={
                name: (after[name] - before[name]) / window_s / servers for name, servers in self._servers().items()
            },
            in_system=(self._present.area() - area) / window_s,
        )

    def _run_until_left(self, panels: int) -> None:
        self._wanted = panels
        if len(self._left) < panels:
            self._enough = self._floor.event()
            self._floor.run(self._enough)

    def _busy_seconds(self) -> dict[Resource, float]:
        return {resource: level.area() for resource, level in self._busy.items()}

    def _start(self) -> None:
        self._floor.process(self._arrivals())
        for number, rig in enumerate(self._rigs):
            rig.nests = [self._floor.process(self._nest(rig)) for _ in range(self._scenario.rig.nests)]
            if self._scenario.faults.mtbf_h is not None:
                self._floor.process(self._life(rig, number, self._scenario.faults.mtbf_h * HOUR_S))

    def _servers(self) -> dict[Resource, int]:
        line, rig = self._scenario.line, self._scenario.rig
        servers = {
            Resource.RIG: line.rigs,
            Resource.OPERATOR: line.operators,
            Resource.SOFTWARE: line.rigs * rig.cores,
            Resource.CA: self._scenario.ca.workers,
        }
        if self._scenario.chip.bus is not Sharing.NONE:
            servers[Resource.BUS] = line.rigs
        return servers

    # Panels

    def _arrivals(self) -> Flow:
        for number in count():
            yield self._slots.get(1)
            self._queue.put(_Panel(_FRESH, number, self._floor.now, self._boards(number)))
            self._present.change(+1)
            if self._scenario.line.takt_s:
                yield self._floor.timeout(self._scenario.line.takt_s)

    def _boards(self, panel: int) -> list[_Board]:
        boards = []
        for position in range(self._scenario.boards):
            chance = board_chance(self._scenario, self._replication, panel, position)
            fails = chance.strikes(self._scenario.faults.board)
            fails_at = self._way[chance.pick(len(self._way))].step
            boards.append(_Board(chance, list(self._way), fails_at if fails else None))
        return boards

    def _nest(self, rig: _Rig) -> Flow:
        while True:
            try:
                panel = yield from self._next_panel()
            except simpy.Interrupt:
                yield rig.repaired
                continue
            try:
                yield from self._serve(rig, panel)
            except simpy.Interrupt:
                self._floor.process(self._hand_back(panel))
                yield rig.repaired

    def _next_panel(self) -> Generator[simpy.Event, Any, _Panel]:
        wish = self._queue.get()
        try:
            panel: _Panel = yield wish
        except simpy.Interrupt:
            if wish.triggered:
                self._queue.put(wish.value)  # given in the very moment in which the rig died
            else:
                wish.cancel()
            raise
        if panel.priority == _FRESH:
            self._slots.put(1)
        return panel

    def _serve(self, rig: _Rig, panel: _Panel) -> Flow:
        scenario = self._scenario
        panel.taken_s = panel.taken_s or self._floor.now
        if scenario.ca.nonces is Nonces.AHEAD:
            for board in panel.boards:
                board.nonce = self._floor.process(self._fetch_nonce(board))
        yield from self._handle(scenario.line.load_s)
        with rig.head.request() as turn:
            yield turn
            with self._busy[Resource.RIG]:
                yield self._floor.timeout(scenario.rig.power_s)
                panel.offered_s = self._floor.now
                yield from self._work(rig, panel)
        decided_s = self._floor.now
        yield from self._handle(scenario.line.unload_s)
        self._leave(panel, decided_s)

    def _work(self, rig: _Rig, panel: _Panel) -> Flow:
        """Let the boards run side by side; when the rig dies, they stop where they are."""
        boards = [self._floor.process(self._board(rig, board)) for board in panel.boards]
        try:
            yield self._floor.all_of(boards)
        except simpy.Interrupt:
            for running in boards:
                if running.is_alive:
                    running.interrupt()
            raise

    def _leave(self, panel: _Panel, decided_s: float) -> None:
        boards = tuple(BoardTrace(b.decided_s, b.passed, b.faults, dict(b.spent)) for b in panel.boards)
        moments = (panel.arrived_s, panel.taken_s, panel.offered_s, decided_s, self._floor.now)
        self._left.append(PanelTrace(*moments, takeovers=panel.takeovers, boards=boards))
        self._present.change(-1)
        if len(self._left) == self._wanted:
            self._enough.succeed()

    def _handle(self, seconds: float) -> Flow:
        yield from self._hold(self._operators, Resource.OPERATOR, seconds)

    def _hold(self, servers: simpy.Resource, resource: Resource, seconds: float) -> Generator[simpy.Event, Any, float]:
        """Keep one of the servers for so long; return how long it had to be waited for."""
        if not seconds:
            return 0.0
        asked_s = self._floor.now
        with servers.request() as turn:
            yield turn
            waited_s = self._floor.now - asked_s
            with self._busy[resource]:
                yield self._floor.timeout(seconds)
        return waited_s

    def _hand_back(self, panel: _Panel) -> Flow:
        yield self._floor.timeout(self._scenario.faults.takeover_s)
        panel.priority = _TAKEN_OVER
        panel.takeovers += 1
        for board in panel.boards:
            board.nonce = None
            if board.todo and board.todo[0].step is not Step.OBSERVE:
                board.todo.insert(0, self._way[0])
        self._queue.put(panel)

    def _life(self, rig: _Rig, number: int, mtbf_s: float) -> Flow:
        chance = Chance(self._scenario.run.seed, self._replication, "rig", number)
        while True:
            yield self._floor.timeout(chance.life(mtbf_s))
            rig.repaired = self._floor.event()
            for nest in rig.nests:
                nest.interrupt()
            yield self._floor.timeout(chance.life(self._scenario.faults.mttr_h * HOUR_S))
            rig.repaired.succeed()

    # Boards

    def _board(self, rig: _Rig, board: _Board) -> Flow:
        try:
            while board.todo:
                yield from self._step(rig, board, board.todo[0])
        except simpy.Interrupt:
            return
        board.decided_s = self._floor.now

    def _step(self, rig: _Rig, board: _Board, work: StepWork) -> Flow:
        if work.step is Step.GENERATE and board.nonce is None and self._scenario.ca.nonces is Nonces.OVERLAPPED:
            board.nonce = self._floor.process(self._fetch_nonce(board))
        if work.needs_nonce:
            yield from self._await_nonce(board, work.step)
        yield from self._compute(rig, board, work)
        for call in work.calls:
            yield from self._talk(rig, board, work.step, call)
        if work.calls and board.chance.strikes(self._scenario.faults.communication):
            yield from self._fault(board, work.step)
            return
        if work.ca_s is not None:
            yield from self._ask(board, work.step, work.ca_s)
        board.todo.pop(0)
        if work.step is board.fails_at:
            self._fail(board)

    def _fault(self, board: _Board, step: Step) -> Flow:
        """Notice that the chip keeps silent; then look at it anew and do the step again, as often as is allowed."""
        board.faults += 1
        yield self._floor.timeout(self._fault_s)
        board.spent[step, Where.WAITING] += self._fault_s
        if board.faults > self._scenario.faults.retries:
            self._fail(board)
        elif step is not Step.OBSERVE:
            board.todo.insert(0, self._way[0])

    @staticmethod
    def _fail(board: _Board) -> None:
        board.passed = False
        board.todo.clear()

    def _compute(self, rig: _Rig, board: _Board, work: StepWork) -> Flow:
        seconds = board.chance.time(work.software_s, self._scenario.rig.spread)
        waited_s = yield from self._hold(rig.processor, Resource.SOFTWARE, seconds)
        board.spent[work.step, Where.WAITING] += waited_s
        board.spent[work.step, Where.RIG] += seconds

    def _talk(self, rig: _Rig, board: _Board, step: Step, call: ChipCall) -> Flow:
        busy_s = board.chance.time(call.busy_s, self._scenario.chip.spread)
        match self._scenario.chip.bus:
            case Sharing.NONE:
                yield self._floor.timeout(call.out_s + busy_s + call.back_s)
            case Sharing.COMMAND:
                yield from self._on_bus(rig, board, step, call.out_s + busy_s + call.back_s)
            case Sharing.TRANSFER:
                yield from self._on_bus(rig, board, step, call.out_s)
                yield self._floor.timeout(busy_s)
                yield from self._on_bus(rig, board, step, call.back_s)
        board.spent[step, Where.CHIP] += busy_s
        board.spent[step, Where.BUS] += call.out_s + call.back_s

    def _on_bus(self, rig: _Rig, board: _Board, step: Step, seconds: float) -> Flow:
        board.spent[step, Where.WAITING] += yield from self._hold(rig.bus, Resource.BUS, seconds)

    def _await_nonce(self, board: _Board, step: Step) -> Flow:
        if board.nonce is None:
            board.nonce = self._floor.process(self._fetch_nonce(board))
        asked_s = self._floor.now
        yield board.nonce
        board.nonce = None
        board.spent[step, Where.WAITING] += self._floor.now - asked_s

    def _fetch_nonce(self, board: _Board) -> Flow:
        yield from self._ask(board, None, self._scenario.ca.nonce_ms * _MS)

    def _ask(self, board: _Board, step: Step | None, service_s: float) -> Flow:
        """Go to the CA, wait for a worker, and come back. `step` is None for what the board does not wait for."""
        ca = self._scenario.ca
        seconds = board.chance.time(service_s, ca.spread)
        one_way_s = ca.round_trip_ms * _MS / 2
        yield self._floor.timeout(one_way_s)
        waited_s = yield from self._hold(self._workers, Resource.CA, seconds)
        yield self._floor.timeout(one_way_s)
        if step is not None:
            board.spent[step, Where.WAITING] += waited_s
            board.spent[step, Where.CA] += seconds
            board.spent[step, Where.NETWORK] += 2 * one_way_s
