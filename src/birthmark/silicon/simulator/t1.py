# SPDX-License-Identifier: Apache-2.0
"""
The chip's side of T=1' (GlobalPlatform GPC_SPE_172 version 1.0, the form with a 2-byte LEN).

Written apart from the firmware library, down to the CRC, so that the two check each other.
"""

import binascii
import struct

NAD_FROM_HOST = 0x5A
NAD_TO_HOST = 0xA5
CHIP_INFORMATION_BYTES = 1024
"""Largest information field that the chip accepts (IFSC), told in its CIP."""

COMMAND_LIMIT = 4096
"""Most bytes of a command APDU that comes in chained blocks."""

_HEADER = struct.Struct(">BBH")
_CRC = struct.Struct(">H")
_OVERHEAD = _HEADER.size + _CRC.size
_HOST_INFORMATION_BYTES = 254  # IFSD until the host says more
_IIN = bytes(4)  # issuer identification number: none
_I2C = 0x02  # physical layer identifier
_I2C_PARAMETERS = struct.Struct(">BBHBBH")

_NOT_INFORMATION = 0x80
_S_BLOCK = 0xC0
_R_NACK_CRC = 1
_R_NACK_OTHER = 2
_S_RESPONSE = 0x20
_S_RESYNCH, _S_IFS, _S_CIP, _S_SOFTWARE_RESET = 0xC0, 0xC1, 0xC4, 0xCF

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc16(data: bytes) -> int:
    """Return CRC-16/X-25: the plain CCITT register of the standard library, fed and read with the bits reversed."""
    register = binascii.crc_hqx(data.translate(_REVERSED), 0xFFFF) ^ 0xFFFF
    return _REVERSED[register & 0xFF] << 8 | _REVERSED[register >> 8]


class ChipLink:
    """Assembles command APDUs from blocks and cuts responses into blocks. Holds nothing that outlives the power."""

    def __init__(self, block_waiting_ms: int, bus_hz: int) -> None:
        self._interface = _interface_parameters(block_waiting_ms, bus_hz)
        self._restart()
        self._host_information_bytes = _HOST_INFORMATION_BYTES

    def receive(self, frame: bytes) -> bytes | None:
        """Take in one block. Returns a command APDU when it is complete; then `respond` is due."""
        if len(frame) < _OVERHEAD or _CRC.unpack(frame[-_CRC.size :])[0] != crc16(frame[: -_CRC.size]):
            self._refuse(_R_NACK_CRC)
            return None
        nad, pcb, length = _HEADER.unpack_from(frame)
        if nad != NAD_FROM_HOST or length != len(frame) - _OVERHEAD:
            self._refuse(_R_NACK_OTHER)
            return None
        inf = frame[_HEADER.size : -_CRC.size]
        if not pcb & _NOT_INFORMATION:
            return self._information(pcb, inf)
        if pcb & _S_BLOCK != _S_BLOCK:
            self._ready(pcb)
        else:
            self._supervisory(pcb, inf)
        return None

    def respond(self, response: bytes) -> None:
        """Put the response APDU of the command that `receive` returned on its way."""
        self._response = response
        self._send_part()

    def transmit(self) -> bytes:
        """Return the block that waits for the host; empty when none does. It stays until the next `receive`."""
        return self._outgoing

    def _restart(self) -> None:
        self._expecting = 0
        self._sending = 0
        self._command = b""
        self._response = b""
        self._outgoing = b""
        self._repeatable = b""

    def _information(self, pcb: int, inf: bytes) -> bytes | None:
        if pcb >> 6 != self._expecting or pcb & 0x1F or len(self._command) + len(inf) > COMMAND_LIMIT:
            self._refuse(_R_NACK_OTHER)
            return None
        self._expecting ^= 1
        self._command += inf
        if pcb & 0x20:
            self._put(0x80 | self._expecting << 4)
            return None
        command, self._command = self._command, b""
        return command

    def _ready(self, pcb: int) -> None:
        """Go on with a chained response, or repeat the block that the host did not get (ISO/IEC 7816-3 rule 7)."""
        if self._response and (pcb >> 4 & 1) == self._sending:
            self._send_part()
        elif self._repeatable:
            self._outgoing = self._repeatable
        else:
            self._refuse(_R_NACK_OTHER)

    def _supervisory(self, pcb: int, inf: bytes) -> None:
        if pcb == _S_RESYNCH:
            self._restart()
        elif pcb == _S_SOFTWARE_RESET:
            self._restart()
            self._host_information_bytes = _HOST_INFORMATION_BYTES
        elif pcb == _S_IFS and len(inf) in (1, 2) and any(inf):
            self._host_information_bytes = int.from_bytes(inf, "big")
        elif pcb != _S_CIP:
            self._refuse(_R_NACK_OTHER)
            return
        self._put(pcb | _S_RESPONSE, self._interface if pcb == _S_CIP else inf)

    def _send_part(self) -> None:
        size = self._host_information_bytes
        part, self._response = self._response[:size], self._response[size:]
        self._put(self._sending << 6 | (0x20 if self._response else 0), part)
        self._sending ^= 1

    def _put(self, pcb: int, inf: bytes = b"") -> None:
        self._outgoing = self._repeatable = _block(pcb, inf)

    def _refuse(self, error: int) -> None:
        # Not repeatable: a request to repeat means the last block that said something.
        self._outgoing = _block(0x80 | self._expecting << 4 | error, b"")


def _block(pcb: int, inf: bytes) -> bytes:
    block = _HEADER.pack(NAD_TO_HOST, pcb, len(inf)) + inf
    return block + _CRC.pack(crc16(block))


def _interface_parameters(block_waiting_ms: int, bus_hz: int) -> bytes:
    """Return the CIP: PVER | len IIN | PLID | len PLP | len DLLP = BWT, IFSC | len HB (GPC_SPE_172 §4)."""
    # PLP of I2C: configuration, power wake-up time ms, maximum clock kHz, power-saving time-out, polling 0.1 ms, guard.
    physical = _I2C_PARAMETERS.pack(0, 0, min(bus_hz // 1000, 0xFFFF), 0, 2, 0)
    link = struct.pack(">HH", block_waiting_ms, CHIP_INFORMATION_BYTES)
    return b"\x01" + _sized(_IIN) + bytes((_I2C,)) + _sized(physical) + _sized(link) + _sized(b"")


def _sized(part: bytes) -> bytes:
    return bytes((len(part),)) + part
