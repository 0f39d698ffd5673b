# SPDX-License-Identifier: Apache-2.0
"""
The door of a server that ends TLS itself: how many may stand in it, and who makes room.

A connection costs something from its first packet on, long before anybody knows whose it is. So there are places for
those who have not finished their TLS handshake, and places for those who showed no certificate. Whoever comes when all
are taken gets one: the one who has been there longest leaves. Honest clients are through in milliseconds, so a crowd
that stands still pushes out itself, and never those who have shown a good certificate.

Nothing is done for a client whose first TLS record is not there as a whole: until then it is a socket in the kernel.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Hashable
from typing import Final

from birthmark.net.descriptors import obtain

HANDSHAKE_TIME_S: Final = 10.0
"""From the connection to the end of the TLS handshake."""
HALF_OPEN_MAX: Final = 1_024
"""Connections whose handshake is not over."""
STRANGERS_MAX: Final = 512
"""Connections without a client certificate; the places of those who have one are not theirs to take."""
ACCEPTED_AT_ONCE: Final = 64
"""Then those who are inside have their turn."""
BREATH_S: Final = 0.1
"""Nobody is let in for so long when the system gives no more descriptors."""
DESCRIPTORS_KEPT: Final = 512
"""For the ledger, keys and files."""
TOLD_EVERY_S: Final = 10.0
DOOR_CROWDED: Final = "net.door-crowded"
STRANGERS_CROWDED: Final = "net.strangers-crowded"
_HANDSHAKE: Final = b"\x16"
_RECORD_HEADER_BYTES: Final = 5
_RECORD_MAX_BYTES: Final = _RECORD_HEADER_BYTES + (1 << 14)
"""RFC 8446 §5.1: type, version, length; at most 2^14 bytes of plaintext."""
_LOG: Final = logging.getLogger(__name__)


class Drops:
    """Tells the log which connections were dropped: the first at once, those that follow in one line each 10 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def note(self, finding: str) -> None:
        """Take note of one more connection that was dropped for this reason."""
        now, many = self._clock(), self._untold.get(finding, 0) + 1
        if now - self._told.get(finding, -TOLD_EVERY_S) < TOLD_EVERY_S:
            self._untold[finding] = many
            return
        self._told[finding], self._untold[finding] = now, 0
        _LOG.warning("%s: dropped %d", finding, many)


class Places:
    """A number of places. Whoever takes one when none is free takes that of the one who has been there longest."""

    def __init__(self, most: int, crowded: str, drops: Drops) -> None:
        self._most = most
        self._crowded = crowded
        self._drops = drops
        self._taken: dict[Hashable, Callable[[], None]] = {}

    def take(self, who: Hashable, leave: Callable[[], None]) -> None:
        """Give `who` a place; `leave` is called when it is needed for somebody else."""
        self._taken[who] = leave
        if len(self._taken) > self._most:
            self._drops.note(self._crowded)
            self._taken.pop(next(iter(self._taken)))()

    def free(self, who: Hashable) -> None:
        """Take note that `who` needs no place any more."""
        self._taken.pop(who, None)

    def clear(self) -> None:
        """Let everybody leave."""
        while self._taken:
            self._taken.popitem()[1]()


