# SPDX-License-Identifier: Apache-2.0
"""CFX against a real RabbitMQ, read back by a client that shares nothing with ours (pika, AMQP 0-9-1)."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from birthmark.core.clock import system_clock
from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, SignedBirth, Wants
from birthmark.core.errors import DecodeError
from birthmark.line.cfx.amqp import Connection, Peer, PeerAway
from birthmark.line.cfx.endpoint import CFXEndpoint, Station
from birthmark.line.cfx.envelope import Envelope, encode
from birthmark.line.cfx.errors import InterlockUnanswered
from birthmark.line.cfx.interlock import CFXInterlock, Desk, Unanswered
from birthmark.line.cfx.mapping import messages_of, personalized_by
from birthmark.line.events import Events
from birthmark.line.interlock import Refusal
from birthmark.line.outbox import Outbox
from birthmark.net.tls import client_context
from birthmark.stores.line_sqlite import LineSQLite
from support.births import Births, record
from support.cfx import BEGUN, ENDED, HELD, PLACES, RESUMED, WORK, demand_envelope, verdict
from support.cfx_factory import (
    EXCHANGE,
    HANDLE,
    OTHERS,
    QUEUE,
    REPLIES,
    REQUESTS,
    bodies,
    clear_away,
    factory,
    reply,
    set_up,
    taken,
)
from support.cfx_mes import response
from support.parcels import born, parcel
from support.rabbitmq import LOW_LIMIT_BYTES, PASSWORD, USER, RabbitMQ, TLSFiles, rabbitmq
from support.tls_files import TLSFiles as Plant

PATIENCE_S = 20.0
SHORT_S = 2.0
BIRTHS = Births()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return Plant(tmp_path_factory.mktemp("plant"), datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture(scope="module")
def broker(plant: Plant) -> Iterator[RabbitMQ]:
    trust, server = plant.folder / "trust.pem", plant.server()
    trust.write_bytes(plant.trust)
    with rabbitmq(TLSFiles(trust, server.certificate, server.key), certificate_users=("rig-a",)) as running:
        yield running


@pytest.fixture
def channel(broker: RabbitMQ) -> Iterator[BlockingChannel]:
    """A channel of the independent client, with exchange and queue as a factory sets them up."""
    with broker.channel() as opened:
        set_up(opened)
        yield opened
        clear_away(opened)


def peer(broker: RabbitMQ, **changes: object) -> Peer:
    plain = Peer("127.0.0.1", broker.port, HANDLE, "PLAIN", USER, PASSWORD)
    return replace(plain, **changes)  # type: ignore[arg-type] # tests name the fields that they change


def endpoint(to: Peer, *, heartbeat_s: float = 300.0, confirm_s: float = PATIENCE_S) -> CFXEndpoint:
    station = Station(HANDLE, f"/exchange/{EXCHANGE}", heartbeat_s, confirm_s, 0.05)
    return CFXEndpoint(to, station, system_clock, time.monotonic)


def envelope_of(unit: str, operator: str = "ada") -> Envelope:
    return personalized_by(record(unit, operator), unit.encode().hex(), HANDLE)


def publish(to: CFXEndpoint, envelope: Envelope) -> None:
    to.publish(envelope.unique_id, encode(envelope))


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def panel() -> list[Envelope]:
    """Return a panel's messages, among which is one of each kind."""
    told = [BEGUN, WORK, born(BIRTHS.of("BM-000001")), verdict("PASS"), HELD, RESUMED, ENDED]
    return [envelope for event in told for envelope in messages_of(event, HANDLE)]


def test_what_is_published_is_what_another_client_consumes(broker: RabbitMQ, channel: BlockingChannel) -> None:
    told = panel()
    with closing(endpoint(peer(broker))) as rig:
        for envelope in told:
            publish(rig, envelope)
    for envelope in told:
        while (got := channel.basic_get(QUEUE, auto_ack=True))[2] != encode(envelope):
            assert json.loads(got[2])["MessageName"] in OTHERS
        method, properties, body = got
        name = json.loads(body)["MessageName"]
        demand_envelope(json.loads(body))
        assert method.routing_key == f"{envelope.source}.{name}"
        assert properties.message_id == str(envelope.unique_id) == json.loads(body)["UniqueID"]
        assert (properties.delivery_mode, properties.reply_to) == (2, envelope.source)
        assert properties.content_type == 'application/json; charset="utf-8"'
        # This broker hands AMQP 1.0's application properties on as they were encoded.
        assert name.encode() in properties.headers["x-amqp-1.0-app-properties"]


