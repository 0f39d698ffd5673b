# SPDX-License-Identifier: Apache-2.0
"""
Who on this machine has opened a loopback connection: the user whose socket is its other end, as the kernel tells it.

Linux lists every TCP socket of the network namespace with its owner in /proc/net/tcp and tcp6 (proc_net_tcp.txt of the
kernel's documentation): a program with an IPv6 socket reaches 127.0.0.1 as ::ffff:127.0.0.1 and stands in the second.
A socket that its program has left is listed as root's (uid 0, inode 0), so only one that is established and has an
inode says whose it is.
"""

import ipaddress
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED: Final = "01"
_LOCAL, _REMOTE, _STATE, _UID, _INODE = 1, 2, 3, 7, 9
"""The columns."""

Endpoint: TypeAlias = tuple[str, int]
"""An IPv4 address and a port."""


def owner_of(peer: Endpoint, own: Endpoint, tables: Sequence[Path] = TABLES) -> int | None:
    """Return the uid of the user whose socket is at `peer`, connected to `own`; None when the kernel lists none."""
    for path in tables:
        try:
            table = path.read_text(encoding="ascii")
        except OSError:
            continue
        uid = owner_in(table, peer, own)
        if uid is not None:
            return uid
    return None


def owner_in(table: str, peer: Endpoint, own: Endpoint) -> int | None:
    """Return the uid that a table of the kernel has for the socket at `peer`, connected to `own`; None without one."""
    ends = set(zip(_forms(peer), _forms(own), strict=True))
    for line in table.splitlines()[1:]:
        columns = line.split()
        if (columns[_LOCAL], columns[_REMOTE]) in ends and columns[_STATE] == _ESTABLISHED and columns[_INODE] != "0":
            return int(columns[_UID])
    return None


def _forms(endpoint: Endpoint) -> tuple[str, str]:
    """Return how tcp and tcp6 write an address and a port: as words of this machine's byte order."""
    address, port = endpoint
    v4 = ipaddress.IPv4Address(address).packed
    mapped = ipaddress.IPv6Address(b"\x00" * 10 + b"\xff\xff" + v4).packed
    return f"{_words(v4)}:{port:04X}", f"{_words(mapped)}:{port:04X}"


def _words(packed: bytes) -> str:
    return "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", packed))
