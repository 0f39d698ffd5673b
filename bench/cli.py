# SPDX-License-Identifier: Apache-2.0
"""The command line: how long `birthmark --help` takes, against a bare interpreter."""

import subprocess
import sys
import time
from statistics import median

from rows import Row, row

RUNS = 9


def measure() -> list[Row]:
    """Time whole processes."""
    floor_s = _seconds("-c", "pass")
    help_s = _seconds("-m", "birthmark.cli", "--help")
    return [row("cli.help_ms", help_s * 1e3, "ms", floor_s * 1e3, "floor: an interpreter that does nothing")]


def _seconds(*arguments: str) -> float:
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)  # noqa: S603 our own program
        times.append(time.perf_counter() - begun)
    return median(times)
