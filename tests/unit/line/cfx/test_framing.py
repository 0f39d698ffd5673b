# SPDX-License-Identifier: Apache-2.0
import gzip
from datetime import UTC, datetime

import proton
import pytest

from birthmark.core.delivery import DeliveryRefused
from birthmark.core.errors import DecodeError
from birthmark.line.cfx.amqp import PeerAway, demand_accepted
from birthmark.line.cfx.envelope import ENVELOPE_MAX_BYTES, Envelope, encode, unique_id
from birthmark.line.cfx.framing import from_amqp, to_amqp
from birthmark.line.cfx.messages import EndpointShuttingDown

ENVELOPE = Envelope(
    time_stamp=datetime(2026, 5, 4, 12, 0, tzinfo=UTC),
    unique_id=unique_id("k"),
    source="Acme.Rig.A",
    target="Acme.MES.1",
    request_id="r-1",
    body=EndpointShuttingDown(cfx_handle="Acme.Rig.A"),
)
CONTENT = encode(ENVELOPE)


def message(body: object, **properties: object) -> bytes:
    made = proton.Message(body=body, **properties)
    made.inferred = True
    return made.encode()


def test_the_properties_are_those_of_the_sdk() -> None:
    made = proton.Message()
    made.decode(to_amqp(ENVELOPE, CONTENT))
    assert made.durable
    assert (made.id, made.address, made.reply_to) == (str(ENVELOPE.unique_id), "Acme.MES.1", "Acme.Rig.A")
    assert (made.correlation_id, made.subject) == ("r-1", "Acme.Rig.A.CFX.EndpointShuttingDown")
    assert made.content_type == 'application/json; charset="utf-8"'
    assert made.creation_time == ENVELOPE.time_stamp.timestamp()
    assert made.properties == {
        "cfx-topic": "CFX",
        "cfx-message": "CFX.EndpointShuttingDown",
        "cfx-handle": "Acme.Rig.A",
        "cfx-target": "Acme.MES.1",
    }
    assert (bytes(made.body), made.inferred) == (CONTENT, True)


def test_a_reply_goes_to_the_address_that_is_asked_for() -> None:
    made = proton.Message()
    made.decode(to_amqp(ENVELOPE, CONTENT, "/amq/queue/replies"))
    assert made.reply_to == "/amq/queue/replies"


def test_what_was_framed_is_unframed() -> None:
    assert from_amqp(to_amqp(ENVELOPE, CONTENT)) == ("r-1", CONTENT)


def test_what_another_has_packed_is_unpacked() -> None:
    packed = message(gzip.compress(CONTENT), content_encoding="gzip")
    assert from_amqp(packed) == ("", CONTENT)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"nothing",
        message("text is no Data section"),
        message([1, 2]),
        message(b"nothing", content_encoding="gzip"),
        message(gzip.compress(CONTENT)[:-1], content_encoding="gzip"),
        message(gzip.compress(CONTENT) + b"x", content_encoding="gzip"),
        message(gzip.compress(bytes(ENVELOPE_MAX_BYTES + 1)), content_encoding="gzip"),
    ],
    ids=["empty", "garbage", "text", "list", "no gzip", "cut off", "followed by more", "too long"],
)
def test_what_is_no_framed_envelope_is_refused(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        from_amqp(encoded)


def test_only_an_accepted_message_is_delivered() -> None:
    demand_accepted(proton.Delivery.ACCEPTED, "", "", "broker:1")


@pytest.mark.parametrize(
    ("state", "condition", "reason", "error"),
    [
        (proton.Delivery.REJECTED, "", "", DeliveryRefused),
        (proton.Delivery.REJECTED, "amqp:invalid-field", "", DeliveryRefused),
        (proton.Delivery.REJECTED, "amqp:resource-limit-exceeded", "", PeerAway),
        (proton.Delivery.REJECTED, "amqp:precondition-failed", "maxlen", PeerAway),
        (proton.Delivery.REJECTED, "amqp:precondition-failed", "unavailable", PeerAway),
        (proton.Delivery.RELEASED, "", "", PeerAway),
        (proton.Delivery.MODIFIED, "", "", PeerAway),
        (0, "", "", PeerAway),
    ],
)
def test_a_message_at_fault_is_told_apart_from_a_broker_without_room(
    state: int, condition: str, reason: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match="broker:1"):
        demand_accepted(state, condition, reason, "broker:1")
