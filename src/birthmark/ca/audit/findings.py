# SPDX-License-Identifier: Apache-2.0
"""The outcome of verifying an audit bundle: findings with dotted ids, what is proven, and what is not. Never a bool."""

from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn, TypeAlias

from birthmark.ca.transparency.bundle_format import Manifest
from birthmark.core.audit import AuditRow


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One reason against the bundle. `member` names the piece of it that the finding is about."""

    id: str
    member: str
    detail: str


@dataclass(frozen=True, slots=True)
class Proven:
    """Something that an outsider now knows."""

    topic: str
    text: str


@dataclass(frozen=True, slots=True)
class Unproven:
    """Something that this bundle cannot show, or that was not asked for."""

    topic: str
    text: str


Told: TypeAlias = AuditFinding | Proven | Unproven


@dataclass(frozen=True, slots=True)
class Life:
    """One certificate of the unit, as the log tells it: when and on what it was issued, and what became of it."""

    serial: str
    issued_at: datetime
    order: str
    chip: str
    """Maker, model and serial; "" where the entry does not say."""
    policy: str
    birth: str
    """Who confirmed its birth; "renewal" for one that needs none; "" for one that was never confirmed."""
    state: str
    """"alive", "held", or how it ended, with the moment and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What there is to say of a bundle. With a finding nothing is proven. Has no truth value."""

    unit_serial: str
    log: str
    log_size: int
    complete_until: datetime
    """When the bundle was made: what is proven to be complete is so up to then."""
    manifest: Manifest
    rows: tuple[tuple[int, AuditRow], ...]
    """The log's entries about the unit with their numbers, oldest first."""
    others: tuple[tuple[int, AuditRow], ...]
    """The log's entries about its orders, the policies and the trust anchors."""
    lives: tuple[Life, ...]
    findings: tuple[AuditFinding, ...]
    proven: tuple[Proven, ...]
    unproven: tuple[Unproven, ...]

    def __bool__(self) -> NoReturn:
        """Refuse: trust by a careless `if` would be trust by accident."""
        raise TypeError("a Judgement is not a bool; look at its findings")
