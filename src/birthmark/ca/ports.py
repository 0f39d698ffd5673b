# SPDX-License-Identifier: Apache-2.0
"""
What the issuing authority needs from the world: a ledger with transactions.

Writing transactions are serialised over all workers that share the ledger, from `writing()` until the block ends: what
was read inside still holds when the writes are committed. Writes take sequences, because requests that come together
are committed together. Everything raises core.errors.StoreError when it cannot.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from birthmark.core.anchors import AnchorsContact, UnitAnchors
from birthmark.core.audit import AuditRow
from birthmark.core.census import Census
from birthmark.core.clients import ClientDenial, DeniedClient
from birthmark.core.dossier import Dossier, Leaf, Numbered
from birthmark.core.in_force import InForce
from birthmark.core.issuance import (
    Ask,
    ChipGroup,
    ChipID,
    End,
    GroupDenial,
    Issuance,
    LedgerFacts,
    NonceGrant,
    Order,
    OrderAccount,
    OrderUse,
    Revocation,
    Unit,
    UnitMark,
)
from birthmark.core.ledger_rows import RowValues
from birthmark.core.proposals import Proposal, Ruling
from birthmark.core.revocation import SignedStatus
from birthmark.core.tickets import RigTicket


class LedgerReader(Protocol):
    """A consistent view of the ledger."""

    def facts(self, asks: Sequence[Ask]) -> tuple[LedgerFacts, ...]:
        """Return what is known of each candidate, in the order of the asks."""
        ...

    def order(self, order_id: str) -> Order | None:
        """Return the order, or None."""
        ...

    def orders(self) -> tuple[Order, ...]:
        """Return every order, by id."""
        ...

    def order_use(self, order_id: str, unit_serial: str) -> OrderUse:
        """Return how many units took from the order's quantity, and whether this unit is one of them."""
        ...

    def nonce(self, digest: str) -> NonceGrant | None:
        """Return the grant of the nonce with this SHA-256, or None."""
        ...

    def leases(self, unit_serials: Sequence[str], at: datetime) -> tuple[NonceGrant, ...]:
        """Return the units' grants that are neither used nor expired, and those that somebody queues for."""
        ...

    def living_nonces(self, holder: str, at: datetime) -> int:
        """Return how many of the holder's nonces are neither used nor expired."""
        ...

    def issuances(self) -> Iterator[Issuance]:
        """Return every issuance, oldest first, read as it is asked for."""
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

    def unfinished(self, serials: Sequence[str], at: datetime) -> frozenset[str]:
        """Return those of the intents that have not ended by then and have no certificate yet."""
        ...

    def issuances_of_unit(self, unit_serial: str) -> tuple[Issuance, ...]:
        """Return every issuance to this unit, living or dead, oldest first."""
        ...

    def order_account(self, order_id: str, at: datetime) -> OrderAccount:
        """Return what became of the units that took from the order's quantity, as it is at this moment."""
        ...

    def proposal(self, proposal_id: str) -> Proposal | None:
        """Return the proposal, or None."""
        ...

    def proposals(self, limit: int, skip: int = 0) -> tuple[Proposal, ...]:
        """Return the latest proposals, the last one first, without as many of them as are to be skipped."""
        ...

    def overdue_proposals(self, at: datetime, limit: int) -> tuple[Proposal, ...]:
        """Return proposals without a ruling whose time is over at this moment, the oldest first."""
        ...

    def denial(self, chip: ChipID) -> str | None:
        """Return the reason for which this chip may not have a certificate, or None."""
        ...

    def birth(self, certificate_sha256: str) -> str | None:
        """Return the birth record (compact JWS) of this certificate, or None."""
        ...

    def revocations(self, at: datetime, earlier: datetime | None = None) -> tuple[Revocation, ...]:
        """
        Return every serial that counts as revoked at this moment, the earliest death first.

        With `earlier`, without those that had expired and were revoked by then.
        """
        ...

    def deaths(self, after: datetime, until: datetime, limit: int) -> tuple[str, ...]:
        """Return serials that begin to count as revoked after the one moment, until the other."""
        ...

    def issuances_after(self, number: int, limit: int) -> tuple[tuple[int, Issuance], ...]:
        """Return issuances with numbers above this one, in order; the first has number 1."""
        ...

    def issuances_of_chip(self, chip: ChipID) -> tuple[Issuance, ...]:
        """Return every issuance to this chip, living or dead, oldest first."""
        ...

    def unit(self, unit_serial: str) -> Unit | None:
        """Return the unit as it stands; None for one that was never born."""
        ...

    def units_of_chip(self, chip: ChipID) -> tuple[Unit, ...]:
        """Return the units that are bound to this chip."""
        ...

    def anchors_of_units(self, after: str, at: datetime, limit: int) -> tuple[UnitAnchors, ...]:
        """Return what is known of the anchors of units that are not retired, by serial, after this one."""
        ...

    def retired_roots(self) -> frozenset[str]:
        """Return the SHA-256 of each root that was retired."""
        ...

    def client_denials(self) -> tuple[ClientDenial, ...]:
        """Return the denials of keys, rigs and persons, the oldest first."""
        ...

    def rig_ticket(self, digest: str) -> RigTicket | None:
        """Return the ticket with this SHA-256, or None."""
        ...

    def group_denials(self) -> tuple[GroupDenial, ...]:
        """Return the denials of whole groups of chips, the oldest first."""
        ...

    def living_of_group(self, group: ChipGroup, at: datetime, limit: int) -> tuple[Issuance, ...]:
        """Return unexpired issuances to chips of the group that count, or would when a hold is released."""
        ...

    def feed_head(self) -> int:
        """Return how many decisions to end a life there are."""
        ...

    def feed_position(self, at: datetime) -> int:
        """Return up to how many of those decisions all have come into force at this moment."""
        ...

    def signed_status(self, name: str) -> SignedStatus | None:
        """Return the list or OCSP response that was kept last under this name, or None."""
        ...

    def ageing_status(self, prefix: str, at: datetime, limit: int) -> tuple[str, ...]:
        """Return names that begin so and whose `refresh_at` has come, the longest overdue first."""
        ...

    def unconfirmed(self, at: datetime, limit: int) -> tuple[Issuance, ...]:
        """Return issuances whose grace time is over, no birth record having come, that no `end` was written for."""
        ...

    def endings(self, after: int, limit: int) -> tuple[tuple[int, End], ...]:
        """Return the decisions to end a life with numbers above `after`, in order; the first has number 0."""
        ...

    def census(self, at: datetime) -> Census:
        """Return how much the ledger holds at this moment. Reads every life: not for the hot path."""
        ...

    def log_size(self) -> int:
        """Return how many entries the transparency log has."""
        ...

    def entries(self, first: int, count: int) -> tuple[bytes, ...]:
        """Return the entries of the transparency log with the numbers from `first` on, at most `count`."""
        ...

    def entries_of_unit(self, unit_serial: str) -> tuple[tuple[int, bytes], ...]:
        """Return the numbers and bytes of all entries about one unit, oldest first."""
        ...

    def entries_of_thread(self, thread: str) -> tuple[tuple[int, bytes], ...]:
        """Return the numbers and bytes of all entries of one thread (`AuditRow.thread`) of no unit, oldest first."""
        ...

    def kept(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        """Return the kept documents among those with these SHA-256."""
        ...

    def policies(self) -> tuple[InForce, ...]:
        """Return every appraisal policy that was put in force, the first one first."""
        ...

    def recent_configurations(self) -> tuple[InForce, ...]:
        """Return the configurations that were put in force last, at most 8, the latest one first; without `files`."""
        ...

    def configurations(self) -> tuple[InForce, ...]:
        """Return every configuration of what is signed that was put in force, the first one first."""
        ...

    def leaves(self, first: int, limit: int) -> tuple[Leaf, ...]:
        """Return up to `limit` entries of the log with number `first` or above, by number."""
        ...

    def leaves_by_unit(self, after: tuple[str, int], limit: int) -> tuple[Leaf, ...]:
        """Return entries about units, by unit and number, beginning behind (unit, number); ("", 0) for all."""
        ...

    def dossiers(self, after: int, limit: int) -> tuple[Dossier, ...]:
        """Return the issuances with numbers above `after`, by number, each with all that hangs on it, unread."""
        ...

    def table_rows(self, table: str, after: RowValues | None, limit: int) -> tuple[RowValues, ...]:
        """Return up to `limit` rows of a table as they lie there, by its key, beginning behind a row."""
        ...

    def known_serials(self, serials: Sequence[str]) -> frozenset[str]:
        """Return those of the serials that are those of issuances."""
        ...

    def known_documents(self, digests: Sequence[str]) -> frozenset[str]:
        """Return those of the SHA-256 under which a document is kept."""
        ...

    def nonce_uses(self, digests: Sequence[str]) -> Mapping[str, str | None]:
        """Return which issuance has used each of the nonces (by SHA-256) that are not forgotten; None for none."""
        ...

    def tile_count(self) -> int:
        """Return how many hash tiles are stored."""
        ...

    def strays(self, limit: int) -> tuple[tuple[str, str], ...]:
        """Return rows (table, key) that belong to an issuance which is not there, up to `limit` of each table."""
        ...

    def numbered(self) -> tuple[Numbered, ...]:
        """Return how many rows there are in the tables whose rows are numbered without a gap."""
        ...

    def tiles(self, wanted: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], bytes]:
        """Return the stored hash tiles (level, number) among those wanted."""
        ...

    def checkpoint(self, size: int | None = None) -> str | None:
        """Return the signed checkpoint of a log of that size, by default the largest; or None."""
        ...


