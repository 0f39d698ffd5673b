# SPDX-License-Identifier: Apache-2.0
"""Runs a rig as a process of its own over one panel and gathers its events."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# One event of the rig, as docs/reference/line.md describes them.
Event = dict[str, Any]
STEPS = ("power", "observe", "generate", "attest", "enrol", "import", "prove", "record")
PASSED = frozenset({"PASS", "PASS-ALREADY", "RESUMED"})


@dataclass
class PanelRun:
    """The events of one panel, as they came."""

    events: list[Event] = field(default_factory=list)
    exit_code: int = -1
    stderr: str = ""

    def of(self, kind: str) -> list[Event]:
        """Return the events of one kind."""
        return [event for event in self.events if event["event"] == kind]

    @property
    def verdicts(self) -> list[Event]:
        """The verdicts, one per position that was not skipped."""
        return self.of("verdict")

    @property
    def passed(self) -> int:
        """How many boards have a living, recorded identity."""
        return sum(event["verdict"] in PASSED for event in self.verdicts)

    @property
    def panel_s(self) -> float:
        """Seconds from boards offered to the last verdict; 0 when the panel did not end."""
        ends = self.of("panel.end")
        return float(ends[-1]["panel_s"]) if ends else 0.0


def run_rig(config: Path, panel: Path, watch: Callable[[Event], None]) -> PanelRun:
    """Run `birthmark line run` over the panel; call `watch` with each event while it runs."""
    run = PanelRun()
    command = [sys.executable, "-m", "birthmark.cli", "line", "run", "--config", str(config), "--panel", str(panel)]
    with subprocess.Popen(  # noqa: S603 our own program, with paths that the lab made
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for event in _events(process):
            run.events.append(event)
            watch(event)
        run.stderr = process.stderr.read() if process.stderr else ""
    run.exit_code = process.returncode
    return run


def _events(process: subprocess.Popen[str]) -> Iterator[Event]:
    if process.stdout is not None:
        for line in process.stdout:
            yield json.loads(line)