def test_a_rig_joins_says_that_it_is_there_and_leaves(broker: RabbitMQ, channel: BlockingChannel) -> None:
    with closing(endpoint(peer(broker), heartbeat_s=1.0)) as rig:
        rig.start()
        # EndpointConnected, the first heartbeat, and one that nobody asked for.
        eventually(lambda: channel.queue_declare(QUEUE, passive=True).method.message_count >= 3)
    names = [name for name, _ in taken(channel)]
    assert names[0] == "CFX.EndpointConnected"
    assert names[-1] == "CFX.EndpointShuttingDown"
    assert set(names[1:-1]) == {"CFX.Heartbeat"}


def test_the_same_message_offered_again_after_a_restart_has_the_same_id(
    broker: RabbitMQ, channel: BlockingChannel
) -> None:
    birth = BIRTHS.of("BM-000001")
    for _ in range(2):
        with closing(endpoint(peer(broker))) as rig:
            rig.deliver(parcel(born(birth)))
    first, second = bodies(channel)
    assert first == second


@contextmanager
def delivering(rig: CFXEndpoint, folder: Path, made: list[SignedBirth]) -> Iterator[tuple[LineSQLite, Outbox]]:
    """A rig's own outbox over these births."""
    with ExitStack() as stack:
        store = stack.enter_context(LineSQLite(folder / "rig-a.sqlite", {"mes-cfx": Wants.BIRTHS}))
        stack.callback(rig.close)
        for birth in made:
            store.journal((), (born(birth),))
        events = Events(lambda _: None)
        outbox = Outbox(store, {"mes-cfx": rig}, events, clock=system_clock, stopwatch=time.monotonic, retry_s=0.05)
        outbox.start()
        yield store, outbox


def test_a_message_that_the_broker_rejects_is_parked_and_the_next_one_goes(
    broker: RabbitMQ, channel: BlockingChannel, tmp_path: Path
) -> None:
    three = [BIRTHS.of("BM-000001"), BIRTHS.of("BM-000002", "x" * LOW_LIMIT_BYTES), BIRTHS.of("BM-000003")]
    with delivering(endpoint(peer(broker)), tmp_path, three) as (store, outbox):
        assert outbox.finish(PATIENCE_S) == 0
        assert store.parked_count() == 1
    units = [json.loads(body)["MessageBody"]["PersonalizedUnits"][0]["UnitIdentifier"] for body in bodies(channel)]
    assert units == ["BM-000001", "BM-000003"]


def test_the_rejection_says_why_and_costs_the_next_message_nothing(broker: RabbitMQ, channel: BlockingChannel) -> None:
    with closing(endpoint(peer(broker))) as rig:
        with pytest.raises(DeliveryRefused, match="larger than configured max size") as refused:
            publish(rig, envelope_of("BM-000001", "x" * LOW_LIMIT_BYTES))
        assert refused.value.finding == "cfx.message.rejected"
        publish(rig, envelope_of("BM-000002"))
    assert bodies(channel) == [encode(envelope_of("BM-000002"))]


@pytest.mark.parametrize(
    ("message_id", "content", "finding"),
    [
        (UUID(int=1), b"{}", "cfx.message.malformed"),
        (UUID(int=1), encode(envelope_of("BM-000001")), "cfx.message.malformed"),
    ],
    ids=["no envelope", "another id"],
)
def test_what_is_no_message_of_ours_never_reaches_the_broker(
    message_id: UUID, content: bytes, finding: str, broker: RabbitMQ
) -> None:
    with closing(endpoint(peer(broker))) as rig, pytest.raises(DeliveryRefused) as refused:
        rig.publish(message_id, content)
    assert refused.value.finding == finding


def test_what_is_no_birth_is_refused(broker: RabbitMQ) -> None:
    with closing(endpoint(peer(broker))) as rig, pytest.raises(DecodeError):
        rig.deliver(parcel(born(SignedBirth("f" * 64, "BM-000001", "not.a.jws"))))


