# SPDX-License-Identifier: Apache-2.0
"""
The model beside a measured run: `birthmark line run --json`, kept in a file.

From the first run the model takes what depends on the machine: the rig's software by step, the CA's answer, and the
size of the certificate. What is measured there is time on the clock, and boards of one panel slow each other down; so
one factor turns it into work, such that the simulated boards need as much time beside their chips as the measured ones
did. Chip and bus stay as published. What is then compared is what was not fitted: the panel, which is as slow as its
last board, the chips' time, and runs with other numbers of boards.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

import msgspec

from birthmark.core.config import read_file
from birthmark.line.errors import MeasurementUnusable
from birthmark.line.journal import Result, Step
from birthmark.line.plan.board import STEPS
from birthmark.line.plan.results import Comparison
from birthmark.line.plan.scenario import Scenario, Software, changed
from birthmark.line.plan.simulation import Floor
from birthmark.line.plan.trace import FloorRun

TOLERANCE: Final = 0.25
"""How far the modelled panel may be from the measured one, as a share of the measured."""
_PANELS: Final = 3
_HALVINGS: Final = 24
_MS: Final = 1e3
_HINT: Final = "keep the output of birthmark line run --json over a panel of fresh boards"


class _Kind(msgspec.Struct, frozen=True):
    event: str


class _Step(msgspec.Struct, frozen=True):
    step: str
    unit: str
    ms: float
    chip_ms: float


class _Verdict(msgspec.Struct, frozen=True):
    unit: str
    verdict: str
    board_s: float
    chip_s: float
    certificate_bytes: int


class _End(msgspec.Struct, frozen=True):
    panel_s: float


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """What was measured, as means over the boards that passed: seconds, and milliseconds beside the chip by step."""

    source: str
    boards: int
    panel_s: float
    board_s: float
    chip_s: float
    certificate_bytes: int
    software_ms: Mapping[Step, float]

    @property
    def software_s(self) -> float:
        """Return the seconds of one board that its chip did not take."""
        return self.board_s - self.chip_s


def read_run(path: Path) -> MeasuredRun:
    """
    Return what a file of events says of one panel, or of several with equally many fresh boards.

    Raises:
        MeasurementUnusable: it is no such file, or a board of it was not fresh or did not pass.
        ConfigError: it cannot be read.

    """
    steps: list[_Step] = []
    verdicts: list[_Verdict] = []
    ends: list[_End] = []
    for number, line in enumerate(read_file(path).splitlines(), 1):
        try:
            match msgspec.json.decode(line, type=_Kind).event:
                case "step":
                    steps.append(msgspec.json.decode(line, type=_Step))
                case "verdict":
                    verdicts.append(msgspec.json.decode(line, type=_Verdict))
                case "panel.end":
                    ends.append(msgspec.json.decode(line, type=_End))
                case _:
                    pass
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MeasurementUnusable(f"{path}, line {number}: {error}", hint=_HINT) from error
    return _measured(str(path), steps, [each for each in verdicts if each.verdict != Result.SKIP], ends)


def _measured(source: str, steps: Sequence[_Step], verdicts: Sequence[_Verdict], ends: Sequence[_End]) -> MeasuredRun:
    if not ends or not verdicts:
        raise MeasurementUnusable(f"{source}: no panel ended in it", hint=_HINT)
    other = next((each for each in verdicts if each.verdict != Result.PASS), None)
    if other is not None:
        raise MeasurementUnusable(f"{source}: {other.unit} has {other.verdict}: no fresh board that passed", hint=_HINT)
    if len(verdicts) % len(ends):
        raise MeasurementUnusable(f"{source}: its panels have different numbers of boards", hint=_HINT)
    beside: defaultdict[str, float] = defaultdict(float)
    for step in steps:
        beside[step.step] += (step.ms - step.chip_ms) / len(verdicts)
    return MeasuredRun(
        source=source,
        boards=len(verdicts) // len(ends),
        panel_s=fmean(end.panel_s for end in ends),
        board_s=fmean(each.board_s for each in verdicts),
        chip_s=fmean(each.chip_s for each in verdicts),
        certificate_bytes=round(fmean(each.certificate_bytes for each in verdicts)),
        software_ms={step: max(beside[step], 0.0) for step in STEPS},
    )


def calibrated(scenario: Scenario, run: MeasuredRun) -> Scenario:
    """Return the scenario with software, CA and certificate as measured."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        factor = (low + high) / 2
        if _beside_chip_s(_modelled(_scaled(scenario, run, factor), run.boards)) < run.software_s:
            low = factor
        else:
            high = factor
    return _scaled(scenario, run, high)


def compare(scenario: Scenario, run: MeasuredRun) -> Comparison:
    """Return the measured run beside a model with as many boards."""
    model = _modelled(scenario, run.boards)
    panel_s = fmean(panel.panel_s for panel in model.panels)
    chip_s = fmean(board.chip_s for panel in model.panels for board in panel.boards)
    return Comparison(
        source=run.source,
        boards=run.boards,
        measured_panel_s=run.panel_s,
        model_panel_s=panel_s,
        panel_ratio=panel_s / run.panel_s,
        measured_chip_s=run.chip_s,
        model_chip_s=chip_s,
        chip_ratio=chip_s / run.chip_s,
    )


def holds(comparison: Comparison) -> bool:
    """Say whether the modelled panel is within the tolerance."""
    return abs(comparison.panel_ratio - 1) <= TOLERANCE


def _scaled(scenario: Scenario, run: MeasuredRun, factor: float) -> Scenario:
    """Return the scenario with this share of the measured times as work."""
    ca = scenario.ca
    enrol_ms = max(run.software_ms[Step.ENROL] - ca.round_trip_ms, 0.0) * factor
    nonce_ms = enrol_ms * ca.nonce_ms / ca.enrol_ms if ca.enrol_ms else ca.nonce_ms
    between_ms = max(run.software_s * _MS - sum(run.software_ms.values()), 0.0)
    software = Software(
        observe=run.software_ms[Step.OBSERVE] * factor,
        generate=run.software_ms[Step.GENERATE] * factor,
        attest=run.software_ms[Step.ATTEST] * factor,
        enrol=0.0,
        import_=run.software_ms[Step.IMPORT] * factor,
        prove=run.software_ms[Step.PROVE] * factor,
        record=run.software_ms[Step.RECORD] * factor,
        between=between_ms * factor,
    )
    return changed(
        scenario,
        (
            ("rig", "software_ms", msgspec.to_builtins(software)),
            ("ca", "enrol_ms", enrol_ms),
            ("ca", "nonce_ms", nonce_ms),
            ("chip", "certificate_bytes", run.certificate_bytes),
        ),
    )


def _modelled(scenario: Scenario, boards: int) -> FloorRun:
    """Return a run of one rig over panels of so many boards, in which nothing fails."""
    alone = changed(
        scenario,
        (
            ("line", "rigs", 1),
            ("line", "positions", boards),
            ("line", "bad_per_panel", 0),
            ("line", "takt_s", 0.0),
            ("faults", "mtbf_h", None),
            ("faults", "board", 0.0),
            ("faults", "communication", 0.0),
        ),
    )
    return Floor(alone, 0).run(_PANELS, 0)


def _beside_chip_s(run: FloorRun) -> float:
    return fmean(board.decided_s - panel.offered_s - board.chip_s for panel in run.panels for board in panel.boards)
