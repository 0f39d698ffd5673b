# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document, held against a running CA by Schemathesis: good data, bad data, all methods."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from birthmark.ca.admin.openapi import document, encoded
from birthmark.core.registry import PKIX_EVIDENCE
from support.ca_process import CAFiles, RunningCA, running_ca
from support.offices import hire_all

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
SECONDS = {"security-officer": 16, "approver": 4, "auditor": 4, "line-lead": 4, "rig-a": 4, "follower": 3}
"""For how long Schemathesis looks for something, as whom."""


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    hire_all(files)
    files.config.write_text(f'units_database = "units.sqlite"\n{files.config.read_text()}')
    with running_ca(files) as running:
        board = files.board("BM-000001")
        running.est("rig-a").simpleenroll(board.csr(running.est("rig-a").nonce(PKIX_EVIDENCE, board.unit).nonce))
        yield running


@pytest.mark.parametrize("who", SECONDS)
def test_schemathesis_finds_nothing(ca: RunningCA, who: str) -> None:
    folder = ca.files.folder
    program = Path(sys.executable).with_name("st")
    command = [program, "--config-file", CONFIG, "run", f"{ca.url}/v1/openapi.json"]
    command += ["--request-cert", folder / f"{who}.pem", "--request-cert-key", folder / f"{who}.key"]
    command += ["--tls-verify", folder / "root.pem", "--checks", "all", "--continue-on-failure"]
    command += ["--max-time", str(SECONDS[who]), "--generation-database", "none", "--no-color"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, "\n".join(line[:500] for line in done.stdout.splitlines()[-200:]) + done.stderr
    assert "Traceback" not in folder.joinpath("ca.log").read_text()


def test_the_served_document_is_the_one_in_the_docs(ca: RunningCA) -> None:
    answer = ca.transport().request("GET", "/v1/openapi.json")
    assert (answer.status, answer.body) == (200, encoded())
    assert msgspec.json.decode(answer.body) == document()
