# SPDX-License-Identifier: Apache-2.0
"""Units that are no more: what ends with them."""

from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from birthmark.ca.life.units import revocable
from birthmark.ca.ports import Ledger
from birthmark.core.audit import AuditRow
from birthmark.core.issuance import End, Ending, Issuance
from birthmark.core.ledger_rows import Said, denied_chip_row, said


@dataclass(frozen=True, slots=True)
class Gone:
    """The certificates that ended with a unit, why, and what the ledger says of its chips since."""

    ended: tuple[tuple[Issuance, End], ...]
    reason: str
    denials: Said

    def rows(self, because: AuditRow) -> list[AuditRow]:
        """Return the log entry of the act that it comes from, which says of the chips too, and one for each end."""
        first = structs.replace(because, state={**because.state, **self.denials})
        return [first, *(self._row(issuance, end, because) for issuance, end in self.ended)]

    def _row(self, issuance: Issuance, end: End, because: AuditRow) -> AuditRow:
        return structs.replace(
            because,
            act="end",
            detail=f"revoked: {self.reason}",
            order=issuance.order,
            unit_serial=issuance.unit_serial,
            chip_serial=issuance.chip.serial,
            certificate=issuance.serial,
            dies=end.dies_at,
            ending=end.ending.value,
            state={},
        )


def end_identity(ledger: Ledger, unit_serial: str, reason: str, at: datetime) -> Gone:
    """
    Revoke every certificate of the unit that has not ended, and deny its chips for good; return what ended.

    A chip that has gone into another unit since is none of this unit's.
    """
    known = ledger.issuances_of_unit(unit_serial)
    ended = tuple(
        (each, End(each.serial, min(at, each.dies_at or at), Ending.REVOKED)) for each in revocable(known, at)
    )
    ledger.end([end for _, end in ended])
    denials: Said = {}
    for chip in {each.chip for each in known}:
        latest = [each for each in ledger.issuances_near(chip, unit_serial) if each.chip == chip][-1]
        if latest.unit_serial == unit_serial and ledger.denial(chip) is None:
            ledger.deny(chip, reason)
            denials |= said("denied_chip", denied_chip_row(chip, reason))
    return Gone(ended, reason, denials)
