# SPDX-License-Identifier: Apache-2.0
"""
Ten thousand connections that never become one: half of them silent, half with half a ClientHello.

A rig goes on enrolling beside them, over the connection that it has and over new ones; memory stays bounded, idle ones
are cut at the named limit, and afterwards everything is as before. With the CA's own TLS, and with Envoy.
"""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est.client import ESTClient
from birthmark.net import door
from birthmark.net.descriptors import obtain
from birthmark.net.front import description
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from support.ca_process import FRONT, ORDER, CAFiles, RunningCA, running_ca
from support.front import children_of

MANY = 10_000
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
ENROLMENT_MAX_S = 10.0
"""Nobody waits longer, on a machine that runs other tests too. It is tens of milliseconds on a quiet one."""
GROWTH_MAX_MIB = {"": 64, FRONT: 512}
PATIENCE_S = 30.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: a close leaves nothing behind, so that the next test has its ports."""


class HonestRig:
    """Enrols one board after the other."""

    def __init__(self, ca: RunningCA) -> None:
        self._ca = ca
        self._kept = self._connection()
        self._made = 0
        self.slowest_s = 0.0

    def enrols(self) -> None:
        """Enrol a board over the connection that is there, and one over a new one."""
        self._enrol(self._kept)
        fresh = self._connection()
        self._enrol(fresh)
        fresh.close()

    def leaves(self) -> None:
        self._kept.close()

    def _enrol(self, transport: HTTPTransport) -> None:
        board, client = self._ca.files.board(f"BM-{self._made:06d}"), ESTClient(transport.request, ORDER)
        began = time.monotonic()
        client.simpleenroll(board.csr(client.nonce(PKIX_EVIDENCE, board.unit).nonce))
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self._made += 1

    def _connection(self) -> HTTPTransport:
        folder = self._ca.files.folder
        trust = folder.joinpath("root.pem").read_bytes()
        return HTTPTransport(self._ca.url, client_context(trust, folder / "rig-a.pem", folder / "rig-a.key"))


@contextmanager
def half_open(port: int, many: int) -> Iterator[list[socket.socket]]:
    crowd: list[socket.socket] = []
    try:
        for number in range(many):
            link = socket.create_connection(("127.0.0.1", port))
            crowd.append(link)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            if number % 2:
                link.send(HALF_HELLO)
        yield crowd
    finally:
        for link in crowd:
            link.close()


def cut(crowd: list[socket.socket]) -> int:
    """Return how many of the crowd the server has ended by now."""
    return sum(map(_ended, crowd))


def _ended(link: socket.socket) -> bool:
    try:
        return link.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


class Watched:
    """The process that holds the connections."""

    def __init__(self, ca: RunningCA, front: str) -> None:
        self._pid = children_of(ca.process.pid, "envoy")[0] if front else ca.process.pid

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self._pid}/fd").iterdir()))

    def memory_mib(self) -> int:
        status = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) >> 10


@pytest.mark.parametrize("front", ["", FRONT], ids=["the CA's own TLS", "Envoy"])
def test_ten_thousand_half_open_connections_hold_up_nobody(tmp_path: Path, front: str) -> None:
    assert obtain(MANY + 512) >= MANY + 512, "this test needs a hard limit of descriptors above 10,512"
    files = CAFiles(tmp_path)
    files.put_order(replace(files.order, quantity=100_000))
    files.config.write_text(files.config.read_text() + front)
    with running_ca(files) as ca:
        rig, held = HonestRig(ca), Watched(ca, front)
        rig.enrols()
        before, memory = held.descriptors(), held.memory_mib()
        with half_open(int(ca.url.rpartition(":")[2]), MANY) as crowd:
            opened = time.monotonic()
            while cut(crowd) < MANY:
                rig.enrols()
                assert held.memory_mib() - memory < GROWTH_MAX_MIB[front]
                assert held.descriptors() < before + (MANY if front else door.HALF_OPEN_MAX) + 100
                assert time.monotonic() < opened + description.HANDSHAKE_TIME_S + PATIENCE_S
        assert rig.slowest_s < ENROLMENT_MAX_S
        deadline = time.monotonic() + PATIENCE_S
        while held.descriptors() > before + 10:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        rig.enrols()
        rig.leaves()
    log = files.folder.joinpath("ca.log").read_text()
    assert front or "net.door-crowded: dropped 1" in log
    assert front or "net.handshake-too-slow: dropped 1" in log
