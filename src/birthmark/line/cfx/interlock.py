# SPDX-License-Identifier: Apache-2.0
"""
The interlock: before work begins the factory is asked whether these units may be worked on here (ValidateUnitsRequest).

The question and what an answer means are pure. Who asks waits for `timeout_s`; what happens when nobody answers is the
configuration's word: the panel waits and the factory is asked again, or goes on and the clearance says that nobody
gave it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID, uuid4

import proton

from birthmark.core.clock import Clock
from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused
from birthmark.core.errors import DecodeError
from birthmark.core.line_events import Place
from birthmark.line.cfx.amqp import Connection, Peer
from birthmark.line.cfx.envelope import Envelope, decode, encode, unique_id
from birthmark.line.cfx.errors import InterlockUnanswered
from birthmark.line.cfx.framing import from_amqp, to_amqp
from birthmark.line.cfx.mapping import units_of
from birthmark.line.cfx.messages import NotSupportedResponse, ValidateUnitsRequest, ValidateUnitsResponse
from birthmark.line.cfx.structures import StatusResult, UnitPosition, ValidationResult, ValidationStatus, ValidationType
from birthmark.line.interlock import Clearance, Refusal
from birthmark.line.ports import Stopwatch

Unanswered = Literal["stop", "go"]
REFUSED: Final = "cfx.interlock.refused"
UNMENTIONED: Final = "cfx.interlock.unmentioned"


@dataclass(frozen=True, slots=True)
class Desk:
    """Whom to ask, where the answer comes in, how long to wait, and what silence means."""

    handle: str
    target: str
    request_address: str
    reply_address: str
    timeout_s: float
    unanswered: Unanswered
    validations: tuple[ValidationType, ...] = (ValidationType.ROUTE, ValidationType.STATUS)


def question(places: Sequence[Place], desk: Desk, request_id: UUID, at: datetime) -> Envelope:
    """Return the request for a panel."""
    body = ValidateUnitsRequest(validations=desk.validations, primary_identifier=None, units=units_of(places))
    return Envelope(
        time_stamp=at,
        unique_id=unique_id(f"request:{request_id}"),
        source=desk.handle,
        target=desk.target or None,
        request_id=str(request_id),
        body=body,
    )


def judge(answer: Envelope, asked: tuple[UnitPosition, ...]) -> Clearance:
    """
    Return what an answer says of the units that were asked about.

    The panel's own result holds for all its units. Where results are given for units, each unit needs one of its own.

    Raises:
        InterlockUnanswered: the answer says that the question could not be dealt with, or is none to this question.

    """
    body = answer.body
    if isinstance(body, NotSupportedResponse):
        raise InterlockUnanswered(f"the factory does not answer: {body.request_result.message or 'not supported'}")
    if not isinstance(body, ValidateUnitsResponse):
        raise InterlockUnanswered(f"the factory answered with {type(body).__name__}")
    if body.result.result is StatusResult.FAILED:
        raise InterlockUnanswered(
            f"the factory could not validate: {body.result.message or ''} (code {body.result.result_code})"
        )
    if body.primary_result is not None and body.primary_result.result is ValidationStatus.FAILED:
        return Clearance(tuple(_refusal(unit.position_number, body.primary_result) for unit in asked))
    if not body.results and body.primary_result is not None:
        return Clearance(())
    refusals = (_judged(unit, body.results) for unit in asked)
    return Clearance(tuple(refusal for refusal in refusals if refusal is not None))


def _judged(unit: UnitPosition, results: tuple[ValidationResult, ...]) -> Refusal | None:
    own = [result for result in results if result.position_number == unit.position_number]
    if not own:
        return Refusal(unit.position_number, UNMENTIONED, "the factory's answer does not speak of this unit")
    failed = next((result for result in own if result.result is ValidationStatus.FAILED), None)
    return _refusal(unit.position_number, failed) if failed is not None else None


def _refusal(position: int, result: ValidationResult) -> Refusal:
    return Refusal(position, REFUSED, result.message or "the factory refuses", result.failure_code)


class CFXInterlock:
    """Asks the factory (`line.interlock.Interlock`), one panel at a time. Thread-safe."""

    def __init__(self, peer: Peer, desk: Desk, clock: Clock, stopwatch: Stopwatch) -> None:
        self._peer = peer
        self._desk = desk
        self._clock = clock
        self._stopwatch = stopwatch
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._replies: proton.Receiver | None = None

    def clear(self, places: Sequence[Place]) -> Clearance:
        """
        Return the factory's clearance for a panel. Every call is a request of its own.

        Raises:
            InterlockUnanswered: nobody answered in time and silence means stop.

        """
        asked = question(places, self._desk, uuid4(), self._clock())
        try:
            with self._lock:
                answer = self._answer(asked)
            return judge(answer, units_of(places))
        except InterlockUnanswered as silence:
            if self._desk.unanswered == "stop":
                raise
            return Clearance((), assumed=silence.message)

    def _answer(self, asked: Envelope) -> Envelope:
        try:
            connection, replies = self._connected()
            reply_to = self._desk.reply_address
            message = to_amqp(asked, encode(asked), reply_to)
            connection.outcome(connection.send(self._desk.request_address, str(asked.unique_id), message))
            return self._awaited(connection, replies, asked)
        except (DeliveryDeferred, DeliveryRefused) as error:
            self._drop()
            raise InterlockUnanswered(f"the factory cannot be asked: {error.message}", hint=error.hint) from error
        except InterlockUnanswered:
            raise
        except BaseException:
            # Broken into, by a signal as well: what the connection is in the middle of is not known.
            self._drop()
            raise

    def _connected(self) -> tuple[Connection, proton.Receiver]:
        if self._connection is None or self._replies is None:
            self._connection = Connection(self._peer, self._stopwatch, self._desk.timeout_s)
            # Without an address for replies the peer is the endpoint itself: it answers where it is asked.
            self._replies = self._connection.receiver(self._desk.reply_address or self._desk.request_address)
        return self._connection, self._replies

    def _awaited(self, connection: Connection, replies: proton.Receiver, asked: Envelope) -> Envelope:
        """Return the answer to this question. Answers to earlier ones are taken and dropped."""
        deadline = self._stopwatch() + self._desk.timeout_s
        while (left_s := deadline - self._stopwatch()) > 0:
            message = connection.receive(replies, left_s)
            if message is not None and (answer := _answer_to(asked, message)) is not None:
                return answer
        raise InterlockUnanswered(f"nobody answered within {self._desk.timeout_s:g} s")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abandon()
        self._connection = self._replies = None

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._replies = None


def _answer_to(asked: Envelope, message: bytes) -> Envelope | None:
    """Return the answer in a message, or None when it is to another question. Raises InterlockUnanswered."""
    correlation = ""
    try:
        correlation, content = from_amqp(message)
        answer = decode(content)
    except DecodeError as error:
        if correlation != asked.request_id:
            return None
        raise InterlockUnanswered(f"the factory's answer cannot be read: {error.message}") from error
    return answer if asked.request_id in {correlation, answer.request_id} else None
