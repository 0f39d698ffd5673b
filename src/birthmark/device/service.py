# SPDX-License-Identifier: Apache-2.0
"""The agent's use cases: connect, publish, take a command, rotate."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.errors import BirthmarkError
from birthmark.device.errors import DeviceError
from birthmark.device.identities import active_identity, key_type_of
from birthmark.device.ports import CloudLink, CommandTaken, Identity, Links
from birthmark.device.renewal import Renewal
from birthmark.device.requests import make_bare_csr, make_csr
from birthmark.device.rotation import Goal
from birthmark.net.errors import NetError
from birthmark.silicon.port import SLOTS, SecureElement

__all__ = ["Agent", "RotationReport", "make_bare_csr", "make_csr"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RotationReport:
    """
    A finished rotation: SHA-256 fingerprints in hexadecimal, and the bytes on the open connection to the CA.

    `in_use` is what the device connects with from now on: the old one, when the new one's key opens no TLS session.
    """

    old_fingerprint: str
    new_fingerprint: str
    in_use: str
    bytes_up: int
    bytes_down: int


class Agent:
    """One unit's agent. It has the chip to itself and is for one thread; use it as a context manager."""

    def __init__(self, chip: SecureElement, unit: str, links: Links, renewal: Callable[[], Renewal]) -> None:
        self._chip = chip
        self._unit = unit
        self._links = links
        self._renewal = renewal
        self._link: CloudLink | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and let go of the chip."""
        self._disconnect()
        self._chip.close()

    def connect(self) -> tuple[str, ...]:
        """
        Settle what an interrupted rotation has left, connect with the identity in use, and return our rights.

        Raises:
            NoIdentity: this unit is not personalised.
            RefusedByCloud, CloudBusy, NetError, ChipError: as they say.

        """
        return self._open().me().rights

    def publish(self, message: Mapping[str, Any]) -> None:
        """Hand one message to the cloud. Raises as `connect` does."""
        self._connected().publish(self._unit, message)

    def take_command(
        self, handle: Callable[[CommandTaken], None] = lambda _command: None, wait_s: float = 0.0
    ) -> CommandTaken | None:
        """
        Return the oldest command that waits, after `handle` has dealt with it, and tell the cloud that it is done.

        A command whose handling failed, or was cut off, comes again. Raises as `connect` does.
        """
        link = self._connected()
        command = link.next_command(self._unit, wait_s)
        if command is not None:
            handle(command)
            link.finish_command(self._unit, command.id)
        return command

    def rotate(self) -> RotationReport:
        """
        Put a new key and certificate in use, or finish a rotation that was cut off.

        Raises:
            ChipError, NetError, ESTError, DeviceError, AppraisalRefused: the identity in use is as it was.

        """
        self._disconnect()
        outcome = self._renewal().run(Goal.ROTATE)
        self._name_anchors()
        return RotationReport(
            old_fingerprint=_fingerprint(outcome.before),
            new_fingerprint=_fingerprint(outcome.beside or outcome.identity),
            in_use=_fingerprint(outcome.identity),
            bytes_up=outcome.wire.up,
            bytes_down=outcome.wire.down,
        )

    def status(self) -> dict[str, Any]:
        """Return what the chip holds, as plain values; asks nobody else."""
        identity = active_identity(self._chip, self._unit)
        chip = self._chip.identity()
        return {
            "unit": self._unit,
            "chip": {"model": chip.model, "serial": chip.serial, "firmware": chip.firmware},
            "slots": {slot: self._chip.state(slot).value for slot in SLOTS},
            "active": identity.slot,
            "key": key_type_of(identity).value,
            "certificate_sha256": _fingerprint(identity),
            "not_after": identity.certificate.not_valid_after_utc.isoformat(),
        }

    def certificate_pem(self) -> str:
        """Return the certificate in use. Raises NoIdentity or ChipError."""
        return active_identity(self._chip, self._unit).certificate.public_bytes(Encoding.PEM).decode()

    def _settled(self) -> Identity:
        """Return the identity in use after clearing up; a cloud or a net that is away only postpones that."""
        try:
            return self._renewal().run(Goal.SETTLE).identity
        except (NetError, DeviceError):
            return active_identity(self._chip, self._unit)

    def _name_anchors(self) -> None:
        """Say with the identity in use which anchors we hold. The rotation is done, whatever comes of it."""
        try:
            self._renewal().name_anchors()
        except BirthmarkError as error:
            _LOG.warning("device.anchors: the CA was not told: %s", error.message)

    def _open(self) -> CloudLink:
        self._disconnect()
        self._link = link = self._links.cloud(self._settled())
        return link

    def _connected(self) -> CloudLink:
        return self._link or self._open()

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def _fingerprint(identity: Identity) -> str:
    return identity.certificate.fingerprint(hashes.SHA256()).hex()
