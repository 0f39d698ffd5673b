# SPDX-License-Identifier: Apache-2.0
"""A factory's side of CFX at a RabbitMQ: exchange and queues, what came in, and who answers ValidateUnitsRequest."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from support.rabbitmq import PASSWORD, USER, RabbitMQ

HANDLE = "Acme.Rig.A"
EXCHANGE, QUEUE = "cfx", "mes"
REQUESTS, REPLIES = "mes.requests", "rig.replies"
OTHERS = ("CFX.EndpointConnected", "CFX.Heartbeat", "CFX.EndpointShuttingDown")
"""What is true now or never, and comes whenever the rig joins and leaves."""
Answer = Callable[[BlockingChannel, bytes, str], None]


def set_up(channel: BlockingChannel) -> None:
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    for queue in (QUEUE, REQUESTS, REPLIES):
        channel.queue_declare(queue, durable=True)
    channel.queue_bind(QUEUE, EXCHANGE, "#")


def clear_away(channel: BlockingChannel) -> None:
    channel.exchange_delete(EXCHANGE)
    for queue in (QUEUE, REQUESTS, REPLIES):
        channel.queue_delete(queue)


def taken(channel: BlockingChannel, queue: str = QUEUE) -> list[tuple[str, bytes]]:
    """Return the message name and the body of all that is in the queue, in its order, and empty it."""
    found = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        found.append((json.loads(got[2])["MessageName"], got[2]))
    return found


def bodies(channel: BlockingChannel) -> list[bytes]:
    return [body for name, body in taken(channel) if name not in OTHERS]


@contextmanager
def factory(broker: RabbitMQ, answer: Answer) -> Iterator[None]:
    """A MES behind the broker, in a thread with a client of its own: gives each request to `answer`."""
    ending = threading.Event()

    def serve() -> None:
        with broker.channel() as channel:
            for method, properties, body in channel.consume(REQUESTS, auto_ack=True, inactivity_timeout=0.05):
                if ending.is_set():
                    return
                if method is not None:
                    answer(channel, body, properties.correlation_id)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def reply(channel: BlockingChannel, content: bytes, correlation_id: str | None = None) -> None:
    properties = pika.BasicProperties(correlation_id=correlation_id, content_type="application/json")
    channel.basic_publish("", REPLIES, content, properties)


def join(rig_toml: Path, broker: RabbitMQ, interlock: dict[str, Any] | None = None) -> None:
    """Let a rig join the network: write its cfx.toml beside rig.toml, and name it there."""
    folder = rig_toml.parent
    password = folder / "cfx.password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    told = (
        f'url = "amqp://127.0.0.1:{broker.port}"\nunsafe_cleartext = true\nhandle = "{HANDLE}"\n'
        f'address = "/exchange/{EXCHANGE}"\nuser = "{USER}"\npassword_file = "{password.name}"\n'
        "confirm_timeout_s = 2.0\nretry_s = 0.2\n"
    )
    if interlock is not None:
        addresses = {"request_address": f"/amq/queue/{REQUESTS}", "reply_address": f"/amq/queue/{REPLIES}"}
        lines = (f"{name} = {json.dumps(value)}\n" for name, value in (addresses | interlock).items())
        told += "[interlock]\n" + "".join(lines)
    (folder / "cfx.toml").write_text(told)
    if "mes_cfx_file" not in rig_toml.read_text():
        # A run ends when it is told so, also on a slow machine.
        rig_toml.write_text('mes_cfx_file = "cfx.toml"\ndeliver_wait_s = 20.0\n' + rig_toml.read_text())
