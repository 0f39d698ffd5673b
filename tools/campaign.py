#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs the long series of tests and writes a dated report with their figures to docs/reports.

Run it with the environment's Python: .venv/bin/python tools/campaign.py. With --figures FOLDER no test is run: the
report is made of what an earlier run kept there. --check says whether every report is what its figures make.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from campaign_report import MACHINE, SERIES, draw, page

ROOT = Path(__file__).parent.parent
REPORTS = ROOT / "docs" / "reports"
LIST = "## Reports\n\n"
CHOSEN = "killed or two_workers or fault_campaign or eight_boards or month"
PROGRAMS = {
    "PostgreSQL": ("sh", "-c", "/usr/lib/postgresql/*/bin/postgres --version"),
    "SoftHSM": ("dpkg-query", "--show", "--showformat=${Version}", "softhsm2"),
}
_VARIABLE, _SEED = "BIRTHMARK_CAMPAIGN", "BIRTHMARK_CAMPAIGN_SEED"
_GIB = 1 << 30
Report = dict[str, Any]


def main() -> int:
    """Run, and write the report; return the exit code."""
    options = _parse()
    if options.check:
        return _check()
    if options.figures is not None:
        print(write(_gathered(options.figures)))  # noqa: T201 where the report is
        return 0
    with tempfile.TemporaryDirectory(prefix="birthmark-campaign-") as folder:
        code = run(Path(folder), options.seed)
        if code == 0:
            print(write(_gathered(Path(folder))))  # noqa: T201 as above
        return code


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the long series of tests and write their report.")
    parser.add_argument("--seed", type=int, help="another course of chance")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="make the report of what was kept there")
    parser.add_argument("--check", action="store_true", help="whether every report is what its figures make")
    return parser.parse_args()


def run(folder: Path, seed: int | None) -> int:
    """Run the long series; what they measured is in the folder afterwards. Return pytest's exit code."""
    (folder / f"{MACHINE}.json").write_text(json.dumps({"load_before": os.getloadavg()[0]}))
    environment = {**os.environ, _VARIABLE: str(folder), **({} if seed is None else {_SEED: str(seed)})}
    command = [sys.executable, "-m", "pytest", "-n0", "tests/acceptance", "-k", CHOSEN]
    done = subprocess.run(  # noqa: S603 our own tests
        [*command, f"--junitxml={folder}/junit.xml"], cwd=ROOT, env=environment, check=False
    )
    return done.returncode


def write(report: Report) -> Path:
    """Write page, figures and data of a report, and its line in the list; return the page's path."""
    stem = _free_stem(report[MACHINE]["date"])
    draw(report, REPORTS, stem)
    (REPORTS / f"{stem}.json").write_text(json.dumps(report, indent=1) + "\n")
    path = REPORTS / f"{stem}.md"
    path.write_text(page(report, stem))
    readme = REPORTS / "README.md"
    before, _, known = readme.read_text().partition(LIST)
    lines = [f"- [{stem}]({path.name})", *(line for line in known.splitlines() if line.startswith("- "))]
    readme.write_text(before + LIST + "\n".join(lines) + "\n")
    return path


def _free_stem(date: str) -> str:
    stem, number = f"{date}-campaign", 1
    while (REPORTS / f"{stem}.md").exists():
        number += 1
        stem = f"{date}-campaign-{number}"
    return stem


def _gathered(folder: Path) -> Report:
    report: Report = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    report[MACHINE] = _machine() | report.get(MACHINE, {})
    junit = folder / "junit.xml"
    if junit.exists():
        report[SERIES] = _series(junit)
    return report


def _machine() -> Report:
    load = os.getloadavg()[0]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB,
        "system": f"{platform.system()} {platform.machine()}",
        "commit": f"birthmark {version('birthmark')}, {_said('git', '-C', str(ROOT), 'rev-parse', '--short', 'HEAD')}",
        "versions": {"Python": platform.python_version(), **{name: _said(*asked) for name, asked in PROGRAMS.items()}},
        "load_before": load,
        "load_after": load,
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 our own commands
    return done.stdout.strip() or "unknown"


def _series(junit: Path) -> list[Report]:
    cases = ET.parse(junit).iter("testcase")  # noqa: S314 our own pytest wrote it
    return [
        {
            "name": each.get("name", "").replace("_", " ").removeprefix("test "),
            "seconds": float(each.get("time", "0")),
            "result": "failed" if list(each) else "held",
        }
        for each in cases
    ]


def _check() -> int:
    wrong = [
        path for path in REPORTS.glob("*.json") if path.with_suffix(".md").read_text() != page(_read(path), path.stem)
    ]
    for path in wrong:
        sys.stderr.write(f"{path.with_suffix('.md')} is not what {path.name} makes\n")
    return 1 if wrong else 0


def _read(path: Path) -> Report:
    report: Report = json.loads(path.read_text())
    return report


if __name__ == "__main__":
    sys.exit(main())
