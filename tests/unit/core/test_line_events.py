# SPDX-License-Identifier: Apache-2.0
"""What the line tells: one form for each event, read strictly."""

import json
from typing import Any

import pytest
from hypothesis import given

from birthmark.core.delivery import SignedBirth
from birthmark.core.errors import DecodeError
from birthmark.core.line_events import (
    EVENT_MAX_BYTES,
    KINDS,
    LineEvent,
    PanelBegun,
    UnitBorn,
    decode_event,
    delivered_form,
    encode_event,
)
from support.births import Births
from support.line_events import events
from support.parcels import born, heading, started

BIRTHS = Births()


@given(events())
def test_what_is_written_is_read_as_the_same_event(event: LineEvent) -> None:
    assert decode_event(encode_event(event)) == event
    assert json.loads(encode_event(event))["event"] == event.kind


def test_every_kind_says_what_it_is_and_no_two_the_same() -> None:
    kinds = [str(kind.__struct_config__.tag) for kind in KINDS]
    assert len(set(kinds)) == len(kinds) == 13
    assert kinds[2] == PanelBegun(**heading("key"), places=()).kind == "panel.begun"


def test_an_event_names_its_unit_where_it_has_one() -> None:
    assert started("BM-000001").about == "BM-000001"
    assert PanelBegun(**heading("key"), places=()).about == ""


def changed(**changes: Any) -> bytes:
    whole = json.loads(encode_event(started("BM-000001"))) | changes
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="no kind"),
        pytest.param(encode_event(started("BM-000001"))[:-1], id="torn"),
        pytest.param(encode_event(started("BM-000001")) + b"{}", id="two"),
        pytest.param(changed(event="unit.gone"), id="an unknown kind"),
        pytest.param(changed(more=1), id="an unknown member"),
        pytest.param(changed(unit=None), id="a missing member"),
        pytest.param(changed(position="1"), id="another type"),
        pytest.param(b'{"unit":"BM-000002",' + changed()[1:], id="a member twice"),
        pytest.param(changed(reason="x" * EVENT_MAX_BYTES), id="too large"),
    ],
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_event(data)


def test_receivers_get_a_birth_with_its_record_in_plain_and_all_else_as_it_is() -> None:
    event = started("BM-000001")
    assert delivered_form(event) == encode_event(event)
    birth = born(BIRTHS.of("BM-000001"))
    got = json.loads(delivered_form(birth))
    record = got.pop("record")
    assert got == json.loads(encode_event(birth))
    assert (record["unit_serial"], record["certificate_sha256"]) == ("BM-000001", birth.idempotency_key)


@pytest.mark.parametrize("jws", ["", "a.b.c", "not a jws"])
def test_a_birth_without_a_record_has_no_form_for_receivers(jws: str) -> None:
    birth = born(SignedBirth("f" * 64, "BM-000001", jws))
    assert isinstance(decode_event(encode_event(birth)), UnitBorn)
    with pytest.raises(DecodeError):
        delivered_form(birth)
