# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca policy check`: the real program, beside a running CA that has issued to real requests."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.testing.forge import APDU, TPM
from support.ca_parts import Board
from support.ca_process import CAFiles, RunningCA, running_ca

UNITS = ("BM-000001", "BM-000002")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    with running_ca(CAFiles(tmp_path_factory.mktemp("ca"))) as running:
        yield running


@pytest.fixture(scope="module")
def boards(ca: RunningCA) -> tuple[Board, ...]:
    made = tuple(ca.files.board(unit, model) for unit, model in zip(UNITS, (APDU, TPM), strict=True))
    for board in made:
        ca.est("rig-a").simpleenroll(board.csr(ca.est("rig-a").nonce(PKIX_EVIDENCE, board.unit).nonce))
    return made


def check(ca: RunningCA, candidate: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "birthmark.cli", "ca", "policy", "check", str(candidate)]
    return subprocess.run(
        [*command, "--config", str(ca.files.config), *options], capture_output=True, text=True, check=False
    )


def changed(ca: RunningCA, name: str, more: str) -> Path:
    candidate = ca.files.folder / name
    candidate.write_text((ca.files.folder / "endorsements.toml").read_text() + more)
    return candidate


@pytest.mark.usefixtures("boards")
def test_the_policy_in_force_changes_nothing(ca: RunningCA) -> None:
    done = check(ca, ca.files.folder / "endorsements.toml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "no living unit would notice"
    assert "2 living units" in done.stdout


def test_a_manifest_without_a_living_chip_is_shown_with_the_unit_that_it_costs(
    ca: RunningCA, boards: tuple[Board, ...]
) -> None:
    manifest = f"{boards[1].chip.serial}\n".encode()
    (ca.files.folder / "delivered.txt").write_bytes(manifest)
    maker, digest = ca.files.forge.maker.name, hashlib.sha256(manifest).hexdigest()
    more = f'\n[[delivery]]\nmaker = "{maker}"\nfile = "delivered.txt"\nsha256 = "{digest}"\n'
    done = check(ca, changed(ca, "next.toml", more), "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["units"] == 2
    assert told["changes"] == [{"kind": "added", "table": "delivery", "name": "delivered.txt", "detail": ""}]
    assert told["effects"] == [
        {
            "outcome": "dark",
            "finding": "evidence.chip.undelivered",
            "subject": APDU.id,
            "units": 1,
            "examples": [UNITS[0]],
        }
    ]
    assert told["old"] != told["new"]


@pytest.mark.usefixtures("boards")
def test_a_calendar_is_shown_with_all_that_could_not_be_renewed(ca: RunningCA) -> None:
    done = check(ca, changed(ca, "cnsa.toml", '\n[[profile]]\nname = "device-p256"\ncalendars = ["cnsa-2.0"]\n'))
    assert done.returncode == 1, done.stderr
    assert "stuck  2 units  evidence.algorithm.ended  P-256 under device-p256  (BM-000001, BM-000002)" in done.stdout


@pytest.mark.usefixtures("boards")
def test_a_policy_that_cannot_be_used_is_one_line_and_exit_code_3(ca: RunningCA) -> None:
    done = check(ca, changed(ca, "bad.toml", '\n[[profile]]\nname = "device-p256"\ncalendars = ["mayan"]\n'))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("birthmark: config.invalid: endorsements: there is no calendar 'mayan'")
    assert done.stderr.count("\n") == 1
