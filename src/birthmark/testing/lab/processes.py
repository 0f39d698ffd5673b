# SPDX-License-Identifier: Apache-2.0
"""Starts the lab's parts as processes of their own, waits for their ready line, and ends them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from birthmark.testing.lab.errors import LabError

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
_POLL_S = 0.01
_FAILURE = re.compile(r"(?:birthmark: )?([a-z0-9-]+(?:\.[a-z0-9-]+)+): (.*)")
"""The line with which our programs end when they cannot go on."""
_children: dict[int, subprocess.Popen[bytes]] = {}


class LabProcess(msgspec.Struct, frozen=True, kw_only=True):
    """One running part. `started_ticks` tells it from a later process that got the same pid."""

    name: str
    pid: int
    started_ticks: int
    log: str


def start(name: str, command: Sequence[str], logs: Path, env: Mapping[str, str] | None = None) -> LabProcess:
    """Start `command` detached from this terminal; its output goes to `logs/<name>.out` and `.log`."""
    with (logs / f"{name}.out").open("wb") as out, (logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 the lab starts our own programs with arguments that it made itself
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    _children[process.pid] = process
    return LabProcess(
        name=name, pid=process.pid, started_ticks=_started_ticks(process.pid), log=str(logs / f"{name}.log")
    )


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def await_ready(process: LabProcess, logs: Path) -> dict[str, str]:
    """
    Return the JSON object of the first line that the process prints.

    Raises:
        LabError: it ended, or said nothing within READY_TIMEOUT_S; the last line of its log is quoted, and the
            finding in that line is handed on.

    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    out = logs / f"{process.name}.out"
    while time.monotonic() < deadline:
        text = out.read_bytes()
        if b"\n" in text:
            return msgspec.json.decode(text.split(b"\n", 1)[0], type=dict[str, str])
        if not is_running(process):
            break
        time.sleep(_POLL_S)
    raise _not_started(process)


def is_running(process: LabProcess) -> bool:
    """Return whether this very process, and no later one with its pid, is alive."""
    alive = _started_ticks(process.pid) == process.started_ticks
    _reap(process.pid)  # last, so that what has just become a zombie does not stay one
    return alive


def stop(processes: Sequence[LabProcess]) -> int:
    """End the processes, politely and then firmly; return how many were still running."""
    alive = [process for process in processes if is_running(process)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in filter(is_running, alive):
            _signal(process, number)
        _await_end(alive)
    return len(alive)


def _await_end(processes: Sequence[LabProcess]) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline and any(is_running(process) for process in processes):
        time.sleep(_POLL_S)


def _signal(process: LabProcess, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


def _reap(pid: int) -> None:
    """Take the exit status of a child, so that it does not stay as a zombie; a lab of another process has no need."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def _started_ticks(pid: int) -> int:
    """Return field 22 of /proc/PID/stat (proc(5)), or -1 when there is no such process or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return -1
    return -1 if fields[0] == "Z" else int(fields[19])


def _not_started(process: LabProcess) -> LabError:
    last = _last_line(Path(process.log))
    told = _FAILURE.fullmatch(last)
    finding, reason = told.groups() if told else ("", last)
    return LabError(f"{process.name} did not start: {reason}", hint=f"see {process.log}", finding=finding)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it left no log"
