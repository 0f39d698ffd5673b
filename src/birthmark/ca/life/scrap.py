# SPDX-License-Identifier: Apache-2.0
"""Units that are no more: what ends with them."""

from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from birthmark.ca.life.units import revocable
from birthmark.ca.ports import Ledger
from birthmark.core.audit import AuditRow
from birthmark.core.issuance import End, Ending, Issuance


@dataclass(frozen=True, slots=True)
class Ended:
    """A certificate that ended with its unit."""

    issuance: Issuance
    reason: str

    def row(self, because: AuditRow) -> AuditRow:
        """Return the log entry of the end, beside that of the act which it comes from."""
        return structs.replace(
            because,
            act="end",
            detail=f"revoked: {self.reason}",
            order=self.issuance.order,
            unit_serial=self.issuance.unit_serial,
            chip_serial=self.issuance.chip.serial,
            certificate=self.issuance.serial,
        )


def end_identity(ledger: Ledger, unit_serial: str, reason: str, at: datetime) -> tuple[Ended, ...]:
    """
    Revoke every certificate of the unit that has not ended, and deny its chips for good; return what ended.

    A chip that has gone into another unit since is none of this unit's.
    """
    known = ledger.issuances_of_unit(unit_serial)
    living = revocable(known, at)
    ledger.end([End(each.serial, min(at, each.dies_at or at), Ending.REVOKED) for each in living])
    for chip in {each.chip for each in known}:
        latest = [each for each in ledger.issuances_near(chip, unit_serial) if each.chip == chip][-1]
        if latest.unit_serial == unit_serial and ledger.denial(chip) is None:
            ledger.deny(chip, reason)
    return tuple(Ended(each, reason) for each in living)
