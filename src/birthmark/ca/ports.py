# SPDX-License-Identifier: Apache-2.0
"""
What the issuing authority needs from the world: a ledger with transactions.

Writing transactions are serialised over all workers that share the ledger, from `writing()` until the block ends: what
was read inside still holds when the writes are committed. Everything raises core.errors.StoreError when it cannot.
"""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from birthmark.core.issuance import AuditRow, ChipID, Ending, Issuance, NonceGrant, Order, OrderUse, Revocation


class LedgerReader(Protocol):
    """A consistent view of the ledger."""

    def order(self, order_id: str) -> Order | None:
        """Return the order, or None."""
        ...

    def order_use(self, order_id: str, unit_serial: str) -> OrderUse:
        """Return how many units took from the order's quantity, and whether this unit is one of them."""
        ...

    def nonce(self, digest: bytes) -> NonceGrant | None:
        """Return the grant of the nonce with this SHA-256, or None."""
        ...

    def open_nonce(self, unit_serial: str, at: datetime) -> NonceGrant | None:
        """Return the unit's grant that is neither used nor expired, or None."""
        ...

    def issuances(self) -> tuple[Issuance, ...]:
        """Return every issuance, oldest first."""
        ...

    def issuances_near(self, chip: ChipID, unit_serial: str) -> tuple[Issuance, ...]:
        """Return every issuance to this chip or to this unit, living or dead, oldest first."""
        ...

    def issuance(self, serial: str) -> Issuance | None:
        """Return the issuance with this certificate serial, or None."""
        ...

    def issuance_of(self, certificate_sha256: str) -> Issuance | None:
        """Return the issuance whose recorded certificate has this fingerprint, or None."""
        ...

    def denial(self, chip: ChipID) -> str | None:
        """Return the reason for which this chip may not have a certificate, or None."""
        ...

    def birth(self, certificate_sha256: str) -> str | None:
        """Return the birth record (compact JWS) of this certificate, or None."""
        ...

    def revocations(self, at: datetime) -> tuple[Revocation, ...]:
        """Return every serial that counts as revoked at this moment, the earliest death first."""
        ...

    def audit(self) -> tuple[AuditRow, ...]:
        """Return every decision, oldest first."""
        ...


class Ledger(LedgerReader, Protocol):
    """The ledger inside a writing transaction."""

    def put_order(self, order: Order) -> None:
        """Add the order, or replace the one with its id; what was taken stays taken."""
        ...

    def take_quota(self, order_id: str, unit_serial: str) -> None:
        """Count the unit towards the order, once however often it is said."""
        ...

    def grant_nonce(self, grant: NonceGrant) -> None:
        """Keep the grant; the holder's other unused grants for the unit are forgotten."""
        ...

    def use_nonce(self, digest: bytes, serial: str) -> None:
        """Mark the nonce as consumed by the issuance with this serial."""
        ...

    def forget_nonces(self, expired_before: datetime) -> None:
        """Forget grants, used or not, that expired before this moment."""
        ...

    def intend(self, issuance: Issuance) -> None:
        """Write down an issuance before its signature is made."""
        ...

    def record(self, serial: str, certificate: bytes) -> None:
        """Write down the signed certificate of an intended issuance; a repeat with the same bytes changes nothing."""
        ...

    def end(self, serial: str, dies_at: datetime, ending: Ending) -> None:
        """Set when the certificate counts as revoked from, and why; replaces an earlier setting."""
        ...

    def confirm(self, certificate_sha256: str, at: datetime, birth: str) -> None:
        """Keep the birth record and let the certificate live on: its `dies_at` is cleared."""
        ...

    def deny(self, chip: ChipID, reason: str) -> None:
        """Refuse this chip from now on."""
        ...

    def add_audit(self, row: AuditRow) -> None:
        """Append a decision."""
        ...


class CAStore(Protocol):
    """Where the ledger lives. Safe to use from several threads and, where it is a file, several processes."""

    def reading(self) -> AbstractContextManager[LedgerReader]:
        """Open a consistent view; nothing is written."""
        ...

    def writing(self) -> AbstractContextManager[Ledger]:
        """
        Open a transaction: committed, durably, when the block ends without an error, undone otherwise.

        An error while committing leaves it open whether the transaction happened; the caller repeats its request.
        """
        ...

    def close(self) -> None:
        """Let go of files and locks."""
        ...
