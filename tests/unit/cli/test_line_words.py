# SPDX-License-Identifier: Apache-2.0
"""What commands of the line say to people whose files, names or hands slipped."""

import json
import subprocess
from pathlib import Path

import pytest

from birthmark.line.people import read_pin_hash
from birthmark.line.reconcile.wiring import reconcile_line
from birthmark.stores.line_sqlite import LineSQLite
from support.labs import PROGRAM, birthmark
from support.rig_files import RIG


def pin(given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, "line", "pin"], input=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("given", ["246810", "246810\n", "246810\nanother line\n"])
def test_a_pin_that_a_program_hands_over_is_hashed_without_a_word(given: str) -> None:
    done = pin(given)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_pin_hash(done.stdout.strip()).fits("246810")


def test_a_pin_that_is_none_is_one_line() -> None:
    done = pin("")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("birthmark: line.lead.pin-form: ")
    assert done.stderr.count("\n") == 1


def test_a_unit_that_no_rig_has_had_is_called_so(tmp_path: Path) -> None:
    config = tmp_path / "rig.toml"
    config.write_text(RIG)
    done = birthmark("line", "unit", "show", "BM-999999", "--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "BM-999999  open\n  no rig has had it in work\n"
    told = json.loads(birthmark("line", "unit", "show", "BM-999999", "--config", config, "--json").stdout)
    assert (told["state"], told["changed_at"], told["history"]) == ("open", None, [])


def test_a_rig_that_is_named_twice_is_looked_at_once(tmp_path: Path) -> None:
    config, certificates = tmp_path / "rig.toml", tmp_path / "certificates.jsonl"
    config.write_text(RIG)
    certificates.touch()
    LineSQLite(tmp_path / "rig.sqlite").close()
    (once, twice) = (reconcile_line([config] * count, certificates, {}) for count in (1, 2))
    assert once == twice
