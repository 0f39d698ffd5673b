# SPDX-License-Identifier: Apache-2.0
"""
The rotation as a state machine. Pure: it looks at what was observed and names the one next step.

What survives a power cut is in the chip: two slots and the pointer to the one in use. What a run knows beyond that
(`Progress`) is lost by a cut, and the machine is built so that the loss only costs work:

| the other slot        | known in this run             | step               |
|-----------------------|-------------------------------|--------------------|
| empty                 | switched, or only to settle   | DONE               |
| empty                 | -                             | GENERATE           |
| key, no certificate   | its certificate has come      | IMPORT             |
| key, no certificate   | the key was made in this run  | ENROL              |
| key, no certificate   | -                             | ERASE (orphan)     |
| certificate, no successor, or rejected, or we have switched | - | ERASE  |
| certificate, successor | the cloud has accepted it    | ACTIVATE           |
| certificate, successor | -                            | PROBE              |
| the same, but its key opens no TLS session | its key was made in this run, or only to settle | DONE |
| the same, but its key opens no TLS session | - | ERASE              |

What opens no session stays beside the identity in use (docs/adr/0014-identity-beside.md): nothing would work if the
pointer moved to it. A later rotation makes another one in its place.

A successor is a certificate for the slot's own key, valid, with the names of the one in use and not older than it. The
pointer moves only after the cloud has accepted the successor, and the old key dies only after the pointer has moved:
between any two steps there is one identity that works.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Self

from birthmark.silicon.port import SlotState


class Goal(Enum):
    """Why the machine runs."""

    SETTLE = "settle"
    """Finish or clean up what an interrupted rotation has left."""
    ROTATE = "rotate"
    """Have a new key in use at the end."""


class Step(Enum):
    """What to do next. Every step but DONE changes what is observed, or what the run knows."""

    ERASE = "erase"
    GENERATE = "generate"
    ENROL = "enrol"
    IMPORT = "import"
    PROBE = "probe"
    ACTIVATE = "activate"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Observed:
    """What the chip holds in the slot that is not in use."""

    other: SlotState
    successor: bool
    """The other slot holds a certificate that may follow the one in use."""
    connects: bool = True
    """Its key can open TLS sessions."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one run knows beyond the chip."""

    goal: Goal
    key_made: bool = False
    certificate: bytes | None = None
    proven: bool = False
    rejected: bool = False
    switched: bool = False

    def erased(self) -> Self:
        """The other slot was emptied; what was known of its content is void."""
        return replace(self, key_made=False, certificate=None, proven=False, rejected=False)

    def generated(self) -> Self:
        """The other slot has a key of this run."""
        return replace(self, key_made=True)

    def enrolled(self, certificate: bytes) -> Self:
        """The CA has answered with this certificate."""
        return replace(self, certificate=certificate)

    def probed(self) -> Self:
        """The cloud has accepted the other slot's certificate."""
        return replace(self, proven=True)

    def refused(self) -> Self:
        """The cloud has refused the other slot's certificate."""
        return replace(self, rejected=True)

    def activated(self) -> Self:
        """The slots have changed places."""
        return replace(self, switched=True)


def next_step(observed: Observed, progress: Progress) -> Step:
    """Return the next step, by the table above."""
    match observed.other:
        case SlotState.EMPTY:
            finished = progress.switched or progress.goal is Goal.SETTLE
            return Step.DONE if finished else Step.GENERATE
        case SlotState.KEYED:
            if progress.certificate is not None:
                return Step.IMPORT
            return Step.ENROL if progress.key_made else Step.ERASE
        case SlotState.CERTIFIED:
            if progress.switched or progress.rejected or not observed.successor:
                return Step.ERASE
            if not observed.connects:
                return Step.DONE if progress.key_made or progress.goal is Goal.SETTLE else Step.ERASE
            return Step.ACTIVATE if progress.proven else Step.PROBE
