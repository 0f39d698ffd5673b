# SPDX-License-Identifier: Apache-2.0
"""
Threat: the edge, by number. Thousands of connections that want nothing but to stand in the way.

What such an attack wants is that an honest rig is not served. Rigs enrol beside it, over new connections; the attack is
refused when none of them waits long, its second tries included, and its own connections are ended.
"""

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from birthmark.core.errors import BirthmarkError
from birthmark.net.descriptors import obtain
from birthmark.net.tls import client_context
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.edge import THREAT
from birthmark.testing.attacks.errors import CutOff, NoVictim, Refused
from birthmark.testing.attacks.hellos import HALF, knock
from birthmark.testing.attacks.intruder import Intruder

HALF_OPEN = 10_000
DRIPPING = 700
DESCRIPTORS_KEPT = 512
HONEST_MAX_S = 10.0
"""An honest rig that waits longer for its enrolment has been kept out."""
PAUSE_S = 0.5
"""Between two enrolments of an honest rig, or its tries: an order has so many units only."""
PATIENCE_S = 30.0
"""For so long the attacker holds on."""
_HEAD = b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nhost: ca\r\nx-slow: "
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: our own close leaves no port behind that has to rest."""


def half_open(intruder: Intruder) -> None:
    """Open ten thousand connections and begin TLS on none: half of them silent, half with half a ClientHello."""
    with _crowd(intruder, HALF_OPEN, _half_open) as crowd:
        _stand_in_the_way(intruder, crowd, lambda: None, "net.door-crowded")


def slow_loris(intruder: Intruder) -> None:
    """Begin hundreds of requests, and let their heads drip a byte at a time."""
    context = client_context((intruder.pki / "trust.pem").read_bytes())
    host = intruder.lab.ca_url.partition("//")[2].rpartition(":")[0]

    def dripping(link: socket.socket, _number: int) -> socket.socket:
        secured = context.wrap_socket(link, server_hostname=host)
        secured.sendall(_HEAD)
        return secured

    with _crowd(intruder, DRIPPING, dripping) as crowd:
        _stand_in_the_way(intruder, crowd, lambda: _drip(crowd), "net.strangers-crowded")


def _half_open(link: socket.socket, number: int) -> socket.socket:
    if number % 2:
        link.sendall(HALF)
    return link


@contextmanager
def _crowd(
    intruder: Intruder, many: int, begin: Callable[[socket.socket, int], socket.socket]
) -> Iterator[list[socket.socket]]:
    if obtain(many + DESCRIPTORS_KEPT) < many + DESCRIPTORS_KEPT:
        raise NoVictim(f"the system gives this process fewer than {many + DESCRIPTORS_KEPT} descriptors")
    crowd: list[socket.socket] = []
    try:
        for number in range(many):
            link = knock(intruder.lab.ca_url)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            crowd.append(link)
            crowd[-1] = begin(link, number)
        yield crowd
    finally:
        for link in crowd:
            link.close()


def _stand_in_the_way(intruder: Intruder, crowd: list[socket.socket], go_on: Callable[[], None], finding: str) -> None:
    """Return when an honest rig was kept out, or nobody is ever ended. Raises Refused, or CutOff with the finding."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        if not _honest_rig_is_served(intruder):
            return
        go_on()
        last = _last_words(crowd[0])
        if last is not None:
            told = last.partition(b"\r\n\r\n")[2].decode(errors="replace").partition(": ")
            raise Refused(told[2], finding=told[0]) if last else CutOff("the CA ended the connection", finding=finding)
        time.sleep(PAUSE_S)


def _honest_rig_is_served(intruder: Intruder) -> bool:
    """Say whether a rig gets its certificate in time; one that is refused or cut off asks again, as rigs do."""
    ends = time.monotonic() + HONEST_MAX_S
    while time.monotonic() < ends:
        with contextlib.suppress(BirthmarkError):
            intruder.enrol_properly(intruder.new_unit(), intruder.genuine_chip())
            return time.monotonic() < ends
        time.sleep(PAUSE_S)
    return False


def _drip(crowd: list[socket.socket]) -> None:
    for link in crowd:
        with contextlib.suppress(OSError):
            link.send(b"a")


def _last_words(link: socket.socket) -> bytes | None:
    """Return what the server has said before it ended the connection; None while it goes on."""
    link.settimeout(0.0)
    try:
        return link.recv(4_096)
    except (BlockingIOError, ssl.SSLWantReadError):
        return None
    except OSError:
        return b""


ATTACKS = (
    Attack(
        "edge.slow-loris",
        THREAT,
        "700 requests that drip",
        ("net.strangers-crowded", "net.body-too-slow"),
        slow_loris,
        ("net.strangers-crowded", "net.front.refused"),
    ),
    Attack(
        "edge.half-open",
        THREAT,
        "10,000 half-open connections",
        ("net.door-crowded",),
        half_open,
        ("net.door-crowded",),
    ),
)
