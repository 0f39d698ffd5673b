# SPDX-License-Identifier: Apache-2.0
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.line.cfx import structures
from birthmark.line.cfx.envelope import (
    CFX_VERSION,
    ENVELOPE_MAX_BYTES,
    Envelope,
    decode,
    encode,
    occurrence_id,
    transaction_id,
    unique_id,
)
from birthmark.line.cfx.messages import (
    MESSAGES,
    CFXMessage,
    Heartbeat,
    UnitsPersonalized,
    WorkStarted,
    name_of,
    time_span,
    topic_of,
)
from support.cfx import PUBLISHED, anything, demand_envelope

AT = datetime(2026, 5, 4, 12, 0, 0, 250_000, tzinfo=UTC)
BEAT = Envelope(
    time_stamp=AT,
    unique_id=unique_id("k"),
    source="Acme.Rig.A",
    body=Heartbeat(cfx_handle="Acme.Rig.A", heartbeat_frequency=time_span(60)),
)
ENVELOPES = st.builds(
    Envelope,
    time_stamp=st.datetimes(timezones=st.just(UTC)),
    unique_id=st.uuids(),
    source=st.text(max_size=8),
    target=st.none() | st.text(max_size=8),
    request_id=st.none() | st.text(max_size=8),
    body=st.one_of(*map(anything, MESSAGES)),
)


def changed(**fields: object) -> bytes:
    return json.dumps(json.loads(encode(BEAT)) | fields).encode()


@given(ENVELOPES)
def test_every_message_has_the_published_fields_and_no_other(envelope: Envelope) -> None:
    demand_envelope(json.loads(encode(envelope)))


@given(ENVELOPES)
def test_every_message_is_read_as_it_was_written(envelope: Envelope) -> None:
    assert decode(encode(envelope)) == envelope


def test_every_published_message_of_ours_is_there_and_none_more() -> None:
    assert {name_of(message) for message in MESSAGES} == set(PUBLISHED["message"])


@pytest.mark.parametrize("name", sorted(set(PUBLISHED["enumeration"]) - {"ResourceState"}))
def test_the_values_of_an_enumeration_are_the_published_ones(name: str) -> None:
    assert [member.value for member in getattr(structures, name)] == PUBLISHED["enumeration"][name]


def test_the_station_s_states_are_published_ones() -> None:
    assert {member.value for member in structures.ResourceState} < set(PUBLISHED["enumeration"]["ResourceState"])


def test_what_is_written_names_version_type_and_time_with_its_zone() -> None:
    written = json.loads(encode(BEAT))
    assert written["Version"] == CFX_VERSION == "2.1"
    assert written["MessageBody"]["$type"] == "CFX.Heartbeat, CFX"
    assert written["TimeStamp"] == "2026-05-04T12:00:00.250000Z"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-05-04T14:00:00.25+02:00", AT),
        # The SDK writes 100 ns.
        ("2026-05-04T12:00:00.2500000Z", AT),
        ("2026-05-04T07:30:00-04:30", datetime(2026, 5, 4, 7, 30, tzinfo=timezone(-timedelta(hours=4, minutes=30)))),
    ],
)
def test_the_times_of_others_are_read(time: str, expected: datetime) -> None:
    assert decode(changed(TimeStamp=time)).time_stamp == expected


def test_a_body_without_its_type_is_read_by_the_message_s_name() -> None:
    body = json.loads(encode(BEAT))["MessageBody"]
    del body["$type"]
    assert decode(changed(MessageBody=body)) == BEAT


def test_fields_that_a_later_version_adds_are_passed_over() -> None:
    body = json.loads(encode(BEAT))["MessageBody"] | {"New": {"Deep": [1]}}
    assert decode(changed(MessageBody=body, AlsoNew=1, Version="3.0")) == BEAT


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"", "cfx.message.malformed"),
        (b"\xff", "cfx.message.malformed"),
        (b"[" + encode(BEAT) + b"]", "cfx.message.malformed"),
        (encode(BEAT)[:-1], "cfx.message.malformed"),
        (encode(BEAT) + b"{}", "cfx.message.malformed"),
        (encode(BEAT).replace(b'"Target":null', b'"UniqueID":null'), "cfx.message.malformed"),
        (changed(MessageName="CFX.Production.Unheard"), "cfx.message.unknown"),
        (changed(MessageBody=None), "cfx.message.malformed"),
        (changed(MessageBody={"$type": "CFX.Other, CFX", "CFXHandle": "a"}), "cfx.message.malformed"),
        (changed(MessageBody={"CFXHandle": 1, "HeartbeatFrequency": ""}), "cfx.message.malformed"),
        (changed(UniqueID="no guid"), "cfx.message.malformed"),
        (changed(TimeStamp="2026-05-04T12:00:00"), "cfx.message.malformed"),
        (b"[" * 100_000, "cfx.message.malformed"),
    ],
)
def test_what_is_no_message_is_refused(content: bytes, finding: str) -> None:
    with pytest.raises(DecodeError) as refused:
        decode(content)
    assert refused.value.finding == finding


def test_a_message_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(DecodeError, match=f"at most {ENVELOPE_MAX_BYTES}"):
        decode(b" " * (ENVELOPE_MAX_BYTES + 1))


@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
def test_foreign_bytes_raise_nothing_but_their_own_error(content: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(content)


def test_ids_follow_from_what_they_are_of_and_stay_what_they_are() -> None:
    # Written down: a consumer that has seen a message knows it again after an upgrade of the rig.
    assert unique_id("k") == UUID("9f30587d-f0f6-5463-9104-a6008d4ee4b3")
    ids: list[UUID] = [
        unique_id("a:b"),
        transaction_id("a", "b"),
        occurrence_id("a"),
        occurrence_id("a:b"),
    ]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("duration_s", "written"),
    [
        (0, "00:00:00"),
        (60, "00:01:00"),
        (3_725.5, "01:02:05.5000000"),
        (90_061, "1.01:01:01"),
        (1e-7, "00:00:00.0000001"),
    ],
)
def test_durations_are_written_as_net_does(duration_s: float, written: str) -> None:
    assert time_span(duration_s) == written


@pytest.mark.parametrize(
    ("message", "topic"),
    [(Heartbeat, "CFX"), (WorkStarted, "CFX.Production"), (UnitsPersonalized, "CFX.Production.Assembly")],
)
def test_a_topic_is_the_name_without_its_last_part(message: type[CFXMessage], topic: str) -> None:
    assert topic_of(message) == topic
