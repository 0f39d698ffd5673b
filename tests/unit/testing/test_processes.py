# SPDX-License-Identifier: Apache-2.0
import os
import sys
from pathlib import Path

import msgspec
import pytest

from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.processes import LabProcess, await_ready, is_running, start, stop

READY = 'import time; print(\'{"ready": "here"}\', flush=True); time.sleep(60)'
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); time.sleep(60)"


def python(tmp_path: Path, code: str) -> LabProcess:
    return start("part", [sys.executable, "-c", code], tmp_path)


def test_a_part_is_ready_when_it_says_so_and_ends_when_it_is_told(tmp_path: Path) -> None:
    process = python(tmp_path, READY)
    assert await_ready(process, tmp_path) == {"ready": "here"}
    assert is_running(process)
    assert stop([process]) == 1
    assert not is_running(process)
    assert stop([process]) == 0


def test_a_part_that_dies_is_reported_with_the_last_line_of_its_log(tmp_path: Path) -> None:
    process = python(tmp_path, "raise SystemExit('no room at the inn')")
    with pytest.raises(LabError, match="part did not start: no room at the inn"):
        await_ready(process, tmp_path)


def test_the_finding_of_a_part_that_dies_is_handed_on(tmp_path: Path) -> None:
    process = python(tmp_path, "raise SystemExit('birthmark: store.full: ca.sqlite: no room; make some')")
    with pytest.raises(LabError, match=r"part did not start: ca\.sqlite: no room; make some") as refused:
        await_ready(process, tmp_path)
    assert refused.value.finding == "store.full"


def test_a_part_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birthmark.testing.lab.processes.STOP_TIMEOUT_S", 0.2)
    process = python(tmp_path, DEAF)
    await_ready(process, tmp_path)
    stop([process])
    assert not is_running(process)


def test_another_process_with_the_same_number_is_not_ours_to_end() -> None:
    impostor = LabProcess(name="part", pid=os.getpid(), started_ticks=1, log="")
    assert not is_running(impostor)
    assert stop([impostor]) == 0


def test_the_record_of_a_process_survives_its_file(tmp_path: Path) -> None:
    process = python(tmp_path, READY)
    assert msgspec.json.decode(msgspec.json.encode(process), type=LabProcess) == process
    stop([process])
