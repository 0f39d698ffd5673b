# SPDX-License-Identifier: Apache-2.0
"""Plain values to fill a ledger with."""

from datetime import UTC, datetime, timedelta

from birthmark.core.issuance import ChipID, Ending, Issuance, Order, UnitRange

AT = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CHIP = ChipID("Smith", "0123456789ABCDEF")
ORDER = Order(
    id="order-1",
    product="Controller",
    quantity=2,
    chip_models=("optiga-trust-m", "swtpm"),
    rigs=("rig-a", "rig-b"),
    units=UnitRange("BM-000001", "BM-000100"),
    not_before=AT - SECOND,
    not_after=AT + SECOND,
    profile="device-p256",
)
INTENT = Issuance(
    serial="40aa",
    unit_serial="BM-000001",
    chip=CHIP,
    chip_model="optiga-trust-m",
    hw_type="1.2.3",
    spki=b"spki",
    evidence=b"evidence",
    order=ORDER.id,
    product=ORDER.product,
    organization="Forge",
    profile=ORDER.profile,
    requested_by="rig:rig-a",
    intended_at=AT,
    validity_days=1825,
    dies_at=AT + SECOND,
    ending=Ending.UNCONFIRMED,
)