def test_an_event_of_several_messages_goes_on_behind_what_the_broker_has(
    broker: RabbitMQ, channel: BlockingChannel
) -> None:
    """Between the two messages of an event the broker stands still: the first is not told twice, the second is told."""
    with closing(endpoint(peer(broker), confirm_s=SHORT_S)) as rig:
        original = rig.publish

        def publish_and_stop(message_id: UUID, content: bytes) -> None:
            original(message_id, content)
            broker.suspend()

        rig.publish = publish_and_stop  # type: ignore[method-assign] # the broker stops exactly in between
        with pytest.raises(DeliveryDeferred):
            rig.deliver(parcel(HELD))
        rig.publish = original  # type: ignore[method-assign] # as above
        broker.resume()
        rig.deliver(parcel(HELD))
    assert bodies(channel) == [encode(envelope) for envelope in messages_of(HELD, HANDLE)]


def test_a_broker_that_stands_still_gets_each_message_once(broker: RabbitMQ, channel: BlockingChannel) -> None:
    one, other = envelope_of("BM-000001"), envelope_of("BM-000002")
    with closing(endpoint(peer(broker), confirm_s=SHORT_S)) as rig:
        rig.start()
        publish(rig, one)
        broker.suspend()
        try:
            for _ in range(2):
                with pytest.raises(DeliveryDeferred) as deferred:
                    publish(rig, other)
                assert deferred.value.finding == "cfx.broker.unconfirmed"
        finally:
            broker.resume()
        publish(rig, other)
    assert bodies(channel) == [encode(one), encode(other)]


