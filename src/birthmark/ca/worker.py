# SPDX-License-Identifier: Apache-2.0
"""One worker of the issuing authority behind a front, as a program: `python -m birthmark.ca.worker CONFIG LISTENER`."""

import socket
import sys
from pathlib import Path

from birthmark.ca.wiring import serve_worker
from birthmark.core.errors import BirthmarkError


def main(config: str, listener: str) -> None:
    """Serve the inherited listening socket with this descriptor until SIGTERM; say in one line why not."""
    try:
        serve_worker(Path(config), socket.socket(fileno=int(listener)))
    except BirthmarkError as error:
        sys.exit(f"{error.finding}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
