# SPDX-License-Identifier: Apache-2.0
"""What is known of a request while it is decided, so that its audit row says as much as it can."""

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from birthmark.ca.demands import Caller, Client
from birthmark.core.audit import AuditRow, Grounds
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import ChipID, End


@dataclass(slots=True)
class Trail:
    """Filled in as the demands are met, one after the other. `who` is what the client calls itself until then."""

    act: str
    at: datetime
    who: str = ""
    fingerprint: str = ""
    order: str = ""
    unit_serial: str = ""
    chip_serial: str = ""

    @classmethod
    def of(cls, act: str, at: datetime, client: Client | None, order: str = "") -> "Trail":
        """Return the trail of a request that has just arrived."""
        trail = cls(act, at, order=order)
        if client is not None:
            trail.who = f"unverified:{client.claim}"
            trail.fingerprint = client.fingerprint
        return trail

    def met_by(self, caller: Caller) -> Caller:
        """Note who asks, now that it is known."""
        self.who = caller.holder
        return caller

    def about(self, unit_serial: str, chip: ChipID | None = None) -> str:
        """Note which unit and which chip it is about; return the unit serial."""
        self.unit_serial = unit_serial
        if chip is not None:
            self.chip_serial = chip.serial
        return unit_serial

    def row(self, *, finding: str = "", detail: str = "", certificate: str = "", about: str = "") -> AuditRow:
        """Return the audit row of a decision; without a finding it was granted."""
        return AuditRow(
            at=self.at,
            who=self.who,
            fingerprint=self.fingerprint,
            act=self.act,
            order=self.order,
            unit_serial=self.unit_serial,
            chip_serial=self.chip_serial,
            certificate=certificate,
            about=about,
            finding=finding,
            detail=detail,
        )

    def issued_row(self, serial: str, certificate: bytes, grounds: Grounds | None) -> AuditRow:
        """Return the audit row of a certificate that was issued, and on what grounds."""
        return replace(self.row(certificate=serial, about=fingerprint(certificate)), grounds=grounds)

    def end_row(self, end: End) -> AuditRow:
        """Return the audit row of another certificate that ends because of this request."""
        detail = f"{end.ending.value} from {end.dies_at.isoformat(timespec='milliseconds')}"
        row = self.row(certificate=end.serial, detail=detail)
        return replace(row, act="end", dies=end.dies_at, ending=end.ending.value)
