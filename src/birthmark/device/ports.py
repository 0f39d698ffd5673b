# SPDX-License-Identifier: Apache-2.0
"""What the agent needs from outside: its chip (silicon.port.SecureElement) and the way to CA and cloud."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography import x509

from birthmark.silicon.port import Algorithm


@dataclass(frozen=True, slots=True)
class Identity:
    """A slot of the chip and the certificate that belongs to its key."""

    slot: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Me:
    """What the cloud says of the identity that asks."""

    unit: str
    rights: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommandTaken:
    """A command from the cloud."""

    id: int
    name: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WireBytes:
    """Bytes on the wire of one connection, TLS included, TCP/IP headers not."""

    up: int
    down: int


class CloudLink(Protocol):
    """
    A connection to the cloud under one identity.

    Every call raises NetError, or RefusedByCloud, CloudBusy or CloudAnswerUnreadable.
    """

    def me(self) -> Me:
        """Ask who the cloud takes us for."""
        ...

    def publish(self, unit: str, message: Mapping[str, Any]) -> None:
        """Hand over one message."""
        ...

    def next_command(self, unit: str, wait_s: float) -> CommandTaken | None:
        """Return the oldest command that is not done, waiting for one at most this long."""
        ...

    def finish_command(self, unit: str, command_id: int) -> None:
        """Say that a command is done."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class AuthorityLink(Protocol):
    """A connection to the CA's EST service under one identity. Calls raise NetError or ESTError."""

    def key_type(self) -> Algorithm | None:
        """Return the type of key that the CA wants next of the unit that asks; None when any will do."""
        ...

    def nonce(self) -> bytes:
        """Return a fresh nonce for the unit that asks."""
        ...

    def renew(self, request: bytes) -> x509.Certificate:
        """Return the new certificate for a DER request."""
        ...

    def name_anchors(self, anchors: frozenset[str]) -> None:
        """Say which trust anchors we hold (SHA-256 of each)."""
        ...

    def wire_bytes(self) -> WireBytes:
        """Return what the connection has carried since it was open; its handshake is not counted."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Links(Protocol):
    """Opens connections; the chip's key of the identity's slot signs their handshakes."""

    def cloud(self, identity: Identity) -> CloudLink:
        """Return a new connection to the cloud."""
        ...

    def authority(self, identity: Identity) -> AuthorityLink:
        """Return a new connection to the CA."""
        ...
