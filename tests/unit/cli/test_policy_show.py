# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca policy show`, with the anchors of all TPM makers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VECTORS = Path(__file__).parents[2] / "vectors" / "tpm-roots"
POLICY = """
[[maker]]
name = "TPM makers"
trust = "intermediates.pem"
anchors = "roots.pem"

[[model]]
id = "slb9670"
hw_type = "2.23.133.1.2"
maker = "TPM makers"
certification = "in words"
statement_types = ["2.23.133.20.1"]
withdrawn = 2030-01-01T00:00:00Z

[[profile]]
name = "device"
calendars = ["cnsa-2.0"]
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    for name in ("roots.pem", "intermediates.pem"):
        shutil.copy(VECTORS / name, tmp_path)
    path = tmp_path / "endorsements.toml"
    path.write_text(POLICY)
    return path


def shown(policy: Path, at: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-m", "birthmark.cli", "ca", "policy", "show", str(policy), "--at", at]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_everything_that_a_policy_believes_is_printed(policy: Path) -> None:
    code, lines = shown(policy, "2026-11-23T00:00:00Z")
    assert code == 0
    kinds = [line.partition(" ")[0] for line in lines]
    assert {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)} == {
        "policy": 1,
        "note": 8,
        "anchor": 27,
        "ca": 143,
        "model": 1,
        "profile": 1,
    }
    assert lines[-2] == "model  slb9670 of TPM makers: in words, withdrawn 2030-01-01T00:00:00+00:00"
    assert "P-256: never" in lines[-1]
    assert "P-384: 2032-12-31" in lines[-1]


def test_a_ca_without_a_path_is_shown_as_lost(policy: Path) -> None:
    code, lines = shown(policy, "2100-01-01T00:00:00Z")
    assert code == 1
    assert sum(line.startswith("LOST") for line in lines) == 142  # one of ST's has no well-defined end
