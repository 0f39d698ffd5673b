# SPDX-License-Identifier: Apache-2.0
"""A strict reader of big-endian binary structures."""

from typing import Self

from birthmark.core.errors import DecodeError


class ByteReader:
    """
    Reads fields from front to back; a short read or a leftover byte is a DecodeError that names the structure.

    Use as a context manager: leaving the block without an error demands that everything was consumed.
    """

    def __init__(self, data: bytes, structure: str) -> None:
        self._data = data
        self._offset = 0
        self._structure = structure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None and self._offset != len(self._data):
            raise self.error(f"{len(self._data) - self._offset} bytes are left over")

    def error(self, problem: str) -> DecodeError:
        """Return a DecodeError that says where in the structure the problem was met."""
        return DecodeError(f"{self._structure} at byte {self._offset}: {problem}")

    def take(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        end = self._offset + count
        if end > len(self._data):
            raise self.error(f"{count} bytes wanted, {len(self._data) - self._offset} left")
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def u8(self) -> int:
        """Return an unsigned 8-bit integer."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Return an unsigned 16-bit integer."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Return an unsigned 32-bit integer."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """Return an unsigned 64-bit integer."""
        return int.from_bytes(self.take(8), "big")

    def sized16(self) -> bytes:
        """Return the bytes behind a 16-bit length, as a TPM2B structure has it."""
        return self.take(self.u16())
