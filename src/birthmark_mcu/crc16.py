# SPDX-License-Identifier: Apache-2.0
"""
The two CRC-16 of this library, both with the polynomial 0x1021.

X-25 (reflected, start FFFF, final XOR FFFF; ISO/IEC 13239) as T=1' uses it;
XMODEM (start 0) as SMP over console uses it.
"""

_POLYNOMIAL = 0x8408


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


# One look-up per byte: ten times faster than bit by bit, for 1 kB of RAM on the MCU.
_TABLE = tuple(_entry(byte) for byte in range(256))


def _nibble(value: int) -> int:
    crc = value << 12
    for _ in range(4):
        crc = crc << 1 ^ (0x11021 if crc & 0x8000 else 0)
    return crc


# Four bits per look-up: a serial line is slow, and RAM is not plenty.
_NIBBLES = tuple(_nibble(value) for value in range(16))


def crc16(data: bytes) -> int:
    """Return the CRC of the data; `crc16(b"123456789")` is 0x906E."""
    table = _TABLE
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFF


def crc16_xmodem(data: bytes) -> int:
    """Return the CRC of the data; `crc16_xmodem(b"123456789")` is 0x31C3."""
    table = _NIBBLES
    crc = 0
    for byte in data:
        crc = (crc << 4 & 0xFFF0) ^ table[crc >> 12 ^ byte >> 4]
        crc = (crc << 4 & 0xFFF0) ^ table[crc >> 12 ^ byte & 0x0F]
    return crc
