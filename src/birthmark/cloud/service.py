# SPDX-License-Identifier: Apache-2.0
"""
The cloud's use cases: admit a certificate, take telemetry, hand out commands.

`admit` is asked on every request. Cold, it verifies and onboards; warm, it is a hash of the certificate, a dictionary
look-up, a comparison of times and a look among the revoked serials.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from birthmark.cloud.admission import ADMISSION_LIFETIME, Admission, AdmissionCache, Door, Revocable, Right
from birthmark.cloud.doors import Doors, Presented, read_presented
from birthmark.cloud.errors import CloudRefused, CommandUnknown, TelemetryRefused, TelemetryTooLarge
from birthmark.cloud.onboarding import Contact, Known, contact
from birthmark.cloud.ports import Registry
from birthmark.cloud.revocation import RevocationFeed
from birthmark.cloud.verification import Revocations, unit_of
from birthmark.core.clock import Clock
from birthmark.core.fleet import Command, RegisteredDevice, Telemetry
from birthmark.core.ids import unit_serial
from birthmark.evidence.verdict import Chip, require
from birthmark.pki.names import common_name_of

TELEMETRY_MAX_BYTES = 65_536


class Cloud:
    """The service. One thread calls it; the revocation feed may be filled by another."""

    def __init__(self, doors: Doors, registry: Registry, feed: RevocationFeed, clock: Clock) -> None:
        self._doors = doors
        self._registry = registry
        self._feed = feed
        self._clock = clock
        self._admissions = AdmissionCache()

    def admit(self, leaf: bytes | None, chain: Sequence[bytes]) -> Admission:
        """
        Return the admission of the certificate that TLS proved possession of.

        Raises:
            CloudRefused: with the finding of the step that failed.
            RevocationUnknown: nobody can be judged now.
            StoreError: the registry did not take the contact.

        """
        at = self._clock()
        in_force = self._feed.current(at)
        fingerprint = hashlib.sha256(leaf or b"").digest()
        admission = self._admissions.find(fingerprint, in_force, at)
        if admission is None:
            admission = self._judged(read_presented(leaf, chain), in_force, at)
            self._admissions.keep(fingerprint, admission)
        return admission

    def me(self, admission: Admission) -> dict[str, Any]:
        """Return what the cloud holds about this connection, for the device itself."""
        return {
            "unit": admission.subject,
            "rights": [right.value for right in admission.rights],
            "verdict": {"steps": list(admission.verdict.steps)},
        }

    def take_telemetry(self, admission: Admission, claimed: str, body: bytes) -> None:
        """
        Keep one message of the unit that the path names.

        Raises:
            CloudRefused: the certificate does not speak for this unit.
            TelemetryRefused: not JSON, or too large.

        """
        unit = self._spoken_for(admission, claimed, Right.TELEMETRY)
        if len(body) > TELEMETRY_MAX_BYTES:
            raise TelemetryTooLarge(f"{len(body)} bytes; at most {TELEMETRY_MAX_BYTES} are taken")
        try:
            text = body.decode("utf-8")
            json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise TelemetryRefused("the body is not JSON in UTF-8") from error
        self._registry.add_telemetry(Telemetry(unit, admission.door.value, self._clock(), text))

    def next_command(self, admission: Admission, claimed: str) -> Command | None:
        """Return the oldest command that is not done. Raises CloudRefused as `take_telemetry` does."""
        return self._registry.next_command(self._spoken_for(admission, claimed, Right.COMMANDS))

    def finish_command(self, admission: Admission, claimed: str, command_id: int) -> None:
        """Mark a command as done; again is no error. Raises CommandUnknown, or CloudRefused as above."""
        unit = self._spoken_for(admission, claimed, Right.COMMANDS)
        if not self._registry.finish_command(unit, command_id, self._clock()):
            raise CommandUnknown(f"unit {unit} has no command {command_id}")

    def add_command(self, unit: str, name: str, payload: dict[str, Any]) -> int:
        """Queue a command for a unit and return its id; the unit need not have been seen yet."""
        return self._registry.add_command(unit_serial(unit), name, json.dumps(payload), self._clock())

    def devices(self) -> Iterator[dict[str, str]]:
        """Return every onboarded device, by unit serial, as plain text fields."""
        for device in self._registry.devices():
            yield {
                "unit": device.unit,
                "chip_model": device.chip_model,
                "chip_serial": device.chip_serial,
                "certificate_sha256": device.certificate_sha256,
                "first_seen": device.first_seen.isoformat(timespec="seconds"),
                "last_verified": device.last_verified.isoformat(timespec="seconds"),
            }

    def telemetry(self, unit: str) -> Iterator[dict[str, str]]:
        """Return the unit's messages, oldest first, as plain text fields."""
        for message in self._registry.telemetry(unit):
            yield {"door": message.door, "received": message.received.isoformat(), "body": message.body}

    def _judged(self, presented: Presented, in_force: Revocations, at: datetime) -> Admission:
        judgement = self._doors.judge(presented, in_force, at)
        verdict = judgement.verdict
        if verdict.findings:
            raise CloudRefused(verdict.findings[0].detail, finding=verdict.findings[0].id)
        leaf, revocable = presented.leaf, None
        if judgement.door is Door.ATTESTED:
            subject = self._onboarded(leaf, require(verdict).chip, in_force, at)
            revocable = Revocable(leaf.issuer, leaf.serial_number)
        else:
            subject = common_name_of(leaf.subject)
        return Admission(
            door=judgement.door,
            subject=subject,
            verdict=verdict,
            revocable=revocable,
            holds_from=leaf.not_valid_before_utc,
            holds_until=min(judgement.holds_until, at + ADMISSION_LIFETIME),
        )

    def _onboarded(self, leaf: x509.Certificate, chip: Chip, in_force: Revocations, at: datetime) -> str:
        """Write the contact into the registry and return the unit. Raises CloudRefused by the rules of onboarding."""
        presented = RegisteredDevice(
            unit=unit_of(leaf),
            chip_model=chip.model,
            chip_serial=chip.serial,
            certificate_sha256=leaf.fingerprint(hashes.SHA256()).hex(),
            not_before=leaf.not_valid_before_utc,
            first_seen=at,
            last_verified=at,
            serial=f"{leaf.serial_number:x}",
        )

        def ended(device: RegisteredDevice) -> bool:
            # By the lists of the same issuer: of another one's certificate nothing is known, and it lives on.
            return device.serial != "" and not in_force.clear(leaf.issuer, int(device.serial, 16), at)

        with self._registry.transaction():
            self._write_contact(presented, ended)
        return presented.unit

    def _write_contact(self, presented: RegisteredDevice, ended: Callable[[RegisteredDevice], bool]) -> None:
        device = self._registry.device(presented.unit)
        known = Known(
            device=device,
            chip_unit=self._registry.unit_of_chip(presented.chip_model, presented.chip_serial),
            superseded=self._registry.is_superseded(presented.certificate_sha256),
            ended=device is not None and ended(device),
        )
        match contact(presented, known):
            case Contact.FIRST:
                self._registry.register(presented)
            case Contact.AGAIN:
                self._registry.touch(presented.unit, presented.last_verified)
            case Contact.RENEWED | Contact.REPLACED:
                self._registry.renew(presented)
                if known.device is not None:
                    self._admissions.drop(bytes.fromhex(known.device.certificate_sha256))

    def _spoken_for(self, admission: Admission, claimed: str, right: Right) -> str:
        """Return the unit that the path names, if this admission may speak for it."""
        unit = unit_serial(claimed)
        if right not in admission.rights:
            raise CloudRefused(f"a legacy device has no right to {right.value}", finding="legacy.rights")
        if admission.door is Door.ATTESTED and unit != admission.subject:
            raise CloudRefused(
                f"the certificate is of {admission.subject}, not of {unit}", finding="cloud.unit-mismatch"
            )
        if admission.door is Door.LEGACY:
            self._doors.refuse_new_line(unit, registered=self._registry.device(unit) is not None)
        return unit


def _no_number(name: str) -> None:
    """Refuse NaN and the infinities: Python reads them, and JSON (RFC 8259 §6) has none."""
    raise ValueError(f"{name} is not JSON")
