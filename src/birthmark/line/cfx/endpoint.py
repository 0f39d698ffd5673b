# SPDX-License-Identifier: Apache-2.0
"""
The rig as an endpoint of a CFX network: it joins, says that it is there, publishes, and leaves.

A message counts as delivered when the broker has settled it as accepted. One whose outcome is not known yet is not sent
again while its connection lives: the same call waits for it further. After a lost connection it is sent again under the
same id, and a consumer drops what it has already. A thread of the endpoint's own joins the network again after an
outage, sends the heartbeat, and keeps the connection alive; it never touches a message that waits.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import proton

from birthmark.core.clock import Clock
from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, Parcel
from birthmark.core.errors import DecodeError
from birthmark.line.cfx.amqp import Connection, Peer, PeerAway
from birthmark.line.cfx.envelope import Envelope, decode, encode
from birthmark.line.cfx.framing import to_amqp
from birthmark.line.cfx.mapping import messages_of
from birthmark.line.cfx.messages import CFXMessage, EndpointConnected, EndpointShuttingDown, Heartbeat, time_span
from birthmark.line.ports import Stopwatch

_LOG: Final = logging.getLogger(__name__)
_UNCONFIRMED: Final = "cfx.broker.unconfirmed"
_UNJOINED: Final = "cfx.broker.unjoined"


@dataclass(frozen=True, slots=True)
class Station:
    """Who speaks, where to, and how patiently. Durations are in seconds."""

    handle: str
    address: str
    heartbeat_s: float
    confirm_timeout_s: float
    retry_s: float


class CFXEndpoint:
    """A destination (`line.ports.Destination`), and what else the network hears of this rig. Thread-safe."""

    def __init__(self, peer: Peer, station: Station, clock: Clock, stopwatch: Stopwatch) -> None:
        self._peer = peer
        self._station = station
        self._clock = clock
        self._stopwatch = stopwatch
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._connection: Connection | None = None
        self._waiting: tuple[UUID, proton.Delivery] | None = None
        self._accepted: set[UUID] = set()
        self._beat_at = 0.0
        self._keeper = threading.Thread(target=self._keep, name=f"cfx-{station.handle}", daemon=True)

    def start(self) -> None:
        """Join the network now, and again after every outage, until `close`."""
        self._keeper.start()

    def deliver(self, parcel: Parcel) -> None:
        """
        Publish what an event is in CFX; return when the broker has all of it.

        Offered again, it goes on behind what the broker has accepted. An event that is nothing in CFX is delivered.

        Raises:
            DeliveryDeferred: the broker is away, blocked, or has not confirmed yet.
            DeliveryRefused: a message that the broker rejects.
            DecodeError: not an event, or a birth without a record.

        """
        messages = messages_of(parcel.event(), self._station.handle)
        for envelope in messages:
            if envelope.unique_id not in self._accepted:
                self.publish(envelope.unique_id, encode(envelope))
                self._accepted.add(envelope.unique_id)
        self._accepted.clear()

    def publish(self, message_id: UUID, content: bytes) -> None:
        """
        Send an encoded envelope; return when the broker has accepted it.

        Raises:
            DeliveryDeferred: not now; offer the same message again.
            DeliveryRefused: never: no envelope of ours under this id, or rejected by the broker.

        """
        try:
            envelope = decode(content)
        except DecodeError as error:
            raise DeliveryRefused(error.message, finding=error.finding) from error
        if envelope.unique_id != message_id:
            raise DeliveryRefused("the message has another id than its envelope", finding="cfx.message.malformed")
        with self._lock:
            self._confirmed(lambda: self._delivery(envelope, content))

    def _delivery(self, envelope: Envelope, content: bytes) -> proton.Delivery:
        """Return the delivery of this message that is under way, or of the message sent now."""
        if self._waiting is not None and self._waiting[0] == envelope.unique_id:
            return self._waiting[1]
        message_id = envelope.unique_id
        delivery = self._joined().send(self._station.address, str(message_id), to_amqp(envelope, content))
        self._waiting = (message_id, delivery)
        return delivery

    def _confirmed(self, deliver: Callable[[], proton.Delivery]) -> None:
        """Return when what is delivered is accepted. A connection on which anything else happened is let go of."""
        try:
            delivery = deliver()
            self._joined().outcome(delivery)
        except DeliveryDeferred as deferred:
            if deferred.finding != _UNCONFIRMED:
                self._drop()
            raise
        except BaseException:
            self._drop()
            raise
        self._waiting = None

    def _joined(self) -> Connection:
        """Return the connection, opened and announced if there was none. Raises PeerAway."""
        if self._connection is None:
            self._connection = Connection(self._peer, self._stopwatch, self._station.confirm_timeout_s)
            try:
                self._say(self._connection, EndpointConnected(cfx_handle=self._station.handle))
                self._beat(self._connection)
            except (DeliveryDeferred, DeliveryRefused) as error:
                # Whatever message waits to be sent, this is not about it.
                self._drop()
                raise PeerAway(f"the network cannot be joined: {error.message}", finding=_UNJOINED) from error
            _LOG.info("%s has joined the CFX network", self._station.handle)
        return self._connection

    def _say(self, connection: Connection, message: CFXMessage) -> None:
        """Publish something that is not worth keeping: it is true now or never. Raises PeerAway, DeliveryRefused."""
        envelope = Envelope(time_stamp=self._clock(), unique_id=uuid4(), source=self._station.handle, body=message)
        amqp = to_amqp(envelope, encode(envelope))
        connection.outcome(connection.send(self._station.address, str(envelope.unique_id), amqp))

    def _beat(self, connection: Connection) -> None:
        self._beat_at = self._stopwatch() + self._station.heartbeat_s
        frequency = time_span(self._station.heartbeat_s)
        self._say(connection, Heartbeat(cfx_handle=self._station.handle, heartbeat_frequency=frequency))

    def _drop(self) -> None:
        connection, self._connection, self._waiting = self._connection, None, None
        if connection is not None:
            connection.abandon()

    def _keep(self) -> None:
        last_finding = ""
        while not self._ending.wait(min(self._station.retry_s, self._station.heartbeat_s)):
            try:
                self._attend()
                last_finding = ""
            except (DeliveryDeferred, DeliveryRefused) as error:
                # One line per change, as in the outbox.
                if error.finding != last_finding:
                    _LOG.warning("%s: %s: %s", self._station.handle, error.finding, error)
                last_finding = error.finding

    def _attend(self) -> None:
        """Join if need be, answer the broker's empty frames, and send the heartbeat when it is due."""
        with self._lock:
            try:
                connection = self._joined()
                connection.drive(lambda: False, 0.0)
                # A broker that owes a confirmation gets nothing new from here.
                owing = self._waiting is not None and not self._waiting[1].settled
                if not owing and self._stopwatch() >= self._beat_at:
                    self._beat(connection)
            except (DeliveryDeferred, DeliveryRefused):
                self._drop()
                raise

    def close(self) -> None:
        """Leave the network: say so if it can be said, and let go of the connection."""
        self._ending.set()
        if self._keeper.is_alive():
            self._keeper.join()
        with self._lock, suppress(DeliveryDeferred, DeliveryRefused):
            if self._connection is not None and self._waiting is None:
                self._say(self._connection, EndpointShuttingDown(cfx_handle=self._station.handle))
                self._connection.close()
                self._connection = None
        self._drop()
