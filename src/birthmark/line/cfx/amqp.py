# SPDX-License-Identifier: Apache-2.0
"""
AMQP 1.0 as a client: Proton's protocol engine over a socket and a TLS context of our own.

The engine does no I/O and reads no clock; what is here moves its bytes, with a deadline for everything. A connection is
driven by the thread that calls it. Once anything has gone wrong with one it stays unusable: whoever holds it opens a
new one.
"""

import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import proton
from proton import Endpoint

from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused
from birthmark.line.ports import Stopwatch

IDLE_TIMEOUT_S: Final = 60.0
"""A peer that is silent for longer is gone; it sends empty frames to say that it is not."""
RECEIVED_MAX_BYTES: Final = 2 << 20
"""The largest message that is read: an envelope, its AMQP sections, and room."""
_READ_BYTES: Final = 65_536
_CREDIT: Final = 10
_LOG: Final = logging.getLogger(__name__)

MESSAGE_AT_FAULT: Final = frozenset(
    {
        "amqp:decode-error",
        "amqp:invalid-field",
        "amqp:link:message-size-exceeded",
        "amqp:not-implemented",
        "amqp:precondition-failed",
    }
)
"""Conditions (AMQP 1.0 part 2, §2.8.14 to §2.8.18) that end a session over a message: sent again, it ends the next."""
NO_ROOM: Final = frozenset({"amqp:resource-limit-exceeded", "amqp:resource-locked"})
"""Conditions of a rejection that speak of the broker and not of the message."""
NO_ROOM_REASONS: Final = frozenset({"maxlen", "unavailable"})
"""What RabbitMQ 4.3 and later says of the queue in the `reason` of a rejection."""


class PeerAway(DeliveryDeferred):
    """The peer cannot be reached, does not answer, or has ended the connection. `condition` is its own word for why."""

    default_finding = "cfx.broker.away"
    default_hint = "see the broker's log; messages wait here"

    def __init__(self, message: str, *, finding: str = "", condition: str = "") -> None:
        super().__init__(message, finding=finding)
        self.condition = condition


@dataclass(frozen=True, slots=True)
class Peer:
    """
    Where a broker or an endpoint is, and how we show who we are.

    Without a context nothing is encrypted. `mechanism` is ANONYMOUS, PLAIN or EXTERNAL (the client certificate).
    """

    host: str
    port: int
    container: str
    mechanism: str = "ANONYMOUS"
    user: str = ""
    password: str = field(default="", repr=False)
    virtual_host: str = ""
    context: ssl.SSLContext | None = None


