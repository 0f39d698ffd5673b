# SPDX-License-Identifier: Apache-2.0
"""
How the bytes of the simulated I2C bus travel over a stream socket: one request, one reply, in turn.

    request  op 1 byte | 7-bit address 1 byte | length 2 bytes, big-endian | data (not with READ)
    reply    status 1 byte | length 2 bytes, big-endian | data

WRITE carries the bytes of one transfer, READ the number of bytes wanted as its length. CONTROL is not part of the bus:
it arms a fault (`silicon.simulator.faults`).
"""

import socket
import struct
from enum import IntEnum

REQUEST = struct.Struct(">BBH")
REPLY = struct.Struct(">BH")
TRANSFER_LIMIT = 0xFFFF
"""Most bytes in one transfer: what the length can say."""


class Op(IntEnum):
    """What the bus master asks for."""

    WRITE = 1
    READ = 2
    CONTROL = 3


class Status(IntEnum):
    """How a transfer ended."""

    ACK = 0
    NAK = 1
    REFUSED = 2


def receive_exactly(connection: socket.socket, count: int, and_up_to: int = 0) -> bytes:
    """
    Return `count` bytes from a stream, and as many as `and_up_to` more that have come with them.

    Raises:
        ConnectionResetError: the stream ended before.
        OSError: the socket failed or timed out.

    """
    received = b""
    while len(received) < count:
        more = connection.recv(count + and_up_to - len(received))
        if not more:
            raise ConnectionResetError("the other end of the simulated bus is gone")
        received += more
    return received
