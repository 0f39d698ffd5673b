# SPDX-License-Identifier: Apache-2.0
"""
Starts Envoy, the workers behind it and what runs beside them; watches them, and ends them in good order.

The workers' listening sockets belong to the supervisor: while a worker is being replaced, its requests wait in the
socket's queue. A worker that ends is started again, and so is what runs beside; the front that ends ends the service.
SIGTERM: no new connections, running requests are finished, then Envoy and the others end. Should the supervisor itself
be killed, the kernel ends its children.

SIGHUP: every worker is replaced by one that has read its files anew, one after the other, and no request is lost
(`rolling`); then Envoy gets the certificates as they are on the disk. What cannot be had anew leaves all as it was.
"""

import contextlib
import logging
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from birthmark.core.errors import BirthmarkError
from birthmark.net import asgi
from birthmark.net.errors import FrontFailed
from birthmark.net.front.admin import Admin, Secrets
from birthmark.net.front.description import FrontDescription
from birthmark.net.front.envoy import TLSFiles, envoy_command, envoy_configuration
from birthmark.net.front.processes import (
    POLL_S,
    START_TIME_S,
    STOPS,
    WATCHED,
    WORKER_STOP_TIME_S,
    Place,
    bury,
    end_all,
    end_of,
    first_line,
    launch,
    started,
)
from birthmark.net.front.rolling import Rolling, Step
from birthmark.net.listening import listen, url_of

TICK_S: Final = 1.0
ROLLING_TICK_S: Final = 0.05
SECRETS_TIME_S: Final = 5.0
"""What Envoy gets to read its certificates."""
WORKER_BACKLOG: Final = 1_024
_LOG: Final = logging.getLogger(__name__)

NOTHING_BESIDE: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})

WorkerCommand = Callable[[int], Sequence[str]]
"""Returns the command of a worker that serves the inherited listening socket with this descriptor."""
Reread = Callable[[], FrontDescription]
"""Returns the front as its configuration says now. Raises BirthmarkError when it cannot be used."""


def serve_front(
    front: FrontDescription,
    command: WorkerCommand,
    beside: Mapping[str, Sequence[str]] = NOTHING_BESIDE,
    on_ready: Callable[[str], None] | None = None,
    reread: Reread | None = None,
) -> None:
    """
    Serve through Envoy until SIGTERM or SIGINT, then return. Belongs to the main thread.

    `command` gives each worker's command line, `beside` those of programs that serve nobody, by their names. Each
    prints one line on stdout once it runs. `on_ready(url)` is called when connections are accepted; by default one JSON
    line is printed (`net.asgi.announce`). `reread` is asked at each SIGHUP; by default the front stays as it is.

    Raises:
        ConfigError: net.front.missing.
        ListenFailed: the address cannot be listened on.
        FrontFailed: Envoy, a worker or what runs beside did not start, or Envoy has ended.
        OSError: what `on_ready` raised.

    """
    with _watched_signals(), _private_folder() as folder:
        supervisor = _Supervisor(front, command, beside, reread or (lambda: front), folder)
        try:
            (on_ready or asgi.announce)(supervisor.start())
            supervisor.watch()
        finally:
            supervisor.stop()


