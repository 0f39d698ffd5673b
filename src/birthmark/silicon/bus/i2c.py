# SPDX-License-Identifier: Apache-2.0
"""The host's end of a simulated I2C bus, in the shape of MicroPython's `machine.I2C`."""

import errno
import socket
from pathlib import Path

from birthmark.silicon.bus.frames import REPLY, REQUEST, TRANSFER_LIMIT, Op, Status, receive_exactly
from birthmark.silicon.errors import ChipAbsent
from birthmark_mcu.bus import I2C

REPLY_TIMEOUT_S = 10.0
"""How long to wait for the other end, which is also how long to wait for another master to let go of the bus."""


class SimulatedI2C(I2C):
    """
    The master of one simulated bus, which it holds alone until `deinit`: the chip has power for just as long.

    Raises:
        ChipAbsent: nothing listens at the socket.

    """

    def __init__(self, path: Path, timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise ChipAbsent(
                f"no simulated bus at {path}: {error.strerror or error}",
                hint="start it with python -m birthmark.silicon.simulator",
            ) from error

    def writeto(self, address: int, data: bytes) -> int:
        """Write the data in one transfer; return how many bytes. OSError EIO when the chip does not acknowledge."""
        self._transfer(REQUEST.pack(Op.WRITE, address, len(data)) + data, 0)
        return len(data)

    def readfrom(self, address: int, count: int) -> bytes:
        """Return `count` bytes read in one transfer. OSError EIO when the chip does not acknowledge."""
        count = min(count, TRANSFER_LIMIT)
        return self._transfer(REQUEST.pack(Op.READ, address, count), count)

    def control(self, data: bytes) -> None:
        """Carry a message to the simulator itself. OSError when it is not understood."""
        self._transfer(REQUEST.pack(Op.CONTROL, 0, len(data)) + data, 0)

    def deinit(self) -> None:
        """Let go of the bus; the chip loses power."""
        self._socket.close()

    def _transfer(self, request: bytes, count: int) -> bytes:
        self._socket.sendall(request)
        received = receive_exactly(self._socket, REPLY.size, and_up_to=count)
        status, length = REPLY.unpack_from(received)
        missing = REPLY.size + length - len(received)
        if missing > 0:
            received += receive_exactly(self._socket, missing)
        if status == Status.NAK:
            raise OSError(errno.EIO, "the address was not acknowledged")
        if status != Status.ACK:
            raise OSError(errno.EINVAL, "the simulator refused the request")
        return received[REPLY.size :]
