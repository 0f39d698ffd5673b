# SPDX-License-Identifier: Apache-2.0
"""Listening sockets on internet addresses."""

import errno
import socket
from typing import Final

from birthmark.net.errors import ListenFailed

LISTEN_BACKLOG: Final = 1_024


def url_of(scheme: str, host: str, port: int) -> str:
    """Return scheme://host:port."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """
    Return a listening TCP socket.

    Raises:
        ListenFailed: net.port-occupied or net.listen.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise _listen_failed(host, port, error) from error
    return listener


def _listen_failed(host: str, port: int, error: OSError) -> ListenFailed:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        hint = "stop the other program or choose another port"
        return ListenFailed(f"{where} is in use by another program", hint=hint, finding="net.port-occupied")
    return ListenFailed(f"cannot listen on {where}: {error.strerror}", hint="choose an address of this machine")
