# SPDX-License-Identifier: Apache-2.0
"""
Onboarding: what a verified certificate means for the registry. Pure.

A unit is bound to its chip at first contact; its newest certificate that was ever used is the only one that counts. It
is bound to another chip only when the issuing authority has ended the certificate that it was bound by, and issued a
newer one to the other chip (which takes two persons there). The rules, in order, with the finding of each:

1. The unit is bound to another chip, and lives with it         cloud.chip-changed
2. The chip is bound to another unit                            cloud.chip-taken
3. A newer certificate of this unit has been used               cloud.superseded
"""

from dataclasses import dataclass
from enum import Enum

from birthmark.cloud.errors import CloudRefused
from birthmark.core.fleet import RegisteredDevice


class Contact(Enum):
    """What the registry has to write for an accepted contact."""

    FIRST = "first"
    AGAIN = "again"
    RENEWED = "renewed"
    REPLACED = "replaced"
    """The unit has another chip now."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry holds about the unit, the chip and the certificate that are being presented."""

    device: RegisteredDevice | None
    chip_unit: str | None
    """The unit that the presented chip is bound to."""
    superseded: bool
    ended: bool = False
    """Whether the certificate that the unit is bound by is revoked."""


def contact(presented: RegisteredDevice, known: Known) -> Contact:
    """
    Return what kind of contact this is.

    Two certificates of one second cannot be ordered by their dates; then the one that was used later is the newer.

    Raises:
        CloudRefused: one of the numbered rules above.

    """
    device = known.device
    # 1. unit -> chip
    replaced = device is not None and _chip(device) != _chip(presented)
    if device is not None and replaced and not known.ended:
        raise CloudRefused(
            f"unit {presented.unit} is bound to chip {device.chip_serial}, not to {presented.chip_serial}",
            finding="cloud.chip-changed",
        )
    # 2. chip -> unit
    if known.chip_unit not in {None, presented.unit}:
        raise CloudRefused(
            f"chip {presented.chip_serial} is bound to unit {known.chip_unit}, not to {presented.unit}",
            finding="cloud.chip-taken",
        )
    if device is None:
        return Contact.FIRST
    if device.certificate_sha256 == presented.certificate_sha256:
        return Contact.AGAIN
    # 3. order of certificates
    if known.superseded or presented.not_before < device.not_before:
        raise CloudRefused(f"unit {presented.unit} has used a newer certificate", finding="cloud.superseded")
    return Contact.REPLACED if replaced else Contact.RENEWED


def _chip(device: RegisteredDevice) -> tuple[str, str]:
    return device.chip_model, device.chip_serial
