# SPDX-License-Identifier: Apache-2.0
"""
The host's side of T=1' over I2C: whole APDUs out and in, over a bus that may lose bits and a chip that is often busy.

A busy chip does not acknowledge its address, so the host polls: the first time when the caller's hint says that the
chip should be done, then with growing pauses. A broken block is asked for again (R-block), a few times; then the two
sides are set back to the start (RESYNCH) and the caller is told. Every wait has an end.
"""

from birthmark_mcu import blocks
from birthmark_mcu.blocks import BadBlock, Block
from birthmark_mcu.bus import I2C
from birthmark_mcu.errors import LinkFailed, NoChip
from birthmark_mcu.ticks import elapsed_ms, now_ms, pause_us

ADDRESS = 0x48
"""7-bit bus address, the usual default of T=1' chips."""

RETRY_LIMIT = 3
"""Broken blocks in a row that are asked for again before the link is given up."""

WTX_LIMIT = 8
"""How often in a row a chip may ask for more time."""

FIRST_CONTACT_MS = 100
"""How long a chip may keep silent at first contact before it counts as absent."""

RESYNCH_MS = 50
"""How long a chip may keep silent when a failed link is set back."""

BLOCK_WAITING_MS = 1000
"""How long a chip may be busy without asking for more time, until its CIP says otherwise."""

WAITING_LIMIT_MS = 10_000
"""The longest wait that a chip may ask for, in its CIP or with WTX."""

INFORMATION_BYTES = 1024
"""Largest information field that this side accepts (IFSD), announced at first contact."""

RESPONSE_LIMIT = 16384
"""The longest response APDU that is collected from chained blocks: a certificate with ML-DSA, and room to spare."""

_CHIP_INFORMATION_BYTES = 254
_NAK_ERRNOS = (5, 19)  # EIO and ENODEV: what MicroPython's ports and Linux raise for an address without ACK
_POLL_FIRST_US = 200
_POLL_LAST_US = 2000
_SHORTEST_READ = blocks.OVERHEAD_BYTES + 2  # every answer to a command has at least its status word
_CIP_BYTES = 32


class _Silent(Exception):
    """The chip did not acknowledge in time."""


