# SPDX-License-Identifier: Apache-2.0
"""What the cloud's service and its store say to each other: devices, commands, contacts. Times are aware, in UTC."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RegisteredDevice:
    """One unit as the cloud knows it: the chip that it is bound to and the certificate that it uses now."""

    unit: str
    chip_model: str
    chip_serial: str
    certificate_sha256: str
    not_before: datetime
    """Start of validity of that certificate: orders a unit's certificates."""
    first_seen: datetime
    last_verified: datetime
    serial: str = ""
    """The certificate's serial, in lower-case hexadecimal; "" where an earlier release did not keep it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command that waits for a device. `payload` is JSON text."""

    id: int
    unit: str
    name: str
    payload: str


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One message of a device. `door` says how its sender was let in; `body` is JSON text."""

    unit: str
    door: str
    received: datetime
    body: str
