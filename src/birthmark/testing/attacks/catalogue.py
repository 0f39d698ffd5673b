# SPDX-License-Identifier: Apache-2.0
"""
What an attack is, and how one ends.

An attack is a program that really tries. When it returns, it got what it wanted: a breach. A refusal is the error that
it meets on the way, and only the expected findings count as the defence that was meant: an attack that stumbles over
something else proves nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

from birthmark.ca.errors import Refused
from birthmark.core.errors import BirthmarkError
from birthmark.est.errors import ESTClientRefused
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.attacks.witness import Mark, Witness

_OF_THE_CA = (ESTClientRefused, Refused)
"""Errors that are the CA's own answers."""
TITLE_WIDTH = 40
"""The most characters of a title: one attack is one line of 80 columns with its finding."""


@dataclass(frozen=True, slots=True)
class Attack:
    """
    One attack of the catalogue. `expected` are the findings of the defence that it must meet.

    What ends before anybody is there whom the ledger could name is no entry of it. Then `lines` are findings of which
    the CA's own log must have one.
    """

    id: str
    threat: str
    title: str
    expected: tuple[str, ...]
    run: Callable[[Intruder], None]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """How one attack ended."""

    id: str
    threat: str
    title: str
    refused: bool
    finding: str

    def as_row(self) -> dict[str, object]:
        """Return what goes into a report."""
        return {"id": self.id, "threat": self.threat, "refused": self.refused, "finding": self.finding}


def carry_out(attack: Attack, intruder: Intruder, witness: Witness) -> Result:
    """Run one attack and say how it ended. What the CA refuses counts as refused when it stands in the CA's log."""
    since = witness.mark()
    try:
        attack.run(intruder)
    except BirthmarkError as refusal:
        if not _told(attack, refusal, witness, since):
            return Result(attack.id, attack.threat, attack.title, refused=False, finding=f"not in the log: {refusal}")
        if refusal.finding in attack.expected:
            return Result(attack.id, attack.threat, attack.title, refused=True, finding=refusal.finding)
        return Result(attack.id, attack.threat, attack.title, refused=False, finding=f"met something else: {refusal}")
    return Result(attack.id, attack.threat, attack.title, refused=False, finding="it got what it wanted")


def _told(attack: Attack, refusal: BirthmarkError, witness: Witness, since: Mark) -> bool:
    if attack.lines:
        return witness.heard(attack.lines, since)
    return not isinstance(refusal, _OF_THE_CA) or witness.saw(refusal.finding, since)
