# SPDX-License-Identifier: Apache-2.0
"""
The HTTP server of one worker behind the front.

Who the client is comes out of a header here, so nobody but the front may reach the listener. Guaranteed before it
serves: it is a Unix socket in a folder that is ours alone. Guaranteed for each connection (`front.protocol`): its other
end runs under our own user id. A TCP listener cannot have this protocol.
"""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from birthmark.net.asgi import ASGIApp, BoundServer, service_configuration
from birthmark.net.errors import FrontUntrusted
from birthmark.net.front.protocol import FrontProtocol

_OTHERS: Final = 0o077


class WorkerServer(BoundServer):
    """Serves the front's requests from a Unix socket that our parent has bound."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        """
        Take the listener.

        Raises:
            FrontUntrusted: it is no Unix socket, or others than ourselves can open it.

        """
        _require_private(listener)
        configuration = service_configuration(app)
        configuration.http = FrontProtocol
        super().__init__(configuration, listener, f"unix:{listener.getsockname()}")


def serve_worker(app: ASGIApp, listener: socket.socket, on_ready: Callable[[str], None]) -> None:
    """
    Serve `app` to the front until SIGTERM, then finish what runs and return.

    Raises:
        FrontUntrusted: as `WorkerServer`.

    """
    WorkerServer(app, listener).run_until_stopped(on_ready)


def _require_private(listener: socket.socket) -> None:
    if listener.family != socket.AF_UNIX:
        raise FrontUntrusted(
            "a worker behind a front listens on a network address, where anyone could claim to be anyone",
            hint="give it a Unix socket in a folder of mode 0700",
        )
    path = listener.getsockname()
    folder = Path(path).parent if isinstance(path, str) and path else None
    if folder is None:
        raise FrontUntrusted("a worker's socket has no place in a folder", hint="bind it to a path")
    status = folder.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & _OTHERS:
        raise FrontUntrusted(f"{folder} can be opened by others", hint=f"chmod 700 {folder}")
