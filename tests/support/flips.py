# SPDX-License-Identifier: Apache-2.0
"""Every single-bit change of some bytes, none left out."""

from collections.abc import Iterator


def every_flip(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield where the bit is, for the message of a failed test, and the bytes with that bit turned."""
    changed = bytearray(data)
    for index in range(len(data)):
        for bit in range(8):
            changed[index] ^= 1 << bit
            yield f"byte {index} bit {bit}", bytes(changed)
            changed[index] ^= 1 << bit
