# SPDX-License-Identifier: Apache-2.0
"""The interlock: whether the factory lets a panel be worked on, asked before its boards get power."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from birthmark.core.line_events import Place


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one position may not be worked on. `code` is the factory's own."""

    position: int
    finding: str
    reason: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class Clearance:
    """What the factory said: a position without a refusal may be worked on. `assumed` says why nobody said anything."""

    refusals: tuple[Refusal, ...] = ()
    assumed: str = ""


class Interlock(Protocol):
    """Somebody who is asked before work begins. Thread-safe."""

    def clear(self, places: Sequence[Place]) -> Clearance:
        """
        Return the clearance for a panel.

        Raises:
            Away: nobody answers now, and without an answer there is no work; ask again.

        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Unlocked:
    """An interlock that keeps nothing back: for a rig whose factory is not asked."""

    def clear(self, places: Sequence[Place]) -> Clearance:  # noqa: ARG002 whatever lies there
        """Return a clearance for every place."""
        return Clearance()

    def close(self) -> None:
        """Nothing is open."""
