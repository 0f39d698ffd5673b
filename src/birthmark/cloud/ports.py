# SPDX-License-Identifier: Apache-2.0
"""What the cloud service needs from outside."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from birthmark.core.fleet import Command, RegisteredDevice, Telemetry


@dataclass(frozen=True, slots=True)
class CRLAnswer:
    """The bytes of a revocation list, DER, and the tag under which its publisher knows it; "" for none."""

    body: bytes
    tag: str = ""


# Returns the current list; None while it still is the one with this tag. Raises BirthmarkError when it cannot be had.
FetchCRL = Callable[[str], CRLAnswer | None]
# Returns the page of the feed after this number, held back for at most so many seconds while it has no change.
FetchChanges = Callable[[int, float], bytes]


class Registry(Protocol):
    """
    The devices, their commands and their telemetry, on disk.

    A write is durable when its method returns, or when the surrounding `transaction` ends.
    """

    def transaction(self) -> AbstractContextManager[None]:
        """Hold the write lock: what is read inside stays true until the block ends. An exception undoes the block."""
        ...

    def device(self, unit: str) -> RegisteredDevice | None:
        """Return the device registered under the unit serial."""
        ...

    def unit_of_chip(self, chip_model: str, chip_serial: str) -> str | None:
        """Return the unit that the chip is bound to."""
        ...

    def is_superseded(self, certificate_sha256: str) -> bool:
        """Say whether a newer certificate of the same unit has been used since."""
        ...

    def register(self, device: RegisteredDevice) -> None:
        """Write a unit's first row."""
        ...

    def renew(self, device: RegisteredDevice) -> None:
        """Make this certificate and its chip the unit's current ones; the certificate before is superseded for good."""
        ...

    def touch(self, unit: str, at: datetime) -> None:
        """Note that the unit's certificate was verified at this time."""
        ...

    def devices(self) -> Iterable[RegisteredDevice]:
        """Return every device, by unit serial."""
        ...

    def add_telemetry(self, telemetry: Telemetry) -> None:
        """Keep one message."""
        ...

    def telemetry(self, unit: str) -> Iterable[Telemetry]:
        """Return the unit's messages, oldest first."""
        ...

    def add_command(self, unit: str, name: str, payload: str, at: datetime) -> int:
        """Queue a command; return its id."""
        ...

    def next_command(self, unit: str) -> Command | None:
        """Return the oldest command of the unit that is not done."""
        ...

    def finish_command(self, unit: str, command_id: int, at: datetime) -> bool:
        """Mark the unit's command as done, once or again; False when the unit has no such command."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...
