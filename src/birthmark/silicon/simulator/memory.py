# SPDX-License-Identifier: Apache-2.0
"""What the chip keeps without power: one immutable record in one file, replaced as a whole or not at all."""

import os
from enum import IntEnum, IntFlag
from pathlib import Path

import msgspec

from birthmark.core.errors import ConfigError
from birthmark.silicon.simulator.keys import KeyType, new_key


class LifeCycle(IntEnum):
    """How far the maker has brought the chip. It never goes back."""

    CREATED = 1
    OPERATIONAL = 3
    DEBUG = 5
    """As OPERATIONAL, but with the debug port left open: no honest maker ships it."""


class KeyAttribute(IntFlag):
    """What a key may do besides signing, asked for when it is made."""

    NONE = 0
    EXPORTABLE = 1
    DECRYPT = 2


class SlotMemory(msgspec.Struct, frozen=True):
    """One slot: a private key (PKCS#8 DER) with its attributes, and a certificate."""

    key: bytes | None = None
    attributes: int = 0
    certificate: bytes | None = None


class ChipMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that the chip remembers."""

    model: str
    serial: str
    firmware: str
    ak_key: bytes
    ak_certificates: tuple[bytes, ...] = ()
    life_cycle: LifeCycle = LifeCycle.CREATED
    slots: tuple[SlotMemory, SlotMemory] = (SlotMemory(), SlotMemory())
    active: int = 0


def new_memory(model: str, serial: str, firmware: str) -> ChipMemory:
    """Return the memory of a chip fresh from the wafer, with an attestation key of its own."""
    return ChipMemory(model=model, serial=serial, firmware=firmware, ak_key=new_key(KeyType.P256))


class MemoryFile:
    """The file behind a chip's memory. Keys stand in it in the clear: it simulates the silicon."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self._path = path
        self._durable = durable

    def exists(self) -> bool:
        """Return whether there is a chip in the file."""
        return self._path.exists()

    def load(self) -> ChipMemory:
        """Return the memory as last saved. Raises ConfigError when the file is not a chip's."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=ChipMemory)
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"{self._path} is not the state of a simulated chip: {error}") from error

    def save(self, memory: ChipMemory) -> None:
        """Replace the record: whoever reads, even after a crash, finds the old one or the new one."""
        temporary = self._path.with_name(f"{self._path.name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 opened with its mode bits, which Path.open cannot give
            file.write(msgspec.json.encode(memory))
            if self._durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(self._path)