class _Supervisor:
    def __init__(
        self,
        front: FrontDescription,
        command: WorkerCommand,
        beside: Mapping[str, Sequence[str]],
        reread: Reread,
        folder: Path,
    ) -> None:
        self._front = front
        self._command = command
        self._beside = beside
        self._reread = reread
        self._tls = TLSFiles(folder)
        self._rolling = Rolling()
        self._folder = folder
        self._admin = Admin(folder / "admin")
        self._places: list[Place] = []
        self._envoy: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start everything; return the URL of the front once it accepts connections."""
        configuration = self._folder / "envoy.json"
        envoy = envoy_command(configuration, self._front.workers)
        # Held for a moment only: Envoy would say less clearly that the address is not to be had.
        listen(self._front.host, self._front.port).close()
        sockets = [self._folder / f"worker-{number}" for number in range(self._front.workers)]
        self._places = [self._behind(number, path) for number, path in enumerate(sockets)]
        self._places += [Place(name, each) for name, each in self._beside.items()]
        for place in self._places:
            # One after the other: SoftHSM shows no token to a process that looks while another one logs in.
            launch(place)
            _await_line(place)
        self._tls.write(self._front)
        configuration.write_text(envoy_configuration(self._front, self._tls, sockets, self._folder / "admin"))
        self._envoy = started(envoy)
        return self._await_envoy(self._envoy)

    def watch(self) -> None:
        """Return when a signal says so. Raises FrontFailed when Envoy ends."""
        while True:
            seen = signal.sigtimedwait(WATCHED, self._patience_s())
            if seen is not None and seen.si_signo in STOPS:
                return
            if seen is not None and seen.si_signo == signal.SIGHUP:
                self._begin_anew()
            self._look_after(time.monotonic())

    def stop(self) -> None:
        """End everything that runs, in order."""
        if self._envoy is not None and self._envoy.poll() is None:
            self._admin.drain(time.monotonic() + asgi.STOP_TIME_S)
            end_all([self._envoy], asgi.STOP_TIME_S)
        running = [place.process for place in self._places if place.process is not None]
        end_all([*running, *self._rolling.processes()], WORKER_STOP_TIME_S)
        for place in self._places:
            if place.listener is not None:
                place.listener.close()

    # --- workers, and what runs beside them ---

    def _behind(self, number: int, path: Path) -> Place:
        listener = _listening(path)
        return Place(f"worker {number}", self._command(listener.fileno()), listener)

    def _look_after(self, now: float) -> None:
        if self._envoy is not None and self._envoy.poll() is not None:
            raise FrontFailed(f"Envoy has ended ({end_of(self._envoy)})", hint="its own message stands before this one")
        for place in self._places:
            if place.process is not None and place.process.poll() is not None:
                bury(place, place.process, now)
            if place.process is None and now >= place.restart_at:
                launch(place)
        if self._rolling.step(now) is Step.LAST:
            self._change_certificates()

    # --- SIGHUP ---

    def _begin_anew(self) -> None:
        try:
            front = self._reread()
        except BirthmarkError as error:
            _LOG.error("net.front.reload-refused: finding=%s: %s", error.finding, error)
            return
        if not self._front.reaches(front):
            _LOG.error("net.front.reload-refused: host, port, number of workers: these change at a restart")
            return
        self._front = front
        self._rolling.begin(self._places)

    def _change_certificates(self) -> None:
        """Let Envoy take the certificates as they are on the disk; running connections keep what they have."""
        try:
            before = self._admin.secrets()
            self._tls.write(self._front)
            taken = self._took(before)
        except OSError as error:
            _LOG.error("net.front.reload-failed: %s", error)
            return
        if taken:
            _LOG.info("net.front.reloaded: every worker has read its files anew")
        else:
            _LOG.error("net.front.reload-failed: Envoy keeps the certificates that it had: %s", _files(self._front))

    def _took(self, before: Secrets) -> bool:
        """Say whether Envoy has read the certificates once more, and taken them. Raises OSError."""
        deadline = time.monotonic() + SECRETS_TIME_S
        while time.monotonic() < deadline:
            now = self._admin.secrets()
            if now.read > before.read:
                return now.refused == before.refused
            time.sleep(POLL_S)
        return False

    def _patience_s(self) -> float:
        if self._rolling.under_way:
            return ROLLING_TICK_S
        waits = [place.restart_at - time.monotonic() for place in self._places if place.process is None]
        return max(0.0, min([TICK_S, *waits]))

    # --- Envoy ---

    def _await_envoy(self, envoy: "subprocess.Popen[bytes]") -> str:
        deadline = time.monotonic() + START_TIME_S
        while time.monotonic() < deadline and envoy.poll() is None:
            if self._admin.is_ready():
                self._require_certificates()
                return url_of("https", self._front.host, self._admin.port())
            time.sleep(POLL_S)
        raise FrontFailed(f"Envoy did not start ({end_of(envoy)})", hint="its own message stands before this one")

    def _require_certificates(self) -> None:
        try:
            taken = self._took(Secrets(read=0, refused=0))
        except OSError as error:
            raise FrontFailed("Envoy does not say which certificates it has") from error
        if not taken:
            raise FrontFailed(f"Envoy did not take {_files(self._front)}", hint="name readable PEM files")


def _files(front: FrontDescription) -> str:
    return f"{front.certificate}, {front.key} or {front.client_trust}"


def _await_line(place: Place) -> None:
    """Return once the program in the place runs. Raises FrontFailed: net.front.worker."""
    process = place.process
    if process is not None and not first_line(process.stdout, time.monotonic() + START_TIME_S):
        raise FrontFailed(
            f"{place.name} did not start ({end_of(process)})",
            hint="its own message stands before this one",
            finding="net.front.worker",
        )


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
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        yield
    finally:
        while signal.sigtimedwait(WATCHED, 0) is not None:
            pass  # a second SIGTERM has nothing left to end
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
