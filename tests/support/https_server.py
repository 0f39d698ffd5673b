# SPDX-License-Identifier: Apache-2.0
"""A real HTTPS server in a thread, for tests that speak TLS on loopback."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from typing import TypeVar

from birthmark.net.asgi import ASGIApp, BoundServer, HTTPSServer

START_TIME_S = 10.0

Server = TypeVar("Server", bound=BoundServer)


@contextlib.contextmanager
def serving(app: ASGIApp, context: ssl.SSLContext) -> Iterator[HTTPSServer]:
    """Serve the application on a free port until the block is left."""
    with started(HTTPSServer(app, "127.0.0.1", 0, context)) as server:
        yield server


@contextlib.contextmanager
def started(server: Server) -> Iterator[Server]:
    """Run the server until the block is left."""
    ready = threading.Event()
    thread = threading.Thread(target=server.run_until_stopped, args=(lambda _url: ready.set(),))
    thread.start()
    try:
        assert ready.wait(START_TIME_S)
        yield server
    finally:
        server.stop()
        thread.join()
