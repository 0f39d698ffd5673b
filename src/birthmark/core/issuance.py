# SPDX-License-Identifier: Apache-2.0
"""
What the issuing authority's ledger holds, as plain values.

Services decide with these types and stores keep them; both stand above this module, so neither knows the other.
Every moment is an aware datetime in UTC with microsecond precision. A certificate's serial is lower-case hexadecimal.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from birthmark.core import ids
from birthmark.core.errors import DecodeError
from birthmark.core.in_force import InForce


@dataclass(frozen=True, slots=True)
class ChipID:
    """One chip in the world: serials are unique within a maker only."""

    maker: str
    serial: str


@dataclass(frozen=True, slots=True)
class UnitRange:
    """
    The unit serials of an order, from the first to the last, both included.

    Raises:
        DecodeError: they do not differ in their closing digits alone, or the last comes before the first.

    """

    first: str
    last: str

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        ids.unit_serial(self.first)
        ids.unit_serial(self.last)
        if _stem(self.first) != _stem(self.last) or self.first > self.last:
            raise DecodeError(
                f"{self.first} to {self.last} is not a range of unit serials",
                hint="two serials of one length that differ in their last digits, the lower one first",
                finding="id.malformed",
            )

    def holds(self, unit_serial: str) -> bool:
        """Say whether the unit is in the range."""
        return _stem(unit_serial) == _stem(self.first) and self.first <= unit_serial <= self.last


def _stem(unit_serial: str) -> tuple[str, int]:
    """Return what the serials of a range share: everything before the closing digits, and the length."""
    return unit_serial.rstrip("0123456789"), len(unit_serial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    A production order: what may be born, how often, where and when.

    Issues nothing before `approved_at`, when the second person has said yes, nor from `closed_at` on. `document` is the
    SHA-256 of the signed document that it stands on.
    """

    id: str
    product: str
    quantity: int
    chip_models: tuple[str, ...]
    rigs: tuple[str, ...]
    units: UnitRange
    not_before: datetime
    not_after: datetime
    profile: str
    document: str = ""
    approved_at: datetime | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrderUse:
    """How much of an order is taken, and whether one unit is among those that took it."""

    units: int
    holds_unit: bool
    scrapped: bool = False
    """Whether the unit was scrapped. It keeps its place: scrap gives none back."""
    reworked: int = 0
    """How often the unit was let be made again in its place."""


