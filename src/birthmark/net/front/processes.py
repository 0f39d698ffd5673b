# SPDX-License-Identifier: Apache-2.0
"""The processes behind and beside a front: started with what they inherit, watched, ended politely and then firmly."""

import ctypes
import logging
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from birthmark.net import asgi
from birthmark.net.descriptors import obtain
from birthmark.net.errors import FrontFailed
from birthmark.net.front.description import DESCRIPTORS_MAX

START_TIME_S: Final = 30.0
WORKER_STOP_TIME_S: Final = asgi.STOP_TIME_S + 2.0
POLL_S: Final = 0.02
RESTART_FIRST_S: Final = 0.05
RESTART_MAX_S: Final = 5.0
GOOD_LIFE_S: Final = 30.0
"""A worker that has lived that long is started again at once; one that dies sooner waits longer each time."""

STOPS: Final = (signal.SIGTERM, signal.SIGINT)
WATCHED: Final = (*STOPS, signal.SIGCHLD, signal.SIGHUP)
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)
_LOG: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Place:
    """One place behind or beside the front; the process in it may be replaced. One beside has no listener."""

    name: str
    command: Sequence[str]
    listener: socket.socket | None = None
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    restart_at: float = field(default=0.0)
    pause_s: float = RESTART_FIRST_S
    dismissed: bool = False
    """Whether the process was asked to end, so that another one begins."""
    dismissed_at: float = 0.0


def launch(place: Place) -> None:
    """Start the place's process. Raises FrontFailed."""
    place.process, place.started_at, place.dismissed = another(place), time.monotonic(), False


def another(place: Place) -> "subprocess.Popen[bytes]":
    """Start one more process for the place, beside what runs there. Raises FrontFailed."""
    descriptor = None if place.listener is None else place.listener.fileno()
    return started(place.command, keep=descriptor, stdout=subprocess.PIPE)


def bury(place: Place, process: "subprocess.Popen[bytes]", now: float) -> None:
    """Take note that the place's process has ended, and when another one begins."""
    lived_s = now - place.started_at
    place.pause_s = RESTART_FIRST_S if lived_s >= GOOD_LIFE_S else min(2 * place.pause_s, RESTART_MAX_S)
    place.restart_at, place.process = now + place.pause_s, None
    close_stream(process.stdout)
    if place.dismissed:
        place.restart_at = now
        return
    _LOG.error("net.front.worker-ended: %s (%s) after %.1f s", place.name, end_of(process), lived_s)


def started(
    command: Sequence[str], *, keep: int | None = None, stdout: int = subprocess.DEVNULL
) -> "subprocess.Popen[bytes]":
    """Start a command that lives no longer than we do. Raises FrontFailed."""
    try:
        return subprocess.Popen(  # noqa: S603 commands of our own making
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            pass_fds=() if keep is None else (keep,),
            start_new_session=True,  # a Ctrl-C at the terminal is for us: we end them in order
            preexec_fn=_in_child,  # noqa: PLW1509 we have no threads, and no other way to be outlived by nobody
        )
    except OSError as error:
        raise FrontFailed(f"{command[0]} cannot be started: {error.strerror}") from error


def _in_child() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    obtain(DESCRIPTORS_MAX)


def end_all(processes: Sequence["subprocess.Popen[bytes]"], patience_s: float) -> None:
    """End the processes, politely and then firmly."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + patience_s
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        close_stream(process.stdout)


def end_of(process: "subprocess.Popen[bytes]") -> str:
    """Return how a process has ended, for people."""
    try:
        code = process.wait(POLL_S)  # its streams may have closed a moment before its end
    except subprocess.TimeoutExpired:
        return f"it still runs after {START_TIME_S:g} s"
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def first_line(stream: IO[bytes] | None, deadline: float) -> bytes:
    """Return what the stream gives until its first line is whole; nothing when it ends or time is over before that."""
    got = b""
    while stream is not None and not got.endswith(b"\n"):
        readable, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(stream.fileno(), 1) if readable else b""
        if not part:
            return b""
        got += part
    return got


def close_stream(stream: IO[bytes] | None) -> None:
    """Close a stream, if there is one."""
    if stream is not None:
        stream.close()
