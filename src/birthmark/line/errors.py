# SPDX-License-Identifier: Apache-2.0
"""
What can stop a board or the line.

LineError
├── Away                somebody cannot answer now: the line holds and resumes alone
│   ├── AuthorityAway   the CA
│   │   └── UnitInWork  another rig works on this unit: this position waits for its lease to end
│   └── MESBehind       the MES has too much to take yet, and the line's policy is to stop
├── AuthorityRefused    the CA said no, with its finding: this board fails
├── CredentialUnusable  the rig's certificate has ended, or is not this rig's
├── RigBusy             another run of the same rig is under way
├── UnitsAway           the store that the rigs share cannot be reached: the rig stops before its next step
├── LeaseLost           another rig has taken the unit meanwhile: this board stops before its next step
├── UnitStopped         the unit's record says that it may not be worked on: quarantine, rework, limits
├── ScanRefused         what was scanned is nothing that the station takes now
├── CallRefused         what a program asks of the station is nothing that it takes now
├── OutboxRefused       what a person wants of the outbox does not fit what is in it
├── LeadRefused         somebody who may not decide, or not with this PIN
├── HoldEnded           the CA stayed away for longer than the configuration allows
├── LineStopped         somebody ended the run
├── JournalUnwritable   the disk does not take the journal or the birth record: nothing is issued
├── Contradiction       what chip, certificate and CA say does not fit together: quarantine, nothing written
├── BoardFailed         a step of this board gave a wrong result
├── BrownOut            the voltage at a place was too low: whatever its chip said then is not believed
├── SupplyAway          the supply of the boards does not answer
├── SupplyRefused       it says no, or answers what nobody can read
└── MeasurementUnusable the planner cannot compare its model with this file
"""

from birthmark.core.errors import BirthmarkError


class LineError(BirthmarkError):
    """Root: a board, or the whole line, cannot go on."""

    default_finding = "line.failed"


class Away(LineError):
    """Somebody that the line needs is unreachable or asks for patience. `retry_after_s` is its own word, or None."""

    default_finding = "line.away"

    def __init__(self, message: str, *, hint: str = "", finding: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint, finding=finding)
        self.retry_after_s = retry_after_s


class AuthorityAway(Away):
    """The CA is unreachable or asks for patience."""

    default_finding = "line.ca.away"


class UnitInWork(AuthorityAway):
    """Another rig holds this unit's nonce. Its lease ends by itself."""

    default_finding = "line.unit-in-work"


class MESBehind(Away):
    """More waits for the MES, or for longer, than the policy "stop" allows."""

    default_finding = "line.mes.behind"
    default_hint = "see that the MES runs and is reachable, and what it says: birthmark line outbox list"


class AuthorityRefused(LineError):
    """The CA looked at the request and refused it. The finding is the CA's own."""

    default_finding = "line.ca.refused"
    default_hint = "put it right in rig.toml or at the CA, then run the board again"


class CredentialUnusable(LineError):
    """The certificate that is there, or that came, is none that this rig can work with."""

    default_finding = "line.credential"


class RigBusy(LineError):
    """A rig does one run at a time."""

    default_finding = "line.busy"


class UnitsAway(LineError):
    """What the rigs know together of the units cannot be read or written."""

    default_finding = "line.units.away"
    default_hint = "look at the database of the rigs, then run the panel again"


class LeaseLost(LineError):
    """The unit's lease has ended or is another run's. Nothing more is written to the board."""

    default_finding = "line.unit.lease-lost"


class UnitStopped(LineError):
    """The unit may not be worked on, or not be changed in this way."""

    default_finding = "line.unit.stopped"


class ScanRefused(LineError):
    """A scan that the station does not take. The message shows what was scanned."""

    default_finding = "line.scan.unknown"


class CallRefused(LineError):
    """A program's call that the station does not take: its key, or boards that a person has scanned already."""

    default_finding = "line.station.refused"


class OutboxRefused(LineError):
    """There is no such parcel or destination, or it is not in a state for that."""

    default_finding = "line.outbox.refused"


class LeadRefused(LineError):
    """A decision that needs a lead, by somebody who is none or has not shown it."""

    default_finding = "line.lead.role"


class HoldEnded(LineError):
    """The hold lasted longer than `hold_limit_s`, or the rig was switched off meanwhile (`line.hold.ending`)."""

    default_finding = "line.hold.limit"


class LineStopped(LineError):
    """The run was ended from outside. The board keeps its state; the next run goes on from there."""

    default_finding = "line.stopped"


class JournalUnwritable(LineError):
    """The journal cannot be written, or the disk is nearly full."""

    default_finding = "line.disk"


class Contradiction(LineError):
    """Chip, certificate, label and CA do not tell one story. Nothing was written to the chip."""

    default_finding = "line.contradiction"


class BoardFailed(LineError):
    """A step was done and its result is wrong."""

    default_finding = "line.board"


class BrownOut(LineError):
    """Too little voltage under load. It is the fixture's, not the unit's; the chip's own error is the cause of it."""

    default_finding = "line.power.brown-out"


class SupplyAway(LineError):
    """Nothing that feeds boards answers. No board is begun."""

    default_finding = "line.power.away"
    default_hint = "look at the supply, its cable and its address in rig.toml, then run the panel again"


class SupplyRefused(LineError):
    """The supply put an error in its queue, did not do what it was told, or answers nonsense."""

    default_finding = "line.power.refused"
    default_hint = "look at the supply's own display, then run the panel again"


class MeasurementUnusable(LineError):
    """A file of events from which no panel of fresh boards can be read."""

    default_finding = "line.plan.measured"
