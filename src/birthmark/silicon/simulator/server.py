# SPDX-License-Identifier: Apache-2.0
"""
The process around a simulated chip: one socket, one bus master at a time, the wire's time and the armed faults.

A master that connects closes the clamp: the chip gets power. When it lets go, the power goes too. A second master
waits in the listen queue until then.
"""

import contextlib
import socket
import time
from pathlib import Path
from typing import NoReturn

from birthmark.core.errors import ConfigError
from birthmark.silicon.bus.frames import REPLY, REQUEST, Op, Status, receive_exactly
from birthmark.silicon.simulator.armed import ArmedFaults, Fault
from birthmark.silicon.simulator.chip import Chip
from birthmark.silicon.timing import LatencyModel

WAITING_MASTERS = 16
_RECEIVE_BYTES = 4096
_ADDRESS_BYTES = 1
_SHORTEST_SLEEP_S = 0.0002


class _Dropped(Exception):
    """The bus adapter is pulled out."""


class Wire:
    """Lets the time pass that bytes need on the bus. Short times are added up: a sleep cannot be that short."""

    def __init__(self, latency: LatencyModel) -> None:
        self._latency = latency
        self._owed_s = 0.0

    def carry(self, byte_count: int) -> None:
        """Return when the address and so many bytes have gone over the wire."""
        self._owed_s += self._latency.bus_s(_ADDRESS_BYTES + byte_count)
        if self._owed_s >= _SHORTEST_SLEEP_S:
            start_s = time.monotonic()
            time.sleep(self._owed_s)
            self._owed_s -= time.monotonic() - start_s


class BusServer:
    """Serves one chip at one socket, until the process is told to stop."""

    def __init__(self, chip: Chip, faults: ArmedFaults, wire: Wire) -> None:
        self._chip = chip
        self._faults = faults
        self._wire = wire

    def serve(self, listener: socket.socket) -> NoReturn:
        """Serve one master after the other."""
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError, _Dropped, ValueError):
                self._chip.power_on()
                self._serve_master(connection)
            self._chip.power_off()

    def _serve_master(self, connection: socket.socket) -> None:
        while True:
            request = receive_exactly(connection, REQUEST.size, and_up_to=_RECEIVE_BYTES)
            code, address, length = REQUEST.unpack_from(request)
            op = Op(code)
            data = request[REQUEST.size :]
            if op != Op.READ and len(data) < length:
                data += receive_exactly(connection, length - len(data))
            if op == Op.CONTROL:
                status, answer = self._control(data), b""
            else:
                status, answer = self._transfer(op, address, length, data)
            connection.sendall(REPLY.pack(status, len(answer)) + answer)

    def _control(self, message: bytes) -> Status:
        try:
            self._faults.take_message(message)
        except ValueError:
            return Status.REFUSED
        return Status.ACK

    def _transfer(self, op: Op, address: int, length: int, data: bytes) -> tuple[Status, bytes]:
        if self._faults.expired(Fault.DROP_AFTER_TRANSFERS):
            raise _Dropped
        if self._faults.expired(Fault.CUT_AFTER_TRANSFERS):
            self._chip.power_off()
        acknowledged, answer = False, None
        if not self._faults.strikes(Fault.NAK_TRANSFERS):
            if op == Op.WRITE:
                self._wire.carry(length)
                acknowledged = self._chip.write(address, data)
            else:
                answer = self._chip.read(address, length)
                acknowledged = answer is not None
        if op == Op.READ or not acknowledged:
            self._wire.carry(length if acknowledged else 0)
        return (Status.ACK, answer or b"") if acknowledged else (Status.NAK, b"")


def listen(path: Path) -> socket.socket:
    """
    Return a listening socket that only this user can open, in place of one that a dead process left.

    Raises:
        ConfigError: something lives there.

    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if path.is_socket() and not _lives(path):
        path.unlink()
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen at {path}: {error.strerror or error}") from error
    path.chmod(0o600)
    listener.listen(WAITING_MASTERS)
    return listener


def _lives(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0
