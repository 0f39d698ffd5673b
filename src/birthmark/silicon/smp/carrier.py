# SPDX-License-Identifier: Apache-2.0
"""
Frames to a board and back: smpclient's transports, on an event loop of our own.

A carrier belongs to one thread at a time, which must not run an event loop itself while it calls.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from smpclient.transport import SMPTransport, SMPTransportDisconnected
from smpclient.transport.serial import SMPSerialTransport
from smpclient.transport.udp import SMPUDPTransport

from birthmark.silicon.errors import ChipAbsent, ChipCommunication
from birthmark.silicon.smp.messages import LOOK_AGAIN
from birthmark.silicon.smp.place import Place, SerialPlace
from birthmark_mcu.smp.registry import CRC_BYTES, LENGTH_BYTES

OPEN_S = 1.0
"""How long it is tried to open a port that is there."""

SEND_S = 2.0
"""How long a line may take to accept a frame."""

RECEIVED_LIMIT = 65_536
"""Most bytes on a serial line from one request to its answer, other programs' output included."""

_T = TypeVar("_T")

# They log whole frames, nonces included, and say on stderr what our errors say to the line.
for _name in ("smp", "smpclient"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class _SerialTransport(SMPSerialTransport):
    """smpclient's transport, with an end to what a line can make it read: it would read for ever while bytes come."""

    received = 0
    _unread = 0

    async def _process_buffer(self) -> None:
        self.received += len(self._buffer) - self._unread
        if self.received > RECEIVED_LIMIT:
            raise SMPTransportDisconnected("too much on the line that is no answer")
        await super()._process_buffer()
        self._unread = len(self._buffer)
        await asyncio.sleep(0)  # where a time-out strikes


class Carrier:
    """
    The way to one board, open until `close`.

    Raises:
        ChipAbsent: there is no such port, or it cannot be opened.

    """

    def __init__(self, place: Place) -> None:
        self._place = place
        if isinstance(place, SerialPlace) and not os.access(place.path, os.R_OK | os.W_OK):
            raise self._absent("there is no such port, or it is not for this user")
        self._loop = asyncio.new_event_loop()
        try:
            self._transport = self._run(self._connected(place), None)
        except ChipCommunication as error:
            self._loop.close()
            problem = "it is in use, or it is no port" if isinstance(place, SerialPlace) else error.message
            raise self._absent(problem) from error

    def agree(self, frame_bytes: int) -> None:
        """Send frames of up to so many bytes from now on."""
        # A console's buffer holds length and CRC as well; smpclient takes them off again.
        self._transport.initialize(frame_bytes + LENGTH_BYTES + CRC_BYTES)

    def send(self, frame: bytes) -> None:
        """Send a frame. Raises ChipCommunication."""
        if isinstance(self._transport, _SerialTransport):
            self._transport.received = 0
        self._run(self._transport.send(frame), SEND_S)

    def receive(self, timeout_s: float) -> bytes:
        """Return the next frame. Raises ChipCommunication when none comes in time, or one that is damaged."""
        return bytes(self._run(self._transport.receive(), timeout_s))

    def close(self) -> None:
        """Let go of the port. What still comes is not heard."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(ChipCommunication):
            self._run(self._disconnected(), None)
        self._loop.close()

    async def _connected(self, place: Place) -> SMPTransport:
        transport: SMPTransport
        if isinstance(place, SerialPlace):
            transport = _SerialTransport(baudrate=place.baud, write_timeout=SEND_S, exclusive=True)
            await transport.connect(place.path, OPEN_S)
        else:
            transport = SMPUDPTransport()
            await transport.connect(place.host, OPEN_S, place.port)
        return transport

    async def _disconnected(self) -> None:
        await self._transport.disconnect()
        await asyncio.sleep(0)  # in which asyncio closes a socket

    def _run(self, work: Coroutine[Any, Any, _T], timeout_s: float | None) -> _T:
        try:
            return self._loop.run_until_complete(asyncio.wait_for(work, timeout_s))
        except TimeoutError:
            raise self._failed(f"nothing within {timeout_s:.2g} s" if timeout_s else "time-out") from None
        except Exception as error:  # smpclient lets through whatever a malformed frame makes it raise
            raise self._failed(str(error) or type(error).__name__) from error

    def _failed(self, problem: str) -> ChipCommunication:
        return ChipCommunication(f"the link to {self._place} failed: {problem}", hint=LOOK_AGAIN)

    def _absent(self, problem: str) -> ChipAbsent:
        return ChipAbsent(
            f"no board at {self._place}: {problem}", hint="look at the address, the cable and the board's power"
        )
