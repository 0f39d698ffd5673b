# SPDX-License-Identifier: Apache-2.0
"""A rig's station as a process, and the operator at it: scans labels, waits for verdicts, calls the lead."""

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from birthmark.testing.lab.files import LEAD, LEAD_PIN, OPERATOR
from support.labs import PROGRAM
from support.shopfloor.boards import Board, Place, Supplier

CALL_S = 30.0
PANEL_MAX_S = 240.0
"""A panel that takes longer, whatever was killed meanwhile, waits for ever."""
START_S = 60.0
Floor = dict[str, Any]


class Gone(Exception):
    """The rig's process is no more, or does not answer."""


class Rig:
    """One rig. Its operator is one thread; whoever kills it is another."""

    def __init__(self, name: str, config: Path, places: Sequence[Place], logs: Path) -> None:
        self.name = name
        self.places = tuple(places)
        self.running = threading.Event()
        """Set while a panel runs."""
        self.starts = 0
        self.config = config
        self._log = logs / f"{name}.log"
        self._process: subprocess.Popen[str] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.send(signal.SIGKILL)
        self._reap()

    def start(self) -> None:
        """Start the station, again and again while something that it needs is away."""
        deadline = time.monotonic() + START_S
        ready = ""
        while not ready:
            assert time.monotonic() < deadline, f"{self.name} does not start: {self._log.read_text()[-1500:]}"
            with self._log.open("a") as log:
                command = [*PROGRAM, "line", "serve", "--config", str(self.config)]
                self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
            assert self._process.stdout is not None
            ready = self._process.stdout.readline()
            if not ready:
                self._reap()
        self._port = int(json.loads(ready)["ready"].rpartition(":")[2])
        self.starts += 1
        self._scan(f"BM:OP:{OPERATOR}")

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, when there is one."""
        process = self._process
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def end(self) -> None:
        """Ask it to end after its panel, and see that it does so in good order."""
        if self.alive:
            self.send(signal.SIGTERM)
            assert self._process is not None
            code = self._process.wait(PANEL_MAX_S)
            assert code == 0, f"{self.name} ended with {code}: {self._log.read_text()[-1500:]}"
        self._reap()

    def run(self, boards: Mapping[int, Board], supplier: Supplier) -> Floor:
        """Put boards into places, run the panel and return the floor with its verdicts. Raises Gone."""
        for place in self.places:
            if place.number in boards:
                place.lay(boards[place.number], supplier)
        try:
            if not self.alive:
                self._reap()
                self.start()
            return self._run(boards)
        except Gone:
            # A station that was told to end finishes its panel: nobody takes boards out of a rig that works.
            self._reap(PANEL_MAX_S)
            raise
        finally:
            self.running.clear()
            for place in self.places:
                place.empty()

    def _run(self, boards: Mapping[int, Board]) -> Floor:
        self._scan("BM:CLEAR")
        for place in self.places:
            self.running.set()  # the last scan starts it
            floor = self._scan(boards[place.number].unit if place.number in boards else "BM:BAD")
        deadline = time.monotonic() + PANEL_MAX_S
        while floor["phase"] != "shown":
            assert time.monotonic() < deadline, f"{self.name}'s panel does not end: {floor}"
            floor = self.call("GET", f"/v1/floor?after={floor['version']}")
        return floor

    def rework(self, unit: str) -> bool:
        """Let the lead send a unit to rework; return whether that fitted the unit. Raises Gone."""
        body = {"lead": LEAD, "pin": LEAD_PIN, "reason": "interrupted too often in the campaign"}
        status, _ = self._asked("POST", f"/v1/units/{unit}/rework", body)
        return status == HTTPStatus.OK

    def call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Floor:
        """Return the station's answer. Raises Gone."""
        status, told = self._asked(method, path, body)
        assert status == HTTPStatus.OK, f"{self.name}: {method} {path} {body}: {status} {told.decode()}"
        return dict(json.loads(told))

    def _asked(self, method: str, path: str, body: Mapping[str, str] | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=CALL_S)
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, {"content-type": "application/json"})
            answer = connection.getresponse()
            told = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Gone(str(error)) from error
        finally:
            connection.close()
        if b"line.scan.ending" in told:
            raise Gone(told.decode())
        return answer.status, told

    def _scan(self, typed: str) -> Floor:
        return self.call("POST", "/v1/scan", {"typed": typed})

    def _reap(self, patience_s: float = CALL_S) -> None:
        if self._process is not None:
            self._process.wait(patience_s)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