class Connection:
    """One open connection with one session."""

    def __init__(self, peer: Peer, stopwatch: Stopwatch, timeout_s: float) -> None:
        """Connect and open. `timeout_s` holds for each wait. Raises PeerAway."""
        self._peer = peer
        self._stopwatch = stopwatch
        self._timeout_s = timeout_s
        self._senders: dict[str, proton.Sender] = {}
        self._transport, self._engine = _engine(peer)
        self._session = self._engine.session()
        self._parts: list[proton.Session | proton.Connection | proton.Link] = [self._session, self._engine]
        self._socket = _socket(peer, timeout_s)
        try:
            self._open()
        except BaseException:
            self.abandon()
            raise

    def _open(self) -> None:
        self._engine.open()
        self._session.open()
        if not self.drive(lambda: _remote_open(self._session), self._timeout_s):
            raise PeerAway(f"{self._name} does not open the connection", finding="cfx.broker.silent")

    @property
    def _name(self) -> str:
        return f"{self._peer.host}:{self._peer.port}"

    def sender(self, address: str) -> proton.Sender:
        """Return the link to a durable address, opened at its first use. Raises PeerAway, also for one unknown."""
        link = self._senders.get(address)
        if link is None:
            link = self._session.sender(f"{self._peer.container} to {address}")
            link.source.address = self._peer.container
            link.target.address = address
            link.target.durability = proton.Terminus.CONFIGURATION
            self._attach(link, address)
            self._senders[address] = link
        return link

    def receiver(self, address: str) -> proton.Receiver:
        """Return a link from an address, ready to receive. Raises PeerAway, also for an unknown address."""
        link = self._session.receiver(f"{self._peer.container} from {address}")
        link.source.address = address
        link.target.address = self._peer.container
        link.max_message_size = RECEIVED_MAX_BYTES
        self._attach(link, address)
        link.flow(_CREDIT)
        return link

    def _attach(self, link: proton.Link, address: str) -> None:
        link.open()
        self._parts.insert(0, link)
        if not self.drive(lambda: _remote_open(link), self._timeout_s):
            raise PeerAway(f"{self._name} does not answer for {address}", finding="cfx.broker.silent")
        # A refused link is opened without a terminus and closed with the reason (part 2, §2.6.3).
        terminus = link.remote_target if link.is_sender else link.remote_source
        if not terminus.address:
            self.drive(lambda: False, self._timeout_s)
            raise PeerAway(f"{self._name} has nothing at {address}")

    def send(self, address: str, tag: str, message: bytes) -> proton.Delivery:
        """
        Hand a message over, and return the delivery whose outcome will follow.

        Raises:
            DeliveryRefused: larger than the peer takes.
            PeerAway: no connection, or nobody takes messages at the address now.

        """
        # What ended the session before this message is not this message's doing: it is learnt before it goes out.
        self.drive(lambda: False, 0.0)
        link = self.sender(address)
        limit = link.remote_max_message_size
        if 0 < limit < len(message):
            raise DeliveryRefused(
                f"a message of {len(message)} bytes; {self._name} takes {limit}", finding="cfx.message.too-large"
            )
        if not self.drive(lambda: link.credit > 0, self._timeout_s):
            raise PeerAway(f"{self._name} takes no messages at {address} now", finding="cfx.broker.blocked")
        delivery = link.delivery(tag)
        link.stream(message)
        link.advance()
        return delivery

    def outcome(self, delivery: proton.Delivery) -> None:
        """
        Return when the peer has settled the delivery as accepted.

        Raises:
            DeliveryRefused: rejected, or the peer ended the session over it.
            PeerAway: no outcome yet (finding cfx.broker.unconfirmed; ask again), not accepted now, or the peer is gone.

        """
        try:
            known = self.drive(lambda: bool(delivery.remote_state) or delivery.settled, self._timeout_s)
        except PeerAway as away:
            if away.condition in MESSAGE_AT_FAULT:
                raise DeliveryRefused(away.message, finding="cfx.message.rejected") from away
            raise
        if not known:
            raise PeerAway(f"{self._name} has not confirmed a message", finding="cfx.broker.unconfirmed")
        state, condition = delivery.remote_state, delivery.remote.condition
        delivery.settle()
        demand_accepted(state, condition.name if condition else "", _reason(condition), self._name)

    def receive(self, link: proton.Receiver, wait_s: float) -> bytes | None:
        """Return the next message, accepted, or None when none has come in time. Raises PeerAway."""
        if not self.drive(lambda: _complete(link), wait_s) or (delivery := link.current) is None:
            return None
        content: bytes = link.recv(delivery.pending) or b""
        link.advance()
        delivery.update(proton.Delivery.ACCEPTED)
        delivery.settle()
        link.flow(1)
        self.drive(lambda: True, 0.0)
        return content

    def drive(self, until: Callable[[], bool], wait_s: float) -> bool:
        """
        Move bytes until a condition holds; say whether it does, after `wait_s` seconds at the latest.

        With a condition that never holds and no wait it answers the peer's empty frames: that keeps a connection alive.

        Raises:
            PeerAway: the peer has ended the connection, the session or a link, or is gone.

        """
        deadline = self._stopwatch() + wait_s
        try:
            while True:
                self._flush()
                if until():
                    return True
                self._demand_open()
                left_s = deadline - self._stopwatch()
                if not self._receive(max(left_s, 0.0)) and left_s <= 0:
                    return False
        except (OSError, proton.ProtonException) as error:
            raise PeerAway(f"the connection to {self._name} broke: {_word(error)}") from error

    def _flush(self) -> None:
        self._transport.tick(self._stopwatch())
        self._socket.settimeout(self._timeout_s)
        while (size := self._transport.pending()) > 0 and (content := self._transport.peek(size)):
            self._socket.sendall(content)
            self._transport.pop(len(content))

    def _receive(self, wait_s: float) -> bool:
        """Take in what the peer has sent; say whether it was anything. It may wait for less than it may."""
        self._socket.settimeout(min(wait_s, IDLE_TIMEOUT_S / 4))
        try:
            content = self._socket.recv(_READ_BYTES)
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return False
        if not content:
            self._transport.close_tail()
            self._demand_open()
            raise PeerAway(f"{self._name} closed the connection")
        while content and (room := self._transport.capacity()) > 0:
            self._transport.push(content[:room])
            content = content[room:]
        if content:
            raise PeerAway(f"{self._name} goes on after the end of the connection")
        return True

    def _demand_open(self) -> None:
        for part in self._parts:
            if part.state & Endpoint.REMOTE_CLOSED:
                condition = part.remote_condition
                name, said = (condition.name, condition.description) if condition else ("", "")
                raise PeerAway(f"{self._name} ended it: {name or 'no reason'} {said or ''}".rstrip(), condition=name)
        if (failed := self._transport.condition) is not None:
            finding = "cfx.broker.credentials" if failed.name == "amqp:unauthorized-access" else ""
            raise PeerAway(f"{self._name}: {failed.name} {failed.description or ''}".rstrip(), finding=finding)

    def close(self) -> None:
        """Say good-bye if the peer still listens, and let go of the socket."""
        with suppress(PeerAway):
            self._engine.close()
            self.drive(lambda: bool(self._engine.state & Endpoint.REMOTE_CLOSED), self._timeout_s)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the socket without a word."""
        self._socket.close()


def demand_accepted(state: int, condition: str, reason: str, peer: str) -> None:
    """
    Pass an outcome that says the message is safe at the peer (AMQP 1.0 part 3, §3.4).

    Rejected means that the message is at fault, unless the peer says that it speaks of room; released and modified mean
    that it was not taken now.

    Raises:
        DeliveryRefused: rejected, for the message's own sake.
        PeerAway: not taken now.

    """
    if state == proton.Delivery.ACCEPTED:
        return
    word = " ".join(part for part in (condition, reason) if part) or "no reason given"
    if state == proton.Delivery.REJECTED and condition not in NO_ROOM and reason not in NO_ROOM_REASONS:
        raise DeliveryRefused(f"{peer} rejected a message: {word}", finding="cfx.message.rejected")
    raise PeerAway(f"{peer} did not take a message: {word}", finding="cfx.broker.no-room")


def _engine(peer: Peer) -> tuple[proton.Transport, proton.Connection]:
    engine = proton.Connection()
    engine.container = peer.container
    engine.hostname = f"vhost:{peer.virtual_host}" if peer.virtual_host else peer.host
    if peer.mechanism != "ANONYMOUS":
        engine.user = peer.user or peer.container
    if peer.password:
        engine.password = peer.password
    transport = proton.Transport()
    transport.idle_timeout = IDLE_TIMEOUT_S
    sasl = transport.sasl()
    sasl.allowed_mechs(peer.mechanism)
    # Whether PLAIN may go over this connection was decided by whoever chose its TLS context; the engine sees none.
    sasl.allow_insecure_mechs = True
    transport.bind(engine)
    return transport, engine


def _socket(peer: Peer, timeout_s: float) -> socket.socket:
    try:
        raw = socket.create_connection((peer.host, peer.port), timeout_s)
    except OSError as error:
        raise PeerAway(f"{peer.host}:{peer.port}: {_word(error)}") from error
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if peer.context is None:
        return raw
    try:
        return peer.context.wrap_socket(raw, server_hostname=peer.host)
    except OSError as error:
        raw.close()
        raise PeerAway(f"{peer.host}:{peer.port}: {_word(error)}", finding="cfx.broker.tls") from error


def _word(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _remote_open(part: proton.Session | proton.Link) -> bool:
    return not part.state & Endpoint.REMOTE_UNINIT


def _complete(link: proton.Receiver) -> bool:
    delivery = link.current
    if delivery is None:
        return False
    if delivery.pending > RECEIVED_MAX_BYTES:
        raise PeerAway(f"a message of more than {RECEIVED_MAX_BYTES} bytes", finding="cfx.message.too-large")
    return bool(delivery.readable and not delivery.partial)


def _reason(condition: proton.Condition | None) -> str:
    """Return the `reason` in a rejection's information, where the peer gives one."""
    information = condition.info if condition else None
    return str(information.get("reason", "")) if isinstance(information, dict) else ""
