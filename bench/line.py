# SPDX-License-Identifier: Apache-2.0
"""
The line: our software per board, boards per second, and panels against their chip calls alone.

A rig that runs one panel after the other, as a station does: connections are open, caches are warm, events are
delivered meanwhile. The first panel warms up and is not counted. The floor of a panel is what the chips and buses of as
many boards take at once, each driven by exactly the calls that a fresh board needs, with nothing else running.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from floor import P256
from rows import Row, row

from birthmark.line.config import Position, load_rig
from birthmark.line.panel import Verdict
from birthmark.line.ports import Event
from birthmark.line.wiring import opened_line
from birthmark.silicon.address import open_chip
from birthmark.testing.demo.floor import chip_floor_s
from birthmark.testing.demo.report import percentile
from birthmark.testing.lab.record import RIGS, Board, Lab
from birthmark.testing.lab.start import lab_down, lab_up

PLACES = 8
MARKED_BAD = 2
PANELS = 12
FLOOR_PANELS = 5
TIMED_CHIP = "optiga-trust-m"
UNTIMED = "none"
DELIVERY_S = 30.0


def measure(p256: P256) -> list[Row]:
    """Run panels with chips that take no time, and with datasheet timing: full ones, and with two bad marks."""
    return [*_software(p256), *_timed()]


def _software(p256: P256) -> Iterator[Row]:
    with _lab(UNTIMED, PLACES * (PANELS + 1)) as lab:
        run = _panels(lab, [PLACES] * (PANELS + 1))
    note = f"p50 over {PANELS} panels of {PLACES}, chips without latency; floor: the board's P-256 operations"
    yield row("line.software_ms_per_board", median(run.software_s) * 1e3, "ms", p256.board_s * 1e3, note)
    note = f"{PANELS} panels of {PLACES} one after the other on all cores; floor: the P-256 operations on one core"
    yield row("line.boards_per_s", PANELS * PLACES / run.seconds, "1/s", 1 / p256.board_s, note)


def _timed() -> Iterator[Row]:
    good = PLACES - MARKED_BAD
    sizes = [PLACES] * (PANELS + 1) + [good] * PANELS
    with _lab(TIMED_CHIP, sum(sizes) + PLACES * FLOOR_PANELS) as lab:
        run = _panels(lab, sizes)
        floor_s = _chip_floor_s(lab.boards[sum(sizes) :], run.certificate_bytes)
        alone_s = _calls_s(lab.spare.chip, run.certificate_bytes)
    floor = f"floor: the same chip calls on {PLACES} boards at once, nothing else running; on one alone {alone_s:.3f} s"
    full, marked = run.panels_s[:PANELS], run.panels_s[PANELS:]
    note = f"median of {PANELS} panels of {PLACES}, {TIMED_CHIP} timing; {floor}"
    yield row("line.panel_over_chip_floor", median(full), "s", floor_s, note)
    note = f"{PANELS} panels of {PLACES}, {MARKED_BAD} of them marked bad, {TIMED_CHIP} timing; {floor}"
    yield row("line.panel_p99_s", percentile(marked, 99), "s", floor_s, note)


@dataclass(slots=True)
class _Run:
    """What a rig did after its first panel. `seconds` are of the whole run, the pauses between panels included."""

    panels_s: list[float] = field(default_factory=list)
    software_s: list[float] = field(default_factory=list)
    certificate_bytes: int = 0
    seconds: float = 0.0


@contextmanager
def _lab(chip: str, boards: int) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="birthmark-") as directory:
        lab = lab_up(Path(directory), boards=boards, chip=chip, hsm=False)
        try:
            yield lab
        finally:
            lab_down(Path(directory))


def _panels(lab: Lab, sizes: Sequence[int]) -> _Run:
    """Run panels with so many boards each, the other places marked bad; demand that every board passes."""
    run, boards, software = _Run(), iter(lab.boards), dict[str, float]()

    def hear(event: Event) -> None:
        if event["event"] == "verdict":
            software[str(event["unit"])] = float(str(event["software_s"]))

    with opened_line(load_rig(Path(lab.rig_configs[RIGS[0]])), hear) as line, line.on_duty():
        begun = 0.0
        for number, size in enumerate(sizes):
            verdicts, panel_s = line.run(_positions([next(boards) for _ in range(size)]))
            _demand_passed(verdicts, size)
            if number == 0:
                software.clear()
                begun = time.perf_counter()
            else:
                run.panels_s.append(panel_s)
        run.seconds = time.perf_counter() - begun
        run.certificate_bytes = max(verdict.certificate_bytes for verdict in verdicts)
        line.parts.outbox.finish(DELIVERY_S)
    run.software_s += software.values()
    return run


def _positions(boards: Sequence[Board]) -> list[Position]:
    worked = [Position(unit=board.unit, chip=board.chip) for board in boards]
    return [*worked, *(Position(bad=True) for _ in range(PLACES - len(boards)))]


def _demand_passed(verdicts: Sequence[Verdict], size: int) -> None:
    failed = [verdict for verdict in verdicts if verdict.failed]
    if failed or sum(verdict.passed for verdict in verdicts) != size:
        raise RuntimeError(f"boards did not pass: {failed}")


def _chip_floor_s(boards: Sequence[Board], certificate_bytes: int) -> float:
    """Return the median seconds that panels of these boards take with nothing but their chip calls."""
    panels = [boards[first : first + PLACES] for first in range(0, len(boards), PLACES)]
    with ThreadPoolExecutor(PLACES) as places:
        return median(_longest_s(places, panel, certificate_bytes) for panel in panels)


def _longest_s(places: Executor, panel: Sequence[Board], certificate_bytes: int) -> float:
    return max(places.map(lambda board: _calls_s(board.chip, certificate_bytes), panel))


def _calls_s(address: str, certificate_bytes: int) -> float:
    chip = open_chip(address)
    try:
        return chip_floor_s(chip, certificate_bytes)
    finally:
        chip.close()
