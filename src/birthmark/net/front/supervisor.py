# SPDX-License-Identifier: Apache-2.0
"""
Starts Envoy, the workers behind it and what runs beside them; watches them, and ends them in good order.

The workers' listening sockets belong to the supervisor: while a worker is being replaced, its requests wait in the
socket's queue. A worker that ends is started again, and so is what runs beside; the front that ends ends the service.
SIGTERM: no new connections, running requests are finished, then Envoy and the others end. Should the supervisor itself
be killed, the kernel ends its children.
"""

import contextlib
import ctypes
import logging
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final

from birthmark.net import asgi
from birthmark.net.errors import FrontFailed
from birthmark.net.front.admin import Admin
from birthmark.net.front.description import MAX_CONNECTIONS, FrontDescription
from birthmark.net.front.envoy import envoy_command, envoy_configuration

START_TIME_S: Final = 30.0
WORKER_STOP_TIME_S: Final = asgi.STOP_TIME_S + 2.0
TICK_S: Final = 1.0
POLL_S: Final = 0.02
RESTART_FIRST_S: Final = 0.05
RESTART_MAX_S: Final = 5.0
GOOD_LIFE_S: Final = 30.0
"""A worker that has lived that long is started again at once; one that dies sooner waits longer each time."""
WORKER_BACKLOG: Final = 1_024

_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHED: Final = (*_STOPS, signal.SIGCHLD)
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)
_LOG: Final = logging.getLogger(__name__)

NOTHING_BESIDE: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})

WorkerCommand = Callable[[int], Sequence[str]]
"""Returns the command of a worker that serves the inherited listening socket with this descriptor."""


@dataclass(slots=True)
class _Place:
    """One place behind or beside the front; the process in it may be replaced. One beside has no listener."""

    name: str
    command: Sequence[str]
    listener: socket.socket | None = None
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    restart_at: float = field(default=0.0)
    pause_s: float = RESTART_FIRST_S


