# SPDX-License-Identifier: Apache-2.0
"""The line: our software per board, and a panel of eight against its chip and bus alone."""

import tempfile
from pathlib import Path

from floor import P256
from rows import Row, row

from birthmark.silicon.address import open_chip
from birthmark.testing.demo.figures import spread_of
from birthmark.testing.demo.floor import chip_floor_s
from birthmark.testing.lab.record import RIGS, Lab
from birthmark.testing.lab.rig import PanelRun, run_rig
from birthmark.testing.lab.start import lab_down, lab_up

BOARDS = 8
TIMED_CHIP = "optiga-trust-m"
_CERTIFICATE_BYTES = 1_500


def measure(p256: P256) -> list[Row]:
    """Run two panels: one with chips that take no time, one with datasheet timing."""
    untimed, _ = _panel("none")
    timed, floor_s = _panel(TIMED_CHIP)
    note = f"p50 of {BOARDS} boards at once, chips without latency; floor: the board's P-256 operations"
    return [
        row("line.software_ms_per_board", spread_of(untimed, "software_s").p50 * 1e3, "ms", p256.board_s * 1e3, note),
        row(
            "line.panel_over_chip_floor",
            timed.panel_s,
            "s",
            floor_s,
            f"{BOARDS} boards with {TIMED_CHIP} timing; floor: the same chip calls on one board alone",
        ),
    ]


def _panel(chip: str) -> tuple[PanelRun, float]:
    with tempfile.TemporaryDirectory(prefix="birthmark-") as directory:
        lab = lab_up(Path(directory), boards=BOARDS, chip=chip, hsm=False)
        try:
            return _run(lab)
        finally:
            lab_down(Path(directory))


def _run(lab: Lab) -> tuple[PanelRun, float]:
    chip = open_chip(lab.spare.chip)
    try:
        floor_s = chip_floor_s(chip, _CERTIFICATE_BYTES)
    finally:
        chip.close()
    run = run_rig(Path(lab.rig_configs[RIGS[0]]), Path(lab.panel), lambda _: None)
    if run.passed != BOARDS:
        raise RuntimeError(f"{run.passed} of {BOARDS} boards passed: {run.stderr}")
    return run, floor_s