class Door:
    """The door of one server. Belongs to its event loop."""

    def __init__(self, context: ssl.SSLContext | None, connections_max: int, drops: Drops) -> None:
        """
        Make a door.

        Args:
            context: of the TLS session that everybody has to begin; None for none.
            connections_max: how many may be inside, with or without a certificate.
            drops: is told who had to leave.

        """
        room = obtain(connections_max + HALF_OPEN_MAX + DESCRIPTORS_KEPT)
        spare = max(room - DESCRIPTORS_KEPT, room // 2)
        self.inside_max = min(connections_max, spare // 2)
        self.strangers = Places(min(STRANGERS_MAX, self.inside_max // 2), STRANGERS_CROWDED, drops)
        self._half_open = Places(min(HALF_OPEN_MAX, spare // 2), DOOR_CROWDED, drops)
        self._context = context
        self._drops = drops
        self._listener: socket.socket | None = None
        self._make_inside: Callable[[], asyncio.Protocol] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

    def open(self, listener: socket.socket, make_inside: Callable[[], asyncio.Protocol]) -> None:
        """Let clients in from now on; each gets a protocol of its own once its handshake is over."""
        listener.setblocking(False)  # noqa: FBT003 the standard library's
        self._listener, self._make_inside = listener, make_inside
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Let nobody in any more; whoever stands in the door leaves."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener = None
        self._half_open.clear()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            if self._listener is None:
                return
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._rest(self._listener)
                return
            arrival = _Arrival(client, self._let_in, self._half_open.free, self._drops)
            self._half_open.take(arrival, arrival.leave)
            if self._context is None:
                arrival.enter()
            else:
                arrival.look()

    def _rest(self, listener: socket.socket) -> None:
        """The system has no more descriptors: wait a moment for some to come back."""
        self._drops.note("net.no-descriptors")
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())
        loop.call_later(BREATH_S, self._resume)

    def _resume(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def _let_in(self, arrival: "_Arrival") -> None:
        task = asyncio.get_running_loop().create_task(self._shake_hands(arrival))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, arrival: "_Arrival") -> None:
        assert self._make_inside is not None  # noqa: S101 the door is open
        limit_s = None if self._context is None else HANDSHAKE_TIME_S
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_inside, arrival.client, ssl=self._context, ssl_handshake_timeout=limit_s
            )
        except OSError:
            pass  # a refusal has its line in the log (net.tls); one who left has none
        finally:
            arrival.is_in()


class _Arrival:
    """One client, from its connection to the end of its handshake."""

    def __init__(
        self,
        client: socket.socket,
        let_in: "Callable[[_Arrival], None]",
        free: "Callable[[_Arrival], None]",
        drops: Drops,
    ) -> None:
        self.client = client
        self._let_in = let_in
        self._free = free
        self._drops = drops
        self._loop = asyncio.get_running_loop()
        self._seen = -1
        self._waits = False
        self._timer = self._loop.call_later(HANDSHAKE_TIME_S, self._too_slow)
        client.setblocking(False)  # noqa: FBT003 the standard library's
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def look(self) -> None:
        """Begin TLS when the first record is there as a whole; else wait for the rest of it."""
        try:
            header = self.client.recv(_RECORD_HEADER_BYTES, socket.MSG_PEEK)
            wanted = _wanted(header)
            seen = len(self.client.recv(wanted, socket.MSG_PEEK))
        except BlockingIOError:
            self._wait(1, 0)
            return
        except OSError:
            self._end()
            return
        if seen >= wanted:
            self.enter()
        elif seen <= self._seen or not seen:
            self._end()  # woken, and nothing more is there: the client has left
        else:
            self._wait(wanted, seen)

    def enter(self) -> None:
        """Wait no longer."""
        self._stop_waiting()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._let_in(self)

    def leave(self) -> None:
        """Make room."""
        if self._timer.cancelled():  # in TLS: whoever reads there learns that it is over
            with contextlib.suppress(OSError):
                self.client.shutdown(socket.SHUT_RDWR)
        else:
            self._end()

    def is_in(self) -> None:
        """Give the place in the door back."""
        self._free(self)

    def _wait(self, for_bytes: int, seen: int) -> None:
        self._seen = seen
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, for_bytes)
        if not self._waits:
            self._waits = True
            self._loop.add_reader(self.client.fileno(), self.look)

    def _stop_waiting(self) -> None:
        self._timer.cancel()
        if self._waits:
            self._waits = False
            self._loop.remove_reader(self.client.fileno())

    def _too_slow(self) -> None:
        self._drops.note("net.handshake-too-slow")
        self._end()

    def _end(self) -> None:
        self._stop_waiting()
        self.client.close()
        self._free(self)


def _wanted(header: bytes) -> int:
    """Return how many bytes have to be there before TLS begins. What is no TLS at all is TLS's to refuse, at once."""
    if not header or header[:1] != _HANDSHAKE:
        return 1
    if len(header) < _RECORD_HEADER_BYTES:
        return _RECORD_HEADER_BYTES
    whole = _RECORD_HEADER_BYTES + int.from_bytes(header[3:5], "big")
    return whole if whole <= _RECORD_MAX_BYTES else 1
