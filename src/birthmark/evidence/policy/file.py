# SPDX-License-Identifier: Apache-2.0
"""
endorsements.toml as it is written: one structure per table (docs/reference/endorsements.md).

Values that stand for their default are left out of the policy's digest, so that a new key with a default, in a later
version of the program, leaves the digest of an old file as it was.
"""

from datetime import date, datetime
from typing import Annotated, Literal, TypeAlias

import msgspec

from birthmark.core.config import Config

Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Source: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
"""Where a figure comes from: document, edition, section; or a URL."""
Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Scheme: TypeAlias = Literal["FIPS 140-2", "FIPS 140-3", "CC"]


class MakerEntry(Config, frozen=True, omit_defaults=True):
    """
    `[[maker]]`: a chip maker, and the files with its roots and AK CAs.

    In `trust` the self-signed certificates are anchors and the others intermediates; in `anchors` every certificate is
    an anchor. One of the two is there.
    """

    name: Name
    trust: str | None = None
    anchors: str | None = None


class ModelEntry(Config, frozen=True, omit_defaults=True):
    """`[[model]]`: a chip model of a maker, and the grounds on which it is endorsed."""

    id: Name
    hw_type: str
    maker: str
    certification: str
    statement_types: tuple[str, ...]
    withdrawn: Moment | None = None
    denied_firmware: tuple[str, ...] = ()
    minimum_firmware: str | None = None
    certifications: tuple[str, ...] = ()


class CertificationEntry(Config, frozen=True, omit_defaults=True):
    """`[[certification]]`: a certificate of a chip, with its status on the day when somebody looked it up."""

    id: Name
    scheme: Scheme
    certificate: Name
    product: Name
    level: str
    status: Literal["valid", "historical", "revoked"]
    looked_up: date
    source: Source
    expires: date | None = None


class DeliveryEntry(Config, frozen=True, omit_defaults=True):
    """`[[delivery]]`: the list of chip serials that a maker says it has delivered, of one model or of all."""

    maker: str
    file: str
    sha256: Digest
    model: str | None = None


class DeniedChipEntry(Config, frozen=True):
    """`[[denied_chip]]`: one chip that is refused, whatever its evidence says."""

    maker: str
    serial: str
    reason: Name


class CalendarAlgorithmEntry(Config, frozen=True, omit_defaults=True):
    """`[[calendar.algorithm]]`: an algorithm that the calendar allows, and the last day on which it does."""

    name: str
    source: Source
    last_use: date | None = None


class CalendarEntry(Config, frozen=True, omit_defaults=True):
    """`[[calendar]]`: what one authority says about algorithms. It allows those that it lists and no others."""

    name: Name
    title: Source
    url: Source
    algorithm: tuple[CalendarAlgorithmEntry, ...]


class LastIssueEntry(Config, frozen=True):
    """`[[profile.algorithm]]`: a last day of issue that is our own decision."""

    name: str
    last_issue: date
    source: Source


class ProfileEntry(Config, frozen=True, omit_defaults=True):
    """
    `[[profile]]`: what is demanded, beyond the endorsement, before a certificate of this profile is issued.

    `margin_days` is taken off each calendar's last day of use, so that no certificate outlives it. `minimum` holds a
    level for each scheme; one certification that meets its scheme's level is enough.
    """

    name: Name
    calendars: tuple[str, ...] = ()
    margin_days: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    algorithm: tuple[LastIssueEntry, ...] = ()
    minimum: dict[Scheme, str] = msgspec.field(default_factory=dict)
    accept_historical: bool = False


class EndorsementsFile(Config, frozen=True, omit_defaults=True):
    """
    The file.

    `denied_aks` are SHA-256 fingerprints of attestation keys (`AttestationKey.fingerprint`), `denied_ak_cas` of the
    keys of CAs: of SubjectPublicKeyInfo, never of certificates, of which one key can have many.
    """

    maker: tuple[MakerEntry, ...]
    model: tuple[ModelEntry, ...]
    denied_aks: tuple[Digest, ...] = ()
    denied_ak_cas: tuple[Digest, ...] = ()
    denied_chip: tuple[DeniedChipEntry, ...] = ()
    certification: tuple[CertificationEntry, ...] = ()
    delivery: tuple[DeliveryEntry, ...] = ()
    calendar: tuple[CalendarEntry, ...] = ()
    profile: tuple[ProfileEntry, ...] = ()


def named_files(file: EndorsementsFile) -> tuple[str, ...]:
    """Return the name of every file that the policy is made of, besides itself: each once, sorted."""
    names = {name for maker in file.maker for name in (maker.trust, maker.anchors) if name is not None}
    return tuple(sorted(names | {delivery.file for delivery in file.delivery}))