def test_nothing_is_lost_and_the_order_kept_when_the_broker_is_killed_under_load(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    many = [BIRTHS.of(f"BM-{number:06}") for number in range(400)]
    with broker.channel() as channel:
        set_up(channel)
    with delivering(endpoint(peer(broker)), tmp_path, many) as (store, outbox):
        eventually(lambda: store.waiting() < len(many))
        broker.kill()
        assert store.waiting() > 0
        broker.start()
        assert outbox.finish(PATIENCE_S) == 0
    with broker.channel() as reader:
        consumed = [json.loads(body) for body in bodies(reader)]
        clear_away(reader)
    ids = [message["UniqueID"] for message in consumed]
    expected = [str(personalized_by(record(birth.unit), birth.key, HANDLE).unique_id) for birth in many]
    assert list(dict.fromkeys(ids)) == expected
    # The one that was under way may be there twice, one right after the other and the same to the byte.
    again = [place for place in range(1, len(ids)) if ids[place] == ids[place - 1]]
    assert len(ids) - len(expected) == len(again) <= 1
    assert all(consumed[place] == consumed[place - 1] for place in again)


def test_an_address_that_is_not_there_holds_messages_until_it_is(broker: RabbitMQ, channel: BlockingChannel) -> None:
    channel.exchange_delete(EXCHANGE)
    envelope = envelope_of("BM-000001")
    with closing(endpoint(peer(broker), confirm_s=SHORT_S)) as rig:
        with pytest.raises(PeerAway, match="no exchange 'cfx'"):
            publish(rig, envelope)
        set_up(channel)
        publish(rig, envelope)
    assert bodies(channel) == [encode(envelope)]


def test_a_wrong_password_is_said_and_shown_to_nobody(broker: RabbitMQ) -> None:
    wrong = "not the password"
    with (
        closing(endpoint(peer(broker, password=wrong))) as rig,
        pytest.raises(PeerAway, match="Authentication failed") as away,
    ):
        publish(rig, envelope_of("BM-000001"))
    assert wrong not in f"{away.value} {peer(broker, password=wrong)!r}"


@pytest.mark.parametrize("mechanism", ["EXTERNAL", "PLAIN"])
def test_a_rig_shows_its_certificate_or_its_password_over_tls(
    mechanism: str, broker: RabbitMQ, channel: BlockingChannel, plant: Plant
) -> None:
    rig_a = plant.rig()
    external = mechanism == "EXTERNAL"
    identity = (rig_a.certificate, rig_a.key) if external else ()
    context = client_context(plant.trust, *identity)
    secure = peer(broker, port=broker.tls_port, host="localhost", mechanism=mechanism, context=context)
    with closing(endpoint(replace(secure, user="", password="") if external else secure)) as rig:
        publish(rig, envelope_of("BM-000001"))
    assert bodies(channel) == [encode(envelope_of("BM-000001"))]


def test_a_broker_under_another_root_is_not_spoken_to(broker: RabbitMQ, plant: Plant, tmp_path: Path) -> None:
    strangers = Plant(tmp_path, plant.at, "Stranger")
    secure = peer(broker, port=broker.tls_port, host="localhost", context=client_context(strangers.trust))
    with pytest.raises(PeerAway) as away:
        Connection(secure, time.monotonic, PATIENCE_S)
    assert away.value.finding == "cfx.broker.tls"


def interlock(
    to: Peer, unanswered: Unanswered = "stop", timeout_s: float = PATIENCE_S, *, direct: bool = False
) -> CFXInterlock:
    request = "Acme.MES.1" if direct else f"/amq/queue/{REQUESTS}"
    desk = Desk(HANDLE, "Acme.MES.1", request, "" if direct else f"/amq/queue/{REPLIES}", timeout_s, unanswered)
    return CFXInterlock(to, desk, system_clock, time.monotonic)


def test_the_factory_is_asked_through_the_broker_and_its_answer_decides(
    broker: RabbitMQ, channel: BlockingChannel
) -> None:
    def answer(through: BlockingChannel, body: bytes, correlation_id: str) -> None:
        asked = json.loads(body)
        demand_envelope(json.loads(body))
        assert asked["RequestID"] == correlation_id
        # An answer that nobody waits for any more, then one that cannot be read, then the answer.
        reply(through, json.dumps(response(asked | {"RequestID": str(uuid4())}, [])).encode())
        reply(through, b"not json", str(uuid4()))
        reply(through, json.dumps(response(asked, ["BM-000002"])).encode(), correlation_id)

    with closing(interlock(peer(broker))) as asking, factory(broker, answer):
        for _ in range(2):
            clearance = asking.clear(PLACES)
            assert clearance.refusals == (Refusal(2, "cfx.interlock.refused", "wrong route", 7),)
            assert clearance.assumed == ""
    assert channel.queue_declare(REPLIES, passive=True).method.message_count == 0


def test_silence_means_stop_or_go_as_it_is_configured(broker: RabbitMQ, channel: BlockingChannel) -> None:
    silence = pytest.raises(InterlockUnanswered, match="nobody answered within 2 s")
    with closing(interlock(peer(broker), "stop", SHORT_S)) as asking, silence:
        asking.clear(PLACES)
    with closing(interlock(peer(broker), "go", SHORT_S)) as asking:
        clearance = asking.clear(PLACES)
    assert (clearance.refusals, clearance.assumed) == ((), "nobody answered within 2 s")
    assert len(taken(channel, REQUESTS)) == 2


def test_an_answer_that_cannot_be_read_is_none(broker: RabbitMQ, channel: BlockingChannel) -> None:
    def answer(through: BlockingChannel, _body: bytes, correlation_id: str) -> None:
        reply(through, b"not json", correlation_id)

    with (
        closing(interlock(peer(broker))) as asking,
        factory(broker, answer),
        pytest.raises(InterlockUnanswered, match="cannot be read"),
    ):
        asking.clear(PLACES)
    assert channel.is_open


def test_a_factory_that_is_not_there_cannot_be_asked(broker: RabbitMQ) -> None:
    nobody = peer(broker, port=broker.unused_port)
    with closing(interlock(nobody)) as asking, pytest.raises(InterlockUnanswered, match="Connection refused"):
        asking.clear(PLACES)


def test_an_endpoint_without_a_broker_is_asked_as_the_sdk_asks_it() -> None:
    program = Path(__file__).parents[1] / "support/cfx_mes.py"
    with subprocess.Popen([sys.executable, program, "BM-000001"], stdout=subprocess.PIPE, text=True) as mes:
        try:
            assert mes.stdout is not None
            port = int(mes.stdout.readline())
            with closing(interlock(Peer("127.0.0.1", port, HANDLE), direct=True)) as asking:
                clearance = asking.clear(PLACES)
            demand_envelope(json.loads(mes.stdout.readline()))
        finally:
            mes.kill()
    assert clearance.refusals == (Refusal(1, "cfx.interlock.refused", "wrong route", 7),)
