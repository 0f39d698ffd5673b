# SPDX-License-Identifier: Apache-2.0
"""How the CA is, as far as it tells anybody: whether it answers, and whether its keys and its ledger can issue."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import msgspec

from birthmark.core.clock import Clock
from birthmark.line.ports import Stopwatch
from birthmark.line.station.remembered import Remembered
from birthmark.net.errors import NetError, Unreachable
from birthmark.net.transport import HTTPTransport

HEALTH_PATH: Final = "/v1/health"
TIMEOUT_S: Final = 3.0
"""How long an answer is waited for: longer than the CA itself takes to find that it cannot issue."""
MEMORY_S: Final = 3.0
"""For so long an answer is repeated to whoever asks."""


class CAState(StrEnum):
    """How the CA is."""

    WELL = "well"
    FAULTY = "faulty"
    """It can issue, and something of it has failed: its operators' business."""
    CANNOT_ISSUE = "cannot-issue"
    """It answers, and no certificate could be issued now: its keys (HSM) or its ledger are away."""
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class CAHealth:
    """What the CA said at a moment, or why it said nothing."""

    state: CAState
    detail: str
    at: datetime


class _Ready(msgspec.Struct, frozen=True):
    """The CA's answer: whether nothing of it has failed."""

    sound: bool


class CAWatch:
    """Asks the CA when somebody asks here, at most once in MEMORY_S. Calls may come from any thread."""

    def __init__(self, transport: HTTPTransport, clock: Clock, stopwatch: Stopwatch) -> None:
        self._transport = transport
        self._clock = clock
        self._health = Remembered(self._looked, MEMORY_S, stopwatch)

    def now(self) -> CAHealth:
        """Return how the CA is; never raises for what the CA does."""
        return self._health.now()

    def _looked(self) -> CAHealth:
        state, detail = self._asked()
        return CAHealth(state, detail, self._clock())

    def _asked(self) -> tuple[CAState, str]:
        try:
            answer = self._transport.request("GET", HEALTH_PATH)
        except Unreachable as error:
            return CAState.AWAY, error.message
        except NetError as error:
            return CAState.AWAY, f"{error.finding}: {error.message}"
        if answer.status != HTTPStatus.OK:
            return CAState.CANNOT_ISSUE, f"HTTP {answer.status}"
        try:
            sound = msgspec.json.decode(answer.body, type=_Ready).sound
        except msgspec.MsgspecError as error:
            return CAState.CANNOT_ISSUE, f"its answer cannot be read: {error}"
        return (CAState.WELL if sound else CAState.FAULTY), ""
