# SPDX-License-Identifier: Apache-2.0
"""
Where Prometheus reads the metrics: plain HTTP on 127.0.0.1, in a thread of its own.

It answers also while the service's event loop is busy. Workers of one service listen on the same port; the system
chooses one of them, and each tells the numbers of all.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from birthmark.ca.config import MetricsSection
from birthmark.ca.ports import CAStore
from birthmark.ca.watch.observation import Decision
from birthmark.core.clock import Clock
from birthmark.net.asgi import LOOPBACK
from birthmark.net.errors import ListenFailed

PATH: Final = "/metrics"
READ_TIMEOUT_S: Final = 10
_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client learns of the folder; read when it is imported."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measures:
    """What counts decisions, and batches with what waits behind them. Without `[metrics]` nothing is counted."""

    decided: Callable[[Decision], None] | None = None
    settled: Callable[[int, int], None] | None = None


@contextmanager
def measured(section: MetricsSection | None, folder: Path, store: CAStore, clock: Clock) -> Iterator[Measures]:
    """
    Serve the metrics while the block runs.

    Raises:
        ListenFailed: the port cannot be had.

    """
    if section is None:
        yield Measures()
        return
    shared = shared_folder(section, folder)
    if shared is not None:
        os.environ[_SHARED] = str(shared)
    # Imported here: the embedded default runs without prometheus_client, which also wants the variable first.
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from birthmark.ca.watch.metrics import LedgerCollector, Meter, page_of  # noqa: PLC0415

    registry = CollectorRegistry()
    meter = Meter(registry)
    with _serving(section.port, page_of(registry, LedgerCollector(store, clock), shared)):
        yield Measures(meter.decided, meter.settled)


def shared_folder(section: MetricsSection, folder: Path) -> Path | None:
    """Return the folder in which workers keep their numbers, made when it is not there; None for one worker alone."""
    if section.folder is None:
        return None
    shared = (folder / section.folder).absolute()
    shared.mkdir(mode=0o700, parents=True, exist_ok=True)
    return shared


def begin_anew(section: MetricsSection | None, folder: Path) -> None:
    """Forget the numbers of an earlier run. Called once, before the first worker starts."""
    shared = None if section is None else shared_folder(section, folder)
    for file in () if shared is None else shared.glob("*.db"):
        file.unlink(missing_ok=True)


@contextmanager
def _serving(port: int, page: Callable[[], bytes]) -> Iterator[None]:
    try:
        server = _Server((LOOPBACK, port), _handler(page))
    except OSError as error:
        where = f"{LOOPBACK}:{port}"
        raise ListenFailed(
            f"{where}: {error.strerror}", hint="choose another [metrics] port", finding="net.port-occupied"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    _LOG.info("metrics at http://%s:%d%s", LOOPBACK, server.server_port, PATH)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Let the other workers of the service listen too."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


def _handler(page: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = READ_TIMEOUT_S

        def do_GET(self) -> None:
            """Answer with the metrics."""
            if self.path.partition("?")[0] != PATH:
                self.send_error(404)
                return
            body = page()
            self.send_response(200)
            self.send_header("Content-Type", _MEDIA_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_told: Any) -> None:
            """Say nothing: it is asked every few seconds."""

    return Handler