class Link:
    """One chip on one bus. Call `open` first; `exchange` then carries one APDU each way."""

    def __init__(self, bus: I2C, address: int = ADDRESS) -> None:
        self._bus = bus
        self._address = address
        self._sending = 0
        self._expecting = 0
        self._block_waiting_ms = BLOCK_WAITING_MS
        self.chip_information_bytes = _CHIP_INFORMATION_BYTES

    def open(self) -> None:
        """
        Set both sides to the start, learn the chip's limits and announce ours.

        Raises:
            NoChip: nothing acknowledged the address.
            LinkFailed: something did, but no T=1' chip.

        """
        try:
            self._resynch(FIRST_CONTACT_MS)
            self._read_interface_parameters()
            size = INFORMATION_BYTES.to_bytes(2, "big")
            if self._supervise(blocks.IFS, size, self._block_waiting_ms) != size:
                raise LinkFailed("the chip did not accept the block size")
        except _Silent:
            raise NoChip(f"nothing acknowledges bus address {self._address:02X}") from None

    def exchange(self, apdu: bytes, wait_us: int = 0, expected_bytes: int = 2) -> bytes:
        """
        Send a command APDU and return the response APDU.

        Args:
            apdu: the command.
            wait_us: how long the chip is likely to be busy; nothing is polled before.
            expected_bytes: likely length of the response, so that one bus read can fetch it whole.

        Raises:
            LinkFailed: the retries are used up. Whether the chip has acted is unknown.

        """
        try:
            first = self._send_chain(apdu, wait_us, expected_bytes)
            return self._receive_chain(first)
        except _Silent:
            raise self._broken("the chip keeps silent") from None

    def _send_chain(self, apdu: bytes, wait_us: int, expected_bytes: int) -> Block:
        size = self.chip_information_bytes
        while len(apdu) > size:
            answer = self._converse(self._information(apdu[:size], blocks.I_MORE), 0, 0)
            if not answer.is_ready():
                raise self._broken("the chip did not acknowledge a part of the command")
            apdu = apdu[size:]
        return self._converse(self._information(apdu, 0), wait_us, expected_bytes)

    def _receive_chain(self, block: Block) -> bytes:
        received = b""
        while True:
            if not block.is_information() or block.number() != self._expecting:
                raise self._broken("the chip answered with a block out of turn")
            self._expecting ^= 1
            received += block.inf
            if not block.more():
                return received
            if not block.inf or len(received) > RESPONSE_LIMIT:
                raise self._broken("the chip's response has no end")
            acknowledgement = blocks.encode(blocks.NAD_TO_CHIP, self._ready(0))
            block = self._converse(acknowledgement, 0, 0)

    def _information(self, inf: bytes, more: int) -> bytes:
        pcb = more | (blocks.I_NUMBER if self._sending else 0)
        self._sending ^= 1
        return blocks.encode(blocks.NAD_TO_CHIP, pcb, inf)

    def _ready(self, error: int) -> int:
        return blocks.R_BLOCK | (blocks.R_NUMBER if self._expecting else 0) | error

    def _converse(self, frame: bytes, wait_us: int, expected_bytes: int) -> Block:
        """Send a frame and return the block that answers it, after as many repetitions as the limits allow."""
        outgoing = frame
        waiting_ms = self._block_waiting_ms
        failures = extensions = 0
        while failures <= RETRY_LIMIT and extensions <= WTX_LIMIT:
            self._write(outgoing, waiting_ms)
            pause_us(wait_us)
            wait_us = 0
            try:
                block = self._read(expected_bytes, waiting_ms)
            except BadBlock as bad:
                failures += 1
                outgoing = blocks.encode(blocks.NAD_TO_CHIP, self._ready(bad.code))
                continue
            if block.is_supervisory(blocks.WTX) and block.inf:
                extensions += 1
                waiting_ms = min(self._block_waiting_ms * block.inf[0], WAITING_LIMIT_MS)
                outgoing = blocks.encode(blocks.NAD_TO_CHIP, blocks.S_BLOCK | blocks.S_RESPONSE | blocks.WTX, block.inf)
            elif block.is_ready() and (block.number() != self._sending or block.pcb & blocks.R_ERROR):
                # N(R) says which block the chip still wants: the command itself, or only our request to repeat.
                failures += 1
                outgoing = frame if block.number() != self._sending else outgoing
            else:
                return block
        raise self._broken("too many broken blocks or requests for time")

    def _broken(self, problem: str) -> LinkFailed:
        """Set both sides back to the start if the chip still can, and return what to raise."""
        try:
            self._resynch(RESYNCH_MS)
        except (_Silent, LinkFailed):
            problem += ", nor did it answer RESYNCH"
        return LinkFailed(problem)

    def _resynch(self, waiting_ms: int) -> None:
        self._supervise(blocks.RESYNCH, b"", waiting_ms)
        self._sending = self._expecting = 0

    def _read_interface_parameters(self) -> None:
        """Read the CIP: PVER | len IIN | PLID | len PLP | len DLLP = BWT (ms), IFSC | len HB (GPC_SPE_172 §4)."""
        cip = self._supervise(blocks.CIP, b"", self._block_waiting_ms, _CIP_BYTES)
        try:
            physical = 2 + cip[1] + 1
            link = physical + 1 + cip[physical]
            self._block_waiting_ms = min(cip[link + 1] << 8 | cip[link + 2], WAITING_LIMIT_MS)
            self.chip_information_bytes = cip[link + 3] << 8 | cip[link + 4]
        except IndexError:
            raise LinkFailed("the chip's interface parameters are too short") from None
        if not 0 < self.chip_information_bytes <= blocks.IFS_LIMIT:
            raise LinkFailed("the chip's block size is out of range")

    def _supervise(self, kind: int, inf: bytes, waiting_ms: int, expected_bytes: int = 0) -> bytes:
        """Send an S-block request and return the information of its response."""
        for _ in range(RETRY_LIMIT + 1):
            self._write(blocks.encode(blocks.NAD_TO_CHIP, blocks.S_BLOCK | kind, inf), waiting_ms)
            try:
                answer = self._read(expected_bytes or len(inf), waiting_ms)
            except BadBlock:
                continue
            if answer.is_supervisory(blocks.S_RESPONSE | kind):
                return answer.inf
        raise LinkFailed("the chip does not answer the request for link control")

    def _write(self, frame: bytes, waiting_ms: int) -> None:
        self._poll(waiting_ms, write=frame)

    def _read(self, expected_bytes: int, waiting_ms: int) -> Block:
        """Read a block: one transfer when the expectation holds, else one more for what is missing."""
        count = max(expected_bytes + blocks.OVERHEAD_BYTES, _SHORTEST_READ)
        frame = self._poll(waiting_ms, read=count)
        length = blocks.information_length(frame)
        if length > INFORMATION_BYTES:
            raise BadBlock("longer than the block size that was agreed", blocks.ERROR_OTHER)
        missing = length + blocks.OVERHEAD_BYTES - count
        if missing > 0:
            frame += self._poll(waiting_ms, read=missing)
        # What the chip clocks out behind the end of its block is padding.
        return blocks.decode(blocks.NAD_FROM_CHIP, frame[: length + blocks.OVERHEAD_BYTES])

    def _poll(self, waiting_ms: int, *, write: bytes = b"", read: int = 0) -> bytes:
        """Write, or else read, as soon as the chip acknowledges. Raises _Silent, or LinkFailed for a broken bus."""
        start = now_ms()
        pause = _POLL_FIRST_US
        while True:
            try:
                if not write:
                    return self._bus.readfrom(self._address, read)
                self._bus.writeto(self._address, write)
            except OSError as error:
                if error.errno not in _NAK_ERRNOS:
                    raise LinkFailed(f"the bus failed: {error}") from error
            else:
                return b""
            if elapsed_ms(start) >= waiting_ms:
                raise _Silent
            pause_us(pause)
            pause = min(2 * pause, _POLL_LAST_US)
