# SPDX-License-Identifier: Apache-2.0
"""What the administration's calls about certificates, chips, units and health say and hear: JSON, read strictly."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from birthmark.ca.life.lifecycle import UnitFile
from birthmark.ca.watch.health import Health
from birthmark.core.issuance import Unit
from birthmark.core.proposals import Reason

PAGE_MAX = 500
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
_Limit = Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)]


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what is asked: unknown members are refused."""


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is told."""


class PageQuery(_Asked, frozen=True):
    """Which part of a list: what comes after the number of the last page (`next`), and how much of it."""

    after: _Number = 0
    limit: _Limit = 100


class ReadQuery(_Asked, frozen=True):
    """Why somebody reads what is about people; it goes into the log."""

    reason: Reason


class BundleQuery(ReadQuery, frozen=True):
    """Why somebody has an audit bundle made, and whether with the evidence that certificates do not carry."""

    evidence: bool = False


class NewMove(_Asked, frozen=True):
    """Why this is said of a unit."""

    reason: Reason


class NewRevocation(_Asked, frozen=True):
    """Why a certificate, or all that a unit has, is revoked."""

    reason: Reason


class NewDenial(_Asked, frozen=True):
    """Why a chip, or a group of chips, gets no certificate any more."""

    reason: Reason


class CertificateView(_Told, frozen=True):
    """A certificate that was intended or issued. Times are "" where there is none."""

    serial: str
    unit_serial: str
    chip_maker: str
    chip_serial: str
    chip_model: str
    order: str
    state: str
    issued: str
    confirmed: str
    dies: str
    certificate_sha256: str


class CertificatePage(_Told, frozen=True):
    """Certificates, oldest first. `next` is what `after` is for the next page; null where there is none."""

    certificates: tuple[CertificateView, ...]
    next: int | None


class RevocationView(_Told, frozen=True):
    """The serials of all certificates that ended by it."""

    revoked: tuple[str, ...]


class GroupDenialView(_Told, frozen=True):
    """How many certificates of a denied group of chips ended by it."""

    ended: int


class DeniedClientView(_Told, frozen=True):
    """A client that two persons have denied: `key:<SHA-256>`, `rig:<name>` or `person:<name>`."""

    client: str
    reason: str
    since: str
    """As a proposal to allow the client again names it."""


class DeniedClientList(_Told, frozen=True):
    """Every denial of a client that is in force, the oldest first. Those in ca.toml are not among them."""

    clients: tuple[DeniedClientView, ...]


class UnitView(_Told, frozen=True):
    """A unit as it stands. Without a chip it waits for one; `resumes` is what it is again when it is dark no more."""

    serial: str
    chip_maker: str
    chip_serial: str
    state: str
    since: datetime
    order: str
    reason: str
    resumes: str


class UnitFileView(UnitView, frozen=True):
    """A unit as it stands, and the state of each of its certificates by serial, oldest first."""

    certificates: dict[str, str]


class EntryView(_Told, frozen=True):
    """An entry of the log."""

    number: int
    at: datetime
    who: str
    act: str
    order: str
    chip_serial: str
    certificate: str
    finding: str
    detail: str


class HistoryView(_Told, frozen=True):
    """Everything about one unit. A birth record (compact JWS) names its operator: this reading is in the log."""

    unit_serial: str
    certificates: tuple[CertificateView, ...]
    births: tuple[str, ...]
    entries: tuple[EntryView, ...]


class BundleView(_Told, frozen=True):
    """Everything about one unit, in a file that proves itself. That it was made is in the log."""

    bundle: bytes


class ReadyView(_Told, frozen=True):
    """A certificate could be issued now; `sound` when one of every profile that may issue today could."""

    sound: bool
    ready: Literal[True] = True


class CheckView(_Told, frozen=True):
    """What one check found, and what to do about it."""

    name: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    hint: str


class ProfileHealthView(_Told, frozen=True):
    """Whether certificates of a profile could be issued now; `issuer` is "" for the first issuing CA."""

    name: str
    issuer: str
    state: Literal["ok", "failed", "ended"]
    detail: str


class HealthView(_Told, frozen=True):
    """What all checks found: sound when none has failed, ready when some profile can issue all the same."""

    at: datetime
    ready: bool
    sound: bool
    checks: tuple[CheckView, ...]
    profiles: tuple[ProfileHealthView, ...]


def unit_view(unit: Unit) -> UnitView:
    """Return a unit as it is told."""
    return UnitView(
        serial=unit.serial,
        chip_maker="" if unit.chip is None else unit.chip.maker,
        chip_serial="" if unit.chip is None else unit.chip.serial,
        state=unit.state.value,
        since=unit.since,
        order=unit.order,
        reason=unit.reason,
        resumes="" if unit.resumes is None else unit.resumes.value,
    )


def unit_file_view(found: UnitFile, at: datetime) -> UnitFileView:
    """Return a unit and its certificates as they are told."""
    states = {each.serial: each.state(at) for each in found.issuances}
    return UnitFileView(**msgspec.structs.asdict(unit_view(found.unit)), certificates=states)


def health_view(found: Health) -> HealthView:
    """Return what was found as it is told."""
    checks = tuple(
        CheckView(name=each.name, state=each.state.value, detail=each.detail, hint=each.hint) for each in found.checks
    )
    profiles = tuple(
        ProfileHealthView(name=each.name, issuer=each.issuer, state=each.state.value, detail=each.detail)
        for each in found.profiles
    )
    return HealthView(at=found.at, ready=found.ready, sound=found.sound, checks=checks, profiles=profiles)
