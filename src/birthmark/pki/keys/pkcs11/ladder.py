# SPDX-License-Identifier: Apache-2.0
"""
The reopen ladder: how a token that failed comes back. A pure state machine: no clock, no I/O, driven with times.

An outage begins with the first failure that a new session does not mend. It is climbed rung by rung: a new login, then
a restart of the module, and that again and again, with a pause after each failed attempt that doubles up to
PAUSE_MAX_S. It ends in one of two ways, and each outage ends once: the token works again, or its PIN is refused and
nothing is tried any more.

    SOUND --failed--> BROKEN --climb--> CLIMBING --reached--> SOUND       the outage ended: HEALED
                        ^------slipped-----'  '----lost-----> LOST        the outage ended: LOST

Times are seconds of one clock that does not jump.
"""

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Self

from birthmark.pki.keys.pkcs11.meanings import Remedy

PAUSE_FIRST_S: Final = 0.25
PAUSE_MAX_S: Final = 4.0
"""A token that is back is in use again after this and the time of one attempt."""


class State(Enum):
    """Where the token stands."""

    SOUND = "sound"
    BROKEN = "broken"
    CLIMBING = "climbing"
    LOST = "lost"


class Ending(Enum):
    """How an outage ended."""

    HEALED = "healed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage, told when it has ended. `cause` is what failed first, `attempts` how often it was tried to reopen."""

    token: str
    ending: Ending
    cause: str
    began_s: float
    ended_s: float
    attempts: int

    @property
    def lasted_s(self) -> float:
        """Seconds from the first failure to the end."""
        return self.ended_s - self.began_s


@dataclass(frozen=True, slots=True)
class Ladder:
    """The state of one token. Every transition returns a new one; one that does not fit the state raises ValueError."""

    state: State = State.SOUND
    rung: Remedy = Remedy.NOTHING_BROKEN
    attempts: int = 0
    began_s: float = 0.0
    next_s: float = 0.0
    cause: str = ""

    def failed(self, remedy: Remedy, cause: str, at_s: float) -> Self:
        """A caller was failed by the token. The first failure begins an outage; later ones belong to it."""
        match self.state:
            case State.SOUND:
                return replace(
                    self, state=State.BROKEN, rung=_rung(remedy), attempts=0, began_s=at_s, next_s=at_s, cause=cause
                )
            case State.BROKEN:
                return replace(self, rung=max(self.rung, _rung(remedy)))
            case State.CLIMBING | State.LOST:
                return self

    def wait_s(self, at_s: float) -> float:
        """Return how long it is until the next attempt: 0 when it is due or under way."""
        return max(0.0, self.next_s - at_s) if self.state is State.BROKEN else 0.0

    def retry_after_s(self, at_s: float) -> int:
        """Return what a caller is told: whole seconds, at least 1, after which the next attempt should be over."""
        return max(1, math.ceil(self.wait_s(at_s) + PAUSE_FIRST_S))

    def climb(self, at_s: float) -> Self:
        """Begin an attempt at the present rung, once it is due."""
        self._require(State.BROKEN)
        if self.wait_s(at_s) > 0:
            raise ValueError("the next attempt is not due yet")
        return replace(self, state=State.CLIMBING, attempts=self.attempts + 1)

    def slipped(self, at_s: float) -> Self:
        """End an attempt that failed: the next one restarts the module, after a longer pause."""
        self._require(State.CLIMBING)
        pause_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(self.attempts - 1, 16))
        return replace(self, state=State.BROKEN, rung=Remedy.MODULE, next_s=at_s + pause_s)

    def reached(self) -> Self:
        """End an attempt after which the token works."""
        self._require(State.CLIMBING)
        return replace(self, state=State.SOUND, rung=Remedy.NOTHING_BROKEN)

    def lost(self) -> Self:
        """End an attempt that showed that no other may be made."""
        self._require(State.CLIMBING)
        return replace(self, state=State.LOST, rung=Remedy.FATAL)

    def outage(self, token: str, at_s: float) -> Outage:
        """Return what is told of the outage that has just ended."""
        endings = {State.SOUND: Ending.HEALED, State.LOST: Ending.LOST}
        self._require(*endings)
        return Outage(token, endings[self.state], self.cause, self.began_s, at_s, self.attempts)

    def _require(self, *states: State) -> None:
        if self.state not in states:
            raise ValueError(f"not while the token is {self.state.value}")


def _rung(remedy: Remedy) -> Remedy:
    """Nothing below a new login mends what callers could not mend themselves."""
    return Remedy.MODULE if remedy >= Remedy.MODULE else Remedy.LOGIN
