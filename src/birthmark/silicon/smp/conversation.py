# SPDX-License-Identifier: Apache-2.0
"""
One conversation with a board: requests in turn, long values in parts, and no change without the board's revision.

Nothing is sent twice but `open`, which changes nothing. After a failure the conversation is over; the next call begins
another one, in which frames of the first mean nothing to the board.
"""

import hashlib
import secrets
import time

from birthmark.core.cbor import CBORValue
from birthmark.silicon.errors import ChipAbsent, ChipCommunication, ChipError, ChipFull, ChipRefused
from birthmark.silicon.smp.carrier import Carrier
from birthmark.silicon.smp.messages import LOOK_AGAIN, Answer, Request, is_answer_to, read_answer
from birthmark.silicon.smp.place import Place
from birthmark_mcu.smp import registry as smp

BOARD_S = 2.0
"""How long the answer to a request may take that is the board's alone."""

CHIP_S = 12.0
"""The same, when the chip is asked: it may take the 10 s that the firmware grants it."""

OPEN_TRIES = 4
OPEN_TRY_S = 0.75
"""How often `open` is sent, and how long each is waited for: a board that has just got power is still starting."""

RESULT_LIMIT = 65_536
"""Longest value that is fetched from a board."""

_SEQUENCES = 256
_BESIDE_DATA_BYTES = 48
"""More than header, keys and numbers of any request with data need."""


class Conversation:
    """
    Speaks to one board, from the construction on.

    Raises:
        ChipAbsent: nobody answers there, or the board has no chip.
        ChipError: as `call`.

    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._carrier: Carrier | None = None
        self._sequence = secrets.randbelow(_SEQUENCES)
        self._frame_bytes = smp.FRAME_BYTES_MAX
        self._stage_bytes = 0
        self._revision: int | None = None
        self._opened()

    def call(self, operation: int, command: int, doing: str, **fields: CBORValue) -> Answer:
        """
        Send one request and return its answer.

        Raises:
            ChipCommunication: it was lost, damaged, or too late. Whether it was done is unknown.
            ChipRefused: it was not done.
            ChipAbsent: the board has no chip.

        """
        carrier = self._opened()
        request = Request(operation, command, self._next_sequence(), dict(fields.items()), doing)
        if len(request.frame) > self._frame_bytes:
            raise ChipRefused(f"cannot {doing}: it does not fit into the board's frame of {self._frame_bytes} bytes")
        try:
            carrier.send(request.frame)
            timeout_s = BOARD_S if command in (smp.STAGE, smp.RESULT) else CHIP_S
            return read_answer(request, carrier.receive(timeout_s), self._frame_bytes)
        except ChipCommunication:
            self.close()
            raise

    def change(self, command: int, doing: str, **fields: CBORValue) -> Answer:
        """Send a request that changes the chip, once. Raises like `call`."""
        if self._revision is None:
            self.look(doing)
        # Whatever comes of it, this revision is used up.
        revision, self._revision = self._revision, None
        answer = self.call(smp.WRITE, command, doing, rev=revision, **fields)
        self._revision = answer.integer("rev")
        return answer

    def look(self, doing: str) -> tuple[int, list[int]]:
        """Return the number of the active slot, and of what each slot holds. Raises like `call`."""
        answer = self.call(smp.READ, smp.STATE, doing).must_have("rev", "active", "slots")
        self._revision = answer.integer("rev")
        return answer.integer("active"), answer.integers("slots")

    def stage(self, whole: bytes, doing: str) -> bytes:
        """Bring a long value to the board, in parts; return its SHA-256. Raises like `call`."""
        self._opened()
        if len(whole) > self._stage_bytes:
            raise ChipFull(f"cannot {doing}: the board has room for {self._stage_bytes} bytes")
        at = self._stage_part(whole, 0, doing)
        while at < len(whole):
            at = self._stage_part(whole, at, doing)
        return hashlib.sha256(whole).digest()

    def fetch(self, answer: Answer, doing: str) -> bytes:
        """Return the whole of the value that an answer begins; the board has kept the rest. Raises like `call`."""
        size, whole = answer.integer("size"), answer.octets("data")
        if size > RESULT_LIMIT:
            raise self._over(f"cannot {doing}: the board announces {size} bytes")
        while len(whole) < size:
            more = self.call(smp.READ, smp.RESULT, doing, off=len(whole)).must_have("off", "data")
            if more.integer("off") != len(whole) or not more.octets("data"):
                raise self._over(f"cannot {doing}: the board sends another part than the next")
            whole += more.octets("data")
        if len(whole) != size or hashlib.sha256(whole).digest() != answer.octets("sha"):
            raise self._over(f"cannot {doing}: the parts from the board do not make up the whole")
        return whole

    def fits(self, data: bytes) -> bool:
        """Return whether the data can be sent within one request, beside a slot."""
        return len(data) <= self._frame_bytes - _BESIDE_DATA_BYTES

    def close(self) -> None:
        """Let go of the port."""
        self._revision = None
        if self._carrier is not None:
            self._carrier.close()
            self._carrier = None

    def _stage_part(self, whole: bytes, at: int, doing: str) -> int:
        part = whole[at : at + self._frame_bytes - _BESIDE_DATA_BYTES]
        answer = self.call(smp.WRITE, smp.STAGE, doing, off=at, size=len(whole), data=part).must_have("off")
        if answer.integer("off") != at + len(part):
            raise self._over(f"cannot {doing}: the board lost a part of what was sent to it")
        return at + len(part)

    def _over(self, problem: str) -> ChipCommunication:
        self.close()
        return ChipCommunication(problem, hint=LOOK_AGAIN)

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) % _SEQUENCES
        return self._sequence

    def _opened(self) -> Carrier:
        """Return the carrier, over which a conversation has begun."""
        if self._carrier is None:
            self._carrier = Carrier(self._place)
            try:
                self._begin(self._carrier)
            except ChipError:
                self.close()
                raise
        return self._carrier

    def _begin(self, carrier: Carrier) -> None:
        answer = self._first_contact(carrier).must_have("v", "frame", "stage", "rev")
        frame_bytes = answer.integer("frame")
        if not smp.FRAME_BYTES_MIN <= frame_bytes <= smp.FRAME_BYTES_MAX:
            raise ChipRefused(f"the board at {self._place} has frames of {frame_bytes} bytes, which is out of range")
        self._frame_bytes = frame_bytes
        self._stage_bytes = answer.integer("stage")
        self._revision = answer.integer("rev")
        carrier.agree(frame_bytes)

    def _first_contact(self, carrier: Carrier) -> Answer:
        """Send `open` until it is answered; return the answer to the one that was sent last."""
        doing = f"speak to the board at {self._place}"
        reason = ""
        for _ in range(OPEN_TRIES):
            request = Request(smp.WRITE, smp.OPEN, self._next_sequence(), {"v": smp.LINK_VERSION}, doing)
            try:
                carrier.send(request.frame)
                return read_answer(request, _answer_to(request, carrier), smp.FRAME_BYTES_MAX)
            except ChipCommunication as error:
                reason = error.message
        raise ChipAbsent(
            f"nobody answers at {self._place}: {reason}", hint="look at the board's power, its firmware and the address"
        )


def _answer_to(request: Request, carrier: Carrier) -> bytes:
    """Return the answer to `open`, past whatever was meant for an earlier conversation. Raises ChipCommunication."""
    end_s = time.monotonic() + OPEN_TRY_S
    while True:
        frame = carrier.receive(max(0.0, end_s - time.monotonic()))
        if is_answer_to(request, frame):
            return frame