class Ledger(LedgerReader, Protocol):
    """The ledger inside a writing transaction."""

    def put_order(self, order: Order) -> None:
        """Add the order, or replace the one with its id; what was taken stays taken."""
        ...

    def take_quota(self, takes: Sequence[tuple[str, str]]) -> None:
        """Count units (order, unit serial) towards their orders; one that counts already is store.conflict."""
        ...

    def mark_unit(self, order_id: str, unit_serial: str, mark: UnitMark) -> None:
        """Write down that a unit which took a place of the order is scrapped, or is made again in the same place."""
        ...

    def put_proposal(self, proposal: Proposal) -> None:
        """Keep a new proposal, with its ruling when it has one."""
        ...

    def rule(self, proposal_id: str, ruling: Ruling) -> None:
        """Write down the end of a proposal that has none."""
        ...

    def grant_nonces(self, grants: Sequence[NonceGrant]) -> None:
        """Keep the grants; the holders' other unused grants for the units are forgotten."""
        ...

    def use_nonces(self, uses: Sequence[tuple[str, str]]) -> None:
        """Mark nonces (by digest) as consumed by the issuance with the serial; a repeat changes nothing."""
        ...

    def extend_nonces(self, extensions: Sequence[tuple[str, datetime]]) -> None:
        """Let nonces (by digest) live until the moments given, where that is longer and nobody queues for them."""
        ...

    def queue_for_nonces(self, queues: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        """Set who queues for the units of nonces (by digest)."""
        ...

    def forget_nonces(self, expired_before: datetime, limit: int) -> int:
        """Forget up to `limit` grants, used or not, that expired before this moment; return how many those were."""
        ...

    def intend(self, issuances: Sequence[Issuance]) -> None:
        """Write down issuances before their signatures are made."""
        ...

    def record(self, certificates: Sequence[tuple[str, bytes]]) -> None:
        """Write down the signed certificates (serial, DER) of intended issuances that have none yet."""
        ...

    def end(self, ends: Sequence[End]) -> None:
        """Set when certificates count as revoked from, and why; replaces earlier settings."""
        ...

    def hold(self, serials: Sequence[str], at: datetime) -> None:
        """Let certificates count as revoked from this moment until they are released."""
        ...

    def release(self, serials: Sequence[str], at: datetime) -> None:
        """Take holds back: what would have become of the certificates becomes of them. Others stay as they are."""
        ...

    def put_units(self, units: Sequence[Unit]) -> None:
        """Write down how units stand now."""
        ...

    def put_anchors(self, contacts: Sequence[AnchorsContact]) -> None:
        """Keep what units say of their anchors; what they said before is forgotten."""
        ...

    def retire_root(self, sha256: str, successor: str, at: datetime) -> None:
        """Write down that a root is retired in favour of another. Raises StoreError (store.conflict) if it was."""
        ...

    def deny_client(self, denial: ClientDenial) -> None:
        """Refuse a key, a rig or a person from now on. Raises StoreError (store.conflict) if it was."""
        ...

    def allow_client(self, client: DeniedClient) -> None:
        """Take a denial back; nothing happens where there is none."""
        ...

    def put_rig_ticket(self, ticket: RigTicket) -> None:
        """Write down a ticket, or who has used it."""
        ...

    def deny_group(self, denial: GroupDenial) -> None:
        """Refuse a group of chips from now on; replaces what was said of it."""
        ...

    def put_signed_status(self, statuses: Sequence[tuple[str, SignedStatus]]) -> None:
        """Keep lists and responses under their names; one with a lower or the same number is not taken."""
        ...

    def forget_signed_status(self, ended_before: datetime) -> None:
        """Forget lists and responses whose nextUpdate was before this moment."""
        ...

    def confirm(self, births: Sequence[tuple[str, str]], at: datetime) -> None:
        """Keep birth records (fingerprint, JWS) and let the certificates live on: their `dies_at` are cleared."""
        ...

    def deny(self, chip: ChipID, reason: str) -> None:
        """Refuse this chip from now on."""
        ...

    def append(self, rows: Sequence[AuditRow]) -> None:
        """Append decisions to the transparency log, in this order, each linked to the one before it of its thread."""
        ...

    def probe(self, at: datetime) -> None:
        """Write something that means nothing, to see that writing works."""
        ...

    def keep(self, contents: Sequence[bytes]) -> None:
        """Keep documents, each under its SHA-256; one that is there already stays."""
        ...

    def put_policy(self, policy: InForce) -> None:
        """Write down that a policy is in force from now on."""
        ...

    def put_configuration(self, configuration: InForce) -> None:
        """Write down that a configuration is in force from now on."""
        ...

    def put_tiles(self, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """Keep hash tiles (level, number); one that has grown replaces the shorter one."""
        ...

    def put_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed checkpoint; another one of the same size is not taken over it."""
        ...


class CAStore(Protocol):
    """Where the ledger lives. Safe to use from several threads and several processes."""

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
        """Let go of files and connections."""
        ...
