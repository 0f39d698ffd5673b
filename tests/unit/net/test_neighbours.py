# SPDX-License-Identifier: Apache-2.0
"""Whose socket the other end of a loopback connection is: from the kernel's own tables, and from tables as text."""

import os
import socket
import struct
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from birthmark.net.neighbours import owner_in, owner_of

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
PEER, OWN = ("127.0.0.1", 50_000), ("127.0.0.1", 8_000)
V4 = f"{struct.unpack('=I', bytes([127, 0, 0, 1]))[0]:08X}"
MAPPED = f"{0:08X}{0:08X}{struct.unpack('=I', bytes([0, 0, 255, 255]))[0]:08X}{V4}"


def row(local: str, remote: str, *, state: str = "01", uid: int = 1001, inode: int = 4711) -> str:
    """One line as the kernel writes it (proc_net_tcp.txt)."""
    return (
        f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:5d} 0 {inode} 1 0 20 4 30 10 -1\n"
    )


CLIENT = (f"{V4}:C350", f"{V4}:1F40")
SERVER = (CLIENT[1], CLIENT[0])


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_owner_of_a_real_connection_is_us(family: socket.AddressFamily) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(closing(socket.socket(family)))
        port = listener.getsockname()[1]
        client.connect(("::ffff:127.0.0.1" if family is socket.AF_INET6 else "127.0.0.1", port))
        served, peer = listener.accept()
        with served:
            assert owner_of(peer, served.getsockname()) == os.geteuid()


def test_a_connection_that_its_program_has_left_is_nobodys() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"POST / HTTP/1.1\r\n\r\n")
        served, peer = listener.accept()
        with served:
            assert owner_of(peer, served.getsockname()) is None


@pytest.mark.parametrize("ends", [CLIENT, (f"{MAPPED}:C350", f"{MAPPED}:1F40")])
def test_the_row_of_the_peer_says_the_owner(ends: tuple[str, str]) -> None:
    table = HEAD + row(*SERVER, uid=7) + row(*ends, uid=1001)
    assert owner_in(table, PEER, OWN) == 1001


@pytest.mark.parametrize(
    "line",
    [
        row(*SERVER),
        row(CLIENT[0], f"{V4}:1F41"),
        row(f"{V4}:C351", CLIENT[1]),
        row(f"{MAPPED}:C350", CLIENT[1]),
        row(*CLIENT, state="06", uid=0, inode=0),
        row(*CLIENT, uid=0, inode=0),
        row(*CLIENT, state="05"),
        "",
    ],
    ids=["our own end", "another server", "another port", "mixed", "time-wait", "orphan", "fin-wait", "nothing"],
)
def test_any_other_row_says_nothing(line: str) -> None:
    assert owner_in(HEAD + line, PEER, OWN) is None


def test_without_tables_nobody_knows(tmp_path: Path) -> None:
    assert owner_of(PEER, OWN, [tmp_path / "tcp"]) is None


def test_addresses_are_written_in_the_order_of_this_machine() -> None:
    assert ("0100007F" if sys.byteorder == "little" else "7F000001") == V4
