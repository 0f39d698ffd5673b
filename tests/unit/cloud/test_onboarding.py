# SPDX-License-Identifier: Apache-2.0
"""What a contact means for the registry."""

from dataclasses import replace
from datetime import timedelta

import pytest

from birthmark.cloud.errors import CloudRefused
from birthmark.cloud.onboarding import Contact, Known, contact
from birthmark.core.fleet import RegisteredDevice
from support.cloud_parts import NOW

BEFORE = RegisteredDevice("BM-000001", "optiga-trust-m", "AA00", "11" * 32, NOW, NOW, NOW)
NEWER = replace(BEFORE, certificate_sha256="22" * 32, not_before=NOW + timedelta(days=1))
SAME_SECOND = replace(BEFORE, certificate_sha256="33" * 32)
OTHER_CHIP = replace(NEWER, chip_serial="BB00")
OLDER = replace(BEFORE, certificate_sha256="44" * 32, not_before=NOW - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("presented", "known", "expected"),
    [
        (BEFORE, Known(None, None, superseded=False), Contact.FIRST),
        (BEFORE, Known(BEFORE, BEFORE.unit, superseded=False), Contact.AGAIN),
        (NEWER, Known(BEFORE, BEFORE.unit, superseded=False), Contact.RENEWED),
        (SAME_SECOND, Known(BEFORE, BEFORE.unit, superseded=False), Contact.RENEWED),
        (OTHER_CHIP, Known(BEFORE, None, superseded=False, ended=True), Contact.REPLACED),
    ],
    ids=["unknown", "same certificate", "newer certificate", "another certificate of the same second", "another chip"],
)
def test_an_accepted_contact_is(presented: RegisteredDevice, known: Known, expected: Contact) -> None:
    assert contact(presented, known) is expected


@pytest.mark.parametrize(
    ("presented", "known", "finding"),
    [
        (replace(BEFORE, chip_serial="BB00"), Known(BEFORE, None, superseded=False), "cloud.chip-changed"),
        (replace(BEFORE, chip_model="se050"), Known(BEFORE, None, superseded=False), "cloud.chip-changed"),
        (replace(BEFORE, unit="BM-000002"), Known(None, BEFORE.unit, superseded=False), "cloud.chip-taken"),
        (OLDER, Known(BEFORE, BEFORE.unit, superseded=False), "cloud.superseded"),
        (SAME_SECOND, Known(BEFORE, BEFORE.unit, superseded=True), "cloud.superseded"),
        (OTHER_CHIP, Known(BEFORE, None, superseded=False), "cloud.chip-changed"),
        (OTHER_CHIP, Known(BEFORE, "BM-000002", superseded=False, ended=True), "cloud.chip-taken"),
        (replace(OLDER, chip_serial="BB00"), Known(BEFORE, None, superseded=False, ended=True), "cloud.superseded"),
        (NEWER, Known(BEFORE, BEFORE.unit, superseded=True), "cloud.superseded"),
    ],
    ids=[
        "other chip",
        "other model",
        "chip of another unit",
        "older",
        "superseded in its second",
        "another chip, bound",
        "taken",
        "older, another chip",
        "superseded",
    ],
)
def test_a_contact_is_refused_as(presented: RegisteredDevice, known: Known, finding: str) -> None:
    with pytest.raises(CloudRefused) as caught:
        contact(presented, known)
    assert caught.value.finding == finding
