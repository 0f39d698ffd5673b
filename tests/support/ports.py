# SPDX-License-Identifier: Apache-2.0
"""Ports for servers that end and begin again under the same number."""

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

_LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def lasting_ports(count: int) -> list[int]:
    """
    Return free ports of loopback that nobody is given while their server is away.

    They lie below those that the system gives to clients, and to servers that ask for any.
    """
    above = int(_RANGE.read_text().split()[0])
    ports: list[int] = []
    with ExitStack() as taken:
        while len(ports) < count:
            port = random.randrange(_LOWEST, above)  # noqa: S311 no secret
            with suppress(OSError):
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
    return ports
