# SPDX-License-Identifier: Apache-2.0
"""Events of a line, and parcels with them, for whoever stores or takes them."""

from birthmark.core.delivery import Parcel, SignedBirth
from birthmark.core.line_events import Heading, LineEvent, PanelEnded, UnitBorn, UnitStarted, encode_event
from support.births import MOMENT, Births

JOURNAL = "0011223344556677"
TRANSACTION = "5a1d6a3e-0000-4000-8000-000000000001"


def heading(key: str, operator: str = "ada") -> Heading:
    return Heading(
        idempotency_key=key,
        rig="rig-a",
        run="run-1",
        transaction=TRANSACTION,
        at=MOMENT.isoformat(timespec="milliseconds"),
        operator=operator,
        product="Controller",
        order="order-1",
        mes_hold=False,
    )


def started(unit: str, operator: str = "ada") -> UnitStarted:
    return UnitStarted(**heading(f"{TRANSACTION}:unit.started.{unit}", operator), unit=unit, position=1)


def ended(key: str) -> PanelEnded:
    return PanelEnded(**heading(key), passed=1, failed=0, skipped=0, panel_s=1.5)


def born(birth: SignedBirth) -> UnitBorn:
    return UnitBorn(**heading(birth.key), unit=birth.unit, position=1, jws=birth.jws)


def parcel(event: LineEvent, sequence: int = 1, destination: str = "mes") -> Parcel:
    """Return the parcel of an event as the store would have it with this number."""
    members = {name: getattr(event, name) for name in event.__struct_fields__}
    numbered = type(event)(**(members | {"journal": JOURNAL, "sequence": sequence}))
    return Parcel(destination, sequence, event.idempotency_key, event.about, encode_event(numbered))


def birth_parcel(births: Births, unit: str, sequence: int = 1, operator: str = "ada") -> Parcel:
    return parcel(born(births.of(unit, operator)), sequence)
