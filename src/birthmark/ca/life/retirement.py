# SPDX-License-Identifier: Apache-2.0
"""
May the old root be retired? Only when nearly every living device holds the new one. Pure: no store, no clock.

What shows that a device holds an anchor, the better proof first:

1. Its certificate hangs under it, and it has been in contact with that certificate: an agent installs no certificate
   that does not chain to an anchor that it holds.
2. At its last EST contact, authenticated with its own key, the device named it among its anchors.

That `cacerts` was answered with the new root shows nothing: it may be on the way to a device that never stored it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from birthmark.ca.errors import Refused
from birthmark.core.errors import ConfigError
from birthmark.pki.paths import issued_by

THRESHOLD_MIN_PERMILLE: Final = 900
"""No configuration lets a root go while more than a tenth of the fleet is without its successor."""
THRESHOLD_MAX_PERMILLE: Final = 1_000
NAMED_MAX: Final = 20
CONFLICT: Final = 409


@dataclass(frozen=True, slots=True)
class DeviceAnchors:
    """
    What is known of the anchors of one living device: neither revoked nor retired. Roots are named by their SHA-256.

    `certificate_root` is the root that its present certificate hangs under. `anchors` and `last_contact` are of the
    last EST call that the device made with that certificate; empty and None when it has made none.
    """

    unit_serial: str
    certificate_root: str
    anchors: frozenset[str]
    last_contact: datetime | None

    def holds(self, root: str) -> bool:
        """Tell whether the device has shown that it holds this root."""
        return self.last_contact is not None and (root == self.certificate_root or root in self.anchors)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a new anchor has come."""

    living: int
    holding: int
    under_old: int
    """Living devices whose certificate still hangs under the old root: the cloud needs old-with-new for them."""
    silent: int
    """Living devices that have made no EST call with their present certificate. They count as without it."""
    without: tuple[str, ...]
    """The first few units that have not shown it, by serial."""

    def reaches(self, permille: int) -> bool:
        """Tell whether so many of a thousand living devices hold the new anchor. Of an empty fleet, all do."""
        return self.holding * 1_000 >= permille * self.living

    @property
    def text(self) -> str:
        """The share as people read it, rounded down: 99.97 % is not 100 %."""
        share = self.holding * 10_000 // self.living if self.living else 10_000
        return f"{self.holding} of {self.living} living devices hold it ({share // 100}.{share % 100:02} %)"


@dataclass(frozen=True, slots=True)
class RetirementTerms:
    """The threshold, in thousandths of the living fleet. Raises ConfigError outside of 900 to 1000."""

    threshold_permille: int

    def __post_init__(self) -> None:
        """Refuse a threshold that would strand devices."""
        if not THRESHOLD_MIN_PERMILLE <= self.threshold_permille <= THRESHOLD_MAX_PERMILLE:
            raise ConfigError(
                f"a threshold of {self.threshold_permille} ‰",
                hint=f"a number from {THRESHOLD_MIN_PERMILLE} to {THRESHOLD_MAX_PERMILLE}",
            )


def coverage(devices: Iterable[DeviceAnchors], old: str, new: str) -> Coverage:
    """Return how far the new root has come. Each device counts once; the devices may come from a cursor."""
    living = holding = under_old = silent = 0
    without: list[str] = []
    for device in devices:
        living += 1
        holds = device.holds(new)
        holding += holds
        under_old += device.certificate_root == old
        silent += device.last_contact is None
        if not holds and len(without) < NAMED_MAX:
            without.append(device.unit_serial)
    return Coverage(living, holding, under_old, silent, tuple(without))


def demand_retirement(
    old: x509.Certificate,
    new: x509.Certificate,
    issuing: x509.Certificate,
    reached: Coverage,
    terms: RetirementTerms,
    at: datetime,
) -> None:
    """
    Pass the retirement of the old root. `reached` must have been measured for these two, `issuing` is in use now.

    Raises:
        Refused: `ca.root.same`, `ca.root.in-use`, `ca.root.validity`, `ca.root.coverage`.

    """
    if old == new:
        raise Refused(CONFLICT, "ca.root.same", "a root is not retired in favour of itself")
    if issued_by(issuing, old):
        raise Refused(CONFLICT, "ca.root.in-use", "the issuing CA hangs under the root that is to be retired")
    if not new.not_valid_before_utc <= at <= new.not_valid_after_utc:
        raise Refused(CONFLICT, "ca.root.validity", "the new root is not valid now")
    if not reached.reaches(terms.threshold_permille):
        wanted = f"{terms.threshold_permille} of 1000 are wanted; without it is for example {reached.without[0]}"
        raise Refused(CONFLICT, "ca.root.coverage", f"{reached.text}; {wanted}")
