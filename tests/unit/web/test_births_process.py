# SPDX-License-Identifier: Apache-2.0
"""`birthmark line births` as the process that it is."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import urllib3

from birthmark.stores.mes_jsonl import MESFile
from support.births import Births
from support.labs import PROGRAM, birthmark
from support.parcels import birth_parcel


@contextmanager
def showing(mes: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [*PROGRAM, "line", "births", "--mes", str(mes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        yield pool


def test_it_prints_its_address_shows_the_births_and_ends_in_good_order(
    tmp_path: Path, http: urllib3.PoolManager
) -> None:
    path = tmp_path / "births.jsonl"
    with showing(path) as (url, process):
        assert url.startswith("http://127.0.0.1:")
        assert "not there yet" in http.request("GET", url).data.decode()
        with closing(MESFile(path)) as rig:
            rig.deliver(birth_parcel(Births(), "BM-000463"))
        assert "BM-000463" in http.request("GET", url).data.decode()
        assert "BM-000463" in http.request("GET", f"{url}/find?unit=0463").data.decode()
        http.clear()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_an_occupied_port_is_said_and_ends_with_its_exit_code(tmp_path: Path) -> None:
    with showing(tmp_path / "births.jsonl") as (url, _):
        port = url.rpartition(":")[2]
        done = birthmark("line", "births", "--mes", tmp_path / "births.jsonl", "--port", port)
    assert (done.returncode, done.stdout) == (8, "")
    assert "net.port-occupied" in done.stderr
