# SPDX-License-Identifier: Apache-2.0
"""The rigs' records at a running CA: who reaches which, what is refused, and what stands in the log of it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from birthmark.ca.wiring import open_ca
from birthmark.core.issuance import UnitRange
from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.core.work_wire import NewWork, WorkAnswer, WorkList, record_of, version_of, work_of
from birthmark.line.errors import AuthorityRefused
from birthmark.line.station.order_watch import OrderWatch
from birthmark.line.units import UnitLimits, begun, seen
from birthmark.line.wire_units import WireUnits
from birthmark.net.transport import Response
from support.ca_process import CAFiles, RunningCA, running_ca

FAR, KEY = "OTHER-001", "ab" * 32
LIMITS = UnitLimits()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    """A CA that keeps units. Both rigs have one order; a second one is for rig-b, a third is closed."""
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    order = files.order
    files.put_order(replace(order, id="order-2", rigs=("rig-b",), units=UnitRange("OTHER-001", "OTHER-009")))
    closed = replace(order, id="order-3", units=UnitRange("CLOSED-001", "CLOSED-009"), closed_at=files.now)
    files.put_order(closed)
    files.config.write_text(f'units_database = "units.sqlite"\n{files.config.read_text()}')
    with running_ca(files) as running:
        yield running


def units_of(ca: RunningCA, rig: str) -> WireUnits:
    return WireUnits(ca.transport(rig))


def listed(ca: RunningCA, rig: str, unit: str) -> WorkList:
    answer = ca.transport(rig).request("GET", f"/v1/rigs/units?units={unit}")
    assert answer.status == 200, answer.body
    return msgspec.json.decode(answer.body, type=WorkList)


def sent(ca: RunningCA, rig: str, work: UnitWork, at: datetime, before: UnitWork) -> Response:
    asked = NewWork(version=version_of(before), at=at, work=record_of(work))
    headers = {"content-type": "application/json"}
    return ca.transport(rig).request("POST", f"/v1/rigs/units/{before.unit}", headers, msgspec.json.encode(asked))


def finding(answer: Response) -> tuple[int, str]:
    return answer.status, msgspec.json.decode(answer.body)["finding"]


def told(ca: RunningCA) -> list[dict[str, str]]:
    with open_ca(ca.files.config) as administration:
        return [row for row in administration.audit() if row["act"].startswith("work.")]


def leased(ca: RunningCA, rig: str, unit: str) -> UnitWork:
    return units_of(ca, rig).change(unit, lambda work, at: begun(work, Holder(rig, "run"), LIMITS, at))


@pytest.mark.parametrize("unit", [FAR, "CLOSED-001", "ELSE-001"])
def test_a_rig_reaches_no_unit_out_of_its_open_orders_and_the_log_says_that_it_tried(ca: RunningCA, unit: str) -> None:
    with pytest.raises(AuthorityRefused) as refused:
        units_of(ca, "rig-a").change(unit, lambda work, at: begun(work, Holder("rig-a", "run"), LIMITS, at))
    assert refused.value.finding == "ca.work.order"
    assert finding(sent(ca, "rig-a", UnitWork(unit), ca.files.now, UnitWork(unit))) == (403, "ca.work.order")
    rows = [(row["who"], row["act"]) for row in told(ca) if row["finding"] == "ca.work.order" and unit in row["detail"]]
    assert rows == [("machine:rig-a", "work.list"), ("machine:rig-a", "work.change")]


def test_a_rig_is_told_how_far_its_orders_are_and_of_no_others(ca: RunningCA) -> None:
    mine, closed = (OrderWatch(ca.transport("rig-a"), order, time.monotonic).now() for order in ("order-1", "order-3"))
    assert mine is not None
    order = ca.files.order
    assert (mine.order, mine.state, mine.ordered, mine.taken, mine.confirmed) == (
        "order-1",
        "open",
        order.quantity,
        0,
        0,
    )
    assert (mine.not_before, mine.not_after) == (order.not_before, order.not_after)
    assert (closed and closed.state) == "closed"
    for foreign in ("order-2", "order-9"):
        assert OrderWatch(ca.transport("rig-a"), foreign, time.monotonic).now() is None
        answer = ca.transport("rig-a").request("GET", f"/v1/rigs/orders/{foreign}")
        assert finding(answer) == (403, "ca.work.order")


def test_a_hostile_rig_frees_no_lease_of_another_one(ca: RunningCA) -> None:
    work = leased(ca, "rig-b", "BM-000010")
    now = listed(ca, "rig-a", "BM-000010").at
    for stolen in (
        replace(work, state=WorkState.OPEN, holder=Holder("", "")),
        replace(work, holder=Holder("rig-a", "run")),
        replace(work, lease_until=now),
    ):
        assert finding(sent(ca, "rig-a", stolen, now, work)) == (409, "ca.work.leased")
    assert units_of(ca, "rig-b").units(("BM-000010",)) == (work,)
    assert [row["who"] for row in told(ca) if row["finding"] == "ca.work.leased"] == ["machine:rig-a"] * 3


def test_what_was_made_of_an_older_record_or_moment_changes_nothing_and_hears_what_is(ca: RunningCA) -> None:
    before, now = UnitWork("BM-000011"), listed(ca, "rig-a", "BM-000011").at
    wanted = begun(before, Holder("rig-a", "run"), LIMITS, now)
    for at, seen_ in (
        (now, replace(before, faults=1)),
        (now - timedelta(seconds=5), before),
        (now + timedelta(hours=1), before),
    ):
        answer = sent(ca, "rig-a", wanted, at, seen_)
        kept = msgspec.json.decode(answer.body, type=WorkAnswer)
        assert (answer.status, kept.changed, work_of(kept.work)) == (200, False, before)
        assert kept.at >= now
    assert units_of(ca, "rig-a").history_of("BM-000011") == ()


def test_a_rig_sees_a_twin_of_a_foreign_order_and_not_who_decided_on_it(ca: RunningCA) -> None:
    rig_a, rig_b = units_of(ca, "rig-a"), units_of(ca, "rig-b")
    for rig, units, unit in (("rig-a", rig_a, "BM-000012"), ("rig-b", rig_b, FAR)):
        leased(ca, rig, unit)
        units.change(unit, lambda work, _at, rig=rig: seen(work, Holder(rig, "run"), "CHIP-7", KEY))  # type: ignore[misc] # mypy sees no default
    assert [work.unit for work in rig_a.sharing("CHIP-7", "")] == ["BM-000012", FAR]
    assert {change.work.unit for change in rig_a.history(0, 500)}.isdisjoint({FAR})
    assert FAR in {change.work.unit for change in rig_b.history(0, 500)}


def test_a_long_history_comes_whole_by_pages(ca: RunningCA) -> None:
    units = units_of(ca, "rig-a")
    for _ in range(3):
        leased(ca, "rig-a", "BM-000013")
    first = units.history(0, 2)
    assert len(first) == 2
    rest = units.history(first[-1].number, 500)
    assert units.history(0, 500) == first + rest


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"failures": -1}, (400, "ca.admin.body"), id="a negative count"),
        pytest.param({"reason": "x" * 1_025}, (400, "ca.admin.body"), id="a reason that is too long"),
        pytest.param({"finding": "a\x00b"}, (400, "ca.admin.body"), id="a control character"),
        pytest.param({"state": "born"}, (400, "ca.admin.body"), id="an unknown state"),
        pytest.param({"lease_until": "2026-11-23T12:00:00"}, (400, "ca.admin.body"), id="a moment without a zone"),
        pytest.param({"owner": "me"}, (400, "ca.admin.body"), id="an unknown member"),
    ],
)
def test_a_record_is_read_strictly(ca: RunningCA, change: dict[str, Any], status: tuple[int, str]) -> None:
    work = UnitWork("BM-000014")
    record = msgspec.to_builtins(record_of(work)) | change
    body = msgspec.json.encode({"version": version_of(work), "at": ca.files.now, "work": record})
    headers = {"content-type": "application/json"}
    assert finding(ca.transport("rig-a").request("POST", "/v1/rigs/units/BM-000014", headers, body)) == status


def test_a_record_that_says_one_thing_twice_is_refused(ca: RunningCA) -> None:
    work = UnitWork("BM-000015")
    asked = NewWork(version=version_of(work), at=ca.files.now, work=record_of(work))
    body = msgspec.json.encode(asked).replace(b'"faults":0', b'"faults":0,"faults":0')
    headers = {"content-type": "application/json"}
    assert finding(ca.transport("rig-a").request("POST", "/v1/rigs/units/BM-000015", headers, body)) == (
        400,
        "ca.admin.body",
    )


def test_a_ca_that_keeps_no_units_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    with running_ca(files) as ca, pytest.raises(AuthorityRefused) as refused:
        units_of(ca, "rig-a").sharing("", "")
    assert refused.value.finding == "ca.work.off"
