# SPDX-License-Identifier: Apache-2.0
"""Labs for tests, and the programs that are run against them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from birthmark.testing.lab.files import LOG_ORIGIN
from birthmark.testing.lab.record import Lab
from birthmark.testing.lab.start import lab_down, lab_up

PROGRAM = (sys.executable, "-m", "birthmark.cli")
PROGRAM_TIMEOUT_S = 60


@contextmanager
def running_lab(
    directory: Path, *, boards: int, chip: str = "none", link: str = "direct", hsm: bool = False
) -> Iterator[Lab]:
    lab = lab_up(directory, boards=boards, chip=chip, link=link, hsm=hsm)
    try:
        yield lab
    finally:
        lab_down(directory)


def birthmark(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a user would and return what it printed and its exit code."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=False
    )


def run_panel(lab: Lab, rig: str = "rig-a", panel: Path | None = None) -> dict[str, dict[str, object]]:
    """Run a rig over the panel and return the verdict of each unit."""
    done = birthmark("line", "run", "--config", lab.rig_configs[rig], "--panel", panel or lab.panel, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return {event["unit"]: event for event in events if event["event"] == "verdict"}


def one_board_panel(lab: Lab, number: int = 0) -> Path:
    """Write and return a panel that holds one board of the lab."""
    board = lab.boards[number]
    panel = lab.path / f"panel-{board.unit}.toml"
    panel.write_text(f'[[position]]\nunit = "{board.unit}"\nchip = "{board.chip}"\n')
    return panel


def births(lab: Lab) -> list[dict[str, object]]:
    """Return the birth records that the MES file holds."""
    path = Path(lab.births)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line["record"] for line in lines if "record" in line]


def certificates(lab: Lab) -> list[dict[str, object]]:
    """Return every certificate that the CA has issued, as its store has it."""
    done = birthmark("ca", "certificates", "--config", lab.ca_config, "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def credential_options(lab: Lab, role: str = "security-officer") -> tuple[str, ...]:
    """Return the options of a person's key."""
    key = ("--certificate", lab.officer_certificates[role], "--key", lab.officer_keys[role])
    return (*key, "--passphrase-file", lab.officer_passphrase_file)


def office_options(lab: Lab, role: str = "security-officer") -> tuple[str, ...]:
    """Return the options of a person at the lab's CA."""
    return ("--url", lab.ca_url, "--trust", lab.trust, "--authority", LOG_ORIGIN, *credential_options(lab, role))