class UnitMark(Enum):
    """What was said of a unit after it took a place of its order."""

    SCRAPPED = "scrapped"
    REWORKED = "reworked"
    """It is made again, with another chip, in the same place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAccount:
    """
    What became of the places of an order.

    Each unit that took a place is counted in exactly one of `confirmed` (alive, its birth confirmed), `unconfirmed`
    (alive, its birth record is awaited), `ended` (born, and its identity has ended since), `lapsed` (never confirmed,
    and nothing of it lives) and `scrapped`. `reworked` counts the times that a unit was made again in its place.
    """

    ordered: int
    confirmed: int = 0
    unconfirmed: int = 0
    ended: int = 0
    lapsed: int = 0
    scrapped: int = 0
    reworked: int = 0

    @property
    def taken(self) -> int:
        """Places that are taken, whatever became of the units."""
        return self.confirmed + self.unconfirmed + self.ended + self.lapsed + self.scrapped

    @property
    def left(self) -> int:
        """Places that are left."""
        return self.ordered - self.taken


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceGrant:
    """
    A nonce that was handed out: to whom, for which unit, until when.

    Only the SHA-256 of the nonce is kept. While it is open (unused, unexpired) the unit is leased to its holder.
    """

    digest: str
    """SHA-256 in lower-case hexadecimal."""
    holder: str
    unit_serial: str
    expires_at: datetime
    used_by: str | None = None
    """Serial of the issuance that consumed it."""
    waiting: tuple[str, ...] = ()
    """Holders that have asked for the unit meanwhile, in their order."""


class Ending(Enum):
    """Why a certificate dies."""

    UNCONFIRMED = "unconfirmed"
    SUPERSEDED = "superseded"
    ROTATED = "rotated"
    REVOKED = "revoked"
    HELD = "held"
    """The unit is suspended or has been returned: the only end that can be taken back."""
    RELEASED = "released"
    """A hold was taken back. No certificate dies of it: it stands in the list of decisions alone."""

    @property
    def decided(self) -> bool:
        """Whether somebody has decided it: it counts from then on for everyone, whatever their clocks say."""
        return self in (Ending.SUPERSEDED, Ending.REVOKED, Ending.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """
    One certificate's life, from the intent to sign it.

    The fields down to `validity_days` are written before the signature is made and decide everything that is signed,
    so an issuance that was cut short is finished to the same contents. It counts as revoked from `dies_at`.
    """

    serial: str
    unit_serial: str
    chip: ChipID
    chip_model: str
    hw_type: str
    spki: bytes
    evidence: bytes
    order: str
    product: str
    organization: str
    profile: str
    requested_by: str
    intended_at: datetime
    validity_days: int
    kind: str = "device"
    """Which kind of certificate, as configuration names it (`pki.profile_kinds`)."""
    issuer: str = ""
    """The key identifier of the issuing key, in hexadecimal; "" for certificates of releases that had only one."""
    result: bytes | None = None
    """The signed attestation result, where the certificate carries that in place of the evidence."""
    beside: bool = False
    """Its key opens no TLS session: it stays beside the certificate that the device connects with."""
    ak_fingerprint: str = ""
    """SHA-256 of the attestation key that the evidence is under; "" for certificates of releases that kept none."""
    certificate: bytes | None = None
    confirmed_at: datetime | None = None
    dies_at: datetime | None = None
    ending: Ending | None = None

    @property
    def expires_at(self) -> datetime:
        """When the certificate expires."""
        return self.intended_at + timedelta(days=self.validity_days)

    def alive(self, at: datetime) -> bool:
        """Say whether the certificate is neither expired nor counted as revoked at this moment."""
        return at < self.expires_at and self.open(at)

    def open(self, at: datetime) -> bool:
        """
        Say whether there is a life to end: an expired certificate has one too.

        A decided ending counts although `at` is before it: the clock of a request was read before its transaction
        began, and what was decided in between holds.
        """
        if self.ending is not None and self.ending.decided:
            return False
        return self.dies_at is None or at < self.dies_at

    def state(self, at: datetime) -> str:
        """Return "intended" (not signed yet), "issued", "confirmed", "superseded" or "revoked", as rigs are told."""
        if self.alive(at):
            if self.certificate is None:
                return "intended"
            return "issued" if self.confirmed_at is None else "confirmed"
        return "superseded" if self.ending in (Ending.SUPERSEDED, Ending.ROTATED) else "revoked"


class UnitState(Enum):
    """Where a unit is in its life."""

    MADE = "made"
    """Its birth is confirmed."""
    SHIPPED = "shipped"
    ACTIVE = "active"
    """It has renewed its certificate by itself: it is in the field."""
    SUSPENDED = "suspended"
    RETURNED = "returned"
    REWORKED = "reworked"
    """Its old chip is retired, and it waits for its birth with another one."""
    RETIRED = "retired"
    """For good."""

    @property
    def dark(self) -> bool:
        """Whether the unit gets no certificates, and none of those that it has counts."""
        return self in (UnitState.SUSPENDED, UnitState.RETURNED, UnitState.RETIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """
    One unit as it stands.

    `chip` is the only one that may be enrolled for it; None for one that waits for any chip. `order` is the order of
    its latest birth. `resumes` is what it is again when it is dark no more.
    """

    serial: str
    chip: ChipID | None
    state: UnitState
    since: datetime
    order: str
    reason: str = ""
    resumes: UnitState | None = None


class GroupKind(Enum):
    """By what a whole group of chips is denied."""

    AK = "ak"
    """The SHA-256 of an attestation key's SubjectPublicKeyInfo, in lower-case hexadecimal."""
    MODEL = "model"
    """A chip model, as endorsements.toml names it."""


@dataclass(frozen=True, slots=True)
class ChipGroup:
    """All chips under one attestation key, or of one model."""

    kind: GroupKind
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDenial:
    """A decision that a group gets no certificates any more. `settled_at`: when the last one that it had was ended."""

    group: ChipGroup
    reason: str
    since: datetime
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What the ledger is asked about one candidate for a certificate."""

    order: str
    nonce: str
    """SHA-256 in lower-case hexadecimal."""
    chip: ChipID
    unit_serial: str
    groups: tuple[ChipGroup, ...] = ()
    """The groups that the chip belongs to."""


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger knows of a candidate, read in the transaction that also writes the decision."""

    order: Order | None
    grant: NonceGrant | None
    near: tuple[Issuance, ...]
    """Every issuance to this chip or to this unit, living or dead, oldest first."""
    use: OrderUse
    denial: str | None
    """Why the chip, or a group that it belongs to, gets no certificate."""
    unit: Unit | None = None
    configurations: tuple[InForce, ...] = ()
    """The configurations that were put in force last, the latest one first."""


@dataclass(frozen=True, slots=True)
class End:
    """A decision that a certificate counts as revoked from a moment on."""

    serial: str
    dies_at: datetime
    ending: Ending


@dataclass(frozen=True, slots=True)
class Revocation:
    """One line of the revocation list."""

    serial: str
    at: datetime
    ending: Ending
    expires_at: datetime
    issuer: str = ""
    """As in Issuance."""