def serve_front(
    front: FrontDescription,
    command: WorkerCommand,
    beside: Mapping[str, Sequence[str]] = NOTHING_BESIDE,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """
    Serve through Envoy until SIGTERM or SIGINT, then return. Belongs to the main thread.

    `command` gives each worker's command line, `beside` those of programs that serve nobody, by their names. Each
    prints one line on stdout once it runs. `on_ready(url)` is called when connections are accepted; by default one JSON
    line is printed (`net.asgi.announce`).

    Raises:
        ConfigError: net.front.missing.
        ListenFailed: the address cannot be listened on.
        FrontFailed: Envoy, a worker or what runs beside did not start, or Envoy has ended.
        OSError: what `on_ready` raised.

    """
    with _watched_signals(), _private_folder() as folder:
        supervisor = _Supervisor(front, command, beside, folder)
        try:
            (on_ready or asgi.announce)(supervisor.start())
            supervisor.watch()
        finally:
            supervisor.stop()


class _Supervisor:
    def __init__(
        self, front: FrontDescription, command: WorkerCommand, beside: Mapping[str, Sequence[str]], folder: Path
    ) -> None:
        self._front = front
        self._command = command
        self._beside = beside
        self._folder = folder
        self._admin = Admin(folder / "admin")
        self._places: list[_Place] = []
        self._envoy: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start everything; return the URL of the front once it accepts connections."""
        configuration = self._folder / "envoy.json"
        envoy = envoy_command(configuration, self._front.workers)
        # Held for a moment only: Envoy would say less clearly that the address is not to be had.
        asgi.listen(self._front.host, self._front.port).close()
        sockets = [self._folder / f"worker-{number}" for number in range(self._front.workers)]
        self._places = [self._behind(number, path) for number, path in enumerate(sockets)]
        self._places += [_Place(name, each) for name, each in self._beside.items()]
        for place in self._places:
            _launch(place)
        self._await_places()
        configuration.write_text(envoy_configuration(self._front, sockets, self._folder / "admin"))
        self._envoy = _started(envoy)
        return self._await_envoy(self._envoy)

    def watch(self) -> None:
        """Return when a signal says so. Raises FrontFailed when Envoy ends."""
        while True:
            seen = signal.sigtimedwait(_WATCHED, self._patience_s())
            if seen is not None and seen.si_signo in _STOPS:
                return
            self._look_after(time.monotonic())

    def stop(self) -> None:
        """End everything that runs, in order."""
        if self._envoy is not None and self._envoy.poll() is None:
            self._admin.drain(time.monotonic() + asgi.STOP_TIME_S)
            _end([self._envoy], asgi.STOP_TIME_S)
        _end([place.process for place in self._places if place.process is not None], WORKER_STOP_TIME_S)
        for place in self._places:
            if place.listener is not None:
                place.listener.close()

    # --- workers, and what runs beside them ---

    def _behind(self, number: int, path: Path) -> _Place:
        listener = _listening(path)
        return _Place(f"worker {number}", self._command(listener.fileno()), listener)

    def _await_places(self) -> None:
        deadline = time.monotonic() + START_TIME_S
        for place in self._places:
            process = place.process
            if process is not None and not _first_line(process.stdout, deadline):
                raise FrontFailed(
                    f"{place.name} did not start ({_end_of(process)})",
                    hint="its own message stands before this one",
                    finding="net.front.worker",
                )

    def _look_after(self, now: float) -> None:
        if self._envoy is not None and self._envoy.poll() is not None:
            raise FrontFailed(
                f"Envoy has ended ({_end_of(self._envoy)})", hint="its own message stands before this one"
            )
        for place in self._places:
            if place.process is not None and place.process.poll() is not None:
                _bury(place, place.process, now)
            if place.process is None and now >= place.restart_at:
                _launch(place)

    def _patience_s(self) -> float:
        waits = [place.restart_at - time.monotonic() for place in self._places if place.process is None]
        return max(0.0, min([TICK_S, *waits]))

    # --- Envoy ---

    def _await_envoy(self, envoy: "subprocess.Popen[bytes]") -> str:
        deadline = time.monotonic() + START_TIME_S
        while time.monotonic() < deadline and envoy.poll() is None:
            if self._admin.is_ready():
                return asgi.url_of("https", self._front.host, self._admin.port())
            time.sleep(POLL_S)
        raise FrontFailed(f"Envoy did not start ({_end_of(envoy)})", hint="its own message stands before this one")


# --- processes -------------------------------------------------------------------------------------------------


def _launch(place: _Place) -> None:
    descriptor = None if place.listener is None else place.listener.fileno()
    place.process = _started(place.command, keep=descriptor, stdout=subprocess.PIPE)
    place.started_at = time.monotonic()


def _bury(place: _Place, process: "subprocess.Popen[bytes]", now: float) -> None:
    lived_s = now - place.started_at
    place.pause_s = RESTART_FIRST_S if lived_s >= GOOD_LIFE_S else min(2 * place.pause_s, RESTART_MAX_S)
    place.restart_at, place.process = now + place.pause_s, None
    _close(process.stdout)
    _LOG.error("net.front.worker-ended: %s (%s) after %.1f s", place.name, _end_of(process), lived_s)


def _started(
    command: Sequence[str], *, keep: int | None = None, stdout: int = subprocess.DEVNULL
) -> "subprocess.Popen[bytes]":
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
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 2 * MAX_CONNECTIONS
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough if most == resource.RLIM_INFINITY else min(most, enough), most))


def _end(processes: Sequence["subprocess.Popen[bytes]"], patience_s: float) -> None:
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
        _close(process.stdout)


def _end_of(process: "subprocess.Popen[bytes]") -> str:
    try:
        code = process.wait(POLL_S)  # its streams may have closed a moment before its end
    except subprocess.TimeoutExpired:
        return f"it still runs after {START_TIME_S:g} s"
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _first_line(stream: IO[bytes] | None, deadline: float) -> bytes:
    """Return what the stream gives until its first line is whole; nothing when it ends or time is over before that."""
    got = b""
    while stream is not None and not got.endswith(b"\n"):
        readable, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(stream.fileno(), 1) if readable else b""
        if not part:
            return b""
        got += part
    return got


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        stream.close()


# --- surroundings ----------------------------------------------------------------------------------------------


def _listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(WORKER_BACKLOG)
    return listener


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder that is ours alone (mode 0700), and remove it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="birthmark-front-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _watched_signals() -> Iterator[None]:
    """Keep the signals that we wait for from interrupting anything else."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        yield
    finally:
        while signal.sigtimedwait(_WATCHED, 0) is not None:
            pass  # a second SIGTERM has nothing left to end
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
