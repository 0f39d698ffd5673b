# SPDX-License-Identifier: Apache-2.0
"""Admission warm and cold, onboarding in the registry, telemetry and commands."""

from dataclasses import replace

import pytest
from cryptography import x509

from birthmark.cloud.admission import Admission, AdmissionCache
from birthmark.cloud.errors import (
    CloudRefused,
    CommandUnknown,
    RevocationUnknown,
    TelemetryRefused,
    TelemetryTooLarge,
)
from birthmark.cloud.service import TELEMETRY_MAX_BYTES
from birthmark.testing.forge import Device, Forge
from support.cloud_parts import UNIT, CloudParts, der, renewed


@pytest.fixture
def admission(parts: CloudParts, device: Device) -> Admission:
    parts.feed.pull()
    return parts.cloud.admit(der(device.certificate), ())


def finding_of(parts: CloudParts, certificate: x509.Certificate) -> str:
    with pytest.raises(CloudRefused) as caught:
        parts.cloud.admit(der(certificate), ())
    return caught.value.finding


def test_first_contact_writes_the_registry_row(parts: CloudParts, admission: Admission, device: Device) -> None:
    assert admission.subject == UNIT
    (row,) = parts.cloud.devices()
    assert row["unit"] == UNIT
    assert (row["chip_model"], row["chip_serial"]) == ("optiga-trust-m", device.chip.serial)
    assert row["first_seen"] == "2026-11-23T12:00:00+00:00"


def test_the_same_certificate_is_judged_once(parts: CloudParts, admission: Admission, device: Device) -> None:
    assert parts.cloud.admit(der(device.certificate), ()) is admission


def test_a_list_that_names_others_leaves_the_verdict(parts: CloudParts, admission: Admission, device: Device) -> None:
    parts.clock.forward(seconds=1)
    parts.publish(12345)
    assert parts.cloud.admit(der(device.certificate), ()) is admission


def test_a_revoked_device_is_refused_although_it_was_admitted(
    parts: CloudParts, admission: Admission, device: Device
) -> None:
    assert admission.subject == UNIT
    parts.clock.forward(seconds=1)
    parts.publish(device.certificate.serial_number)
    assert finding_of(parts, device.certificate) == "cloud.revoked"
    assert len(list(parts.cloud.devices())) == 1, "history is kept"


def test_an_admission_ends_with_the_certificate(parts: CloudParts, admission: Admission, device: Device) -> None:
    parts.clock.now = device.certificate.not_valid_after_utc
    parts.publish()
    parts.clock.forward(seconds=1)
    assert not admission.holds(parts.feed.current(parts.clock.now), parts.clock.now)
    assert finding_of(parts, device.certificate) == "cloud.chain.expired"


def test_an_admission_ends_after_its_lifetime(parts: CloudParts, admission: Admission, device: Device) -> None:
    parts.clock.forward(hours=1)
    parts.publish()
    assert parts.cloud.admit(der(device.certificate), ()) is not admission


def test_nobody_is_admitted_on_a_list_that_has_run_out(parts: CloudParts, admission: Admission, device: Device) -> None:
    assert admission.subject == UNIT
    parts.clock.forward(hours=1)
    with pytest.raises(RevocationUnknown):
        parts.cloud.admit(der(device.certificate), ())


def test_a_newer_certificate_supersedes_the_older_at_once_and_for_good(
    parts: CloudParts, admission: Admission, device: Device
) -> None:
    assert admission.subject == UNIT
    newer = renewed(parts.forge, device, parts.clock.now)
    parts.cloud.admit(der(newer.certificate), ())
    assert finding_of(parts, device.certificate) == "cloud.superseded"
    assert [row["certificate_sha256"] for row in parts.cloud.devices()] == [
        parts.registry.device(UNIT).certificate_sha256  # type: ignore[union-attr] # it was registered above
    ]


def test_an_older_certificate_that_was_never_used_is_refused_too(parts: CloudParts, device: Device) -> None:
    parts.clock.forward(seconds=60)
    parts.publish()
    newer = renewed(parts.forge, device, parts.clock.now)
    parts.cloud.admit(der(newer.certificate), ())
    assert finding_of(parts, device.certificate) == "cloud.superseded"


def test_a_unit_keeps_its_chip(parts: CloudParts, admission: Admission) -> None:
    assert admission.subject == UNIT
    assert finding_of(parts, parts.forge.device(UNIT).certificate) == "cloud.chip-changed"


def test_a_chip_keeps_its_unit(parts: CloudParts, admission: Admission, device: Device) -> None:
    assert admission.subject == UNIT
    twin = renewed(parts.forge, replace(device, unit="BM-000002"), parts.clock.now)
    assert finding_of(parts, twin.certificate) == "cloud.chip-taken"


@pytest.mark.parametrize(
    ("leaf", "finding"), [(None, "cloud.certificate.missing"), (b"junk", "cloud.certificate.malformed")]
)
def test_without_a_readable_certificate_nobody_is_admitted(parts: CloudParts, leaf: bytes | None, finding: str) -> None:
    parts.feed.pull()
    with pytest.raises(CloudRefused) as caught:
        parts.cloud.admit(leaf, ())
    assert caught.value.finding == finding


def test_a_refusal_is_never_kept(parts: CloudParts) -> None:
    parts.feed.pull()
    stranger = Forge.at(parts.clock.now).device(UNIT)
    for _ in range(2):
        assert finding_of(parts, stranger.certificate) == "cloud.chain.unknown-issuer"
    assert not parts.cloud._admissions._held


def test_the_cache_drops_its_oldest_admission(parts: CloudParts, admission: Admission) -> None:
    cache = AdmissionCache(limit=2)
    for name in (b"a", b"b", b"a", b"c"):
        cache.keep(name, admission)
    at = admission.holds_from
    revocations = parts.feed.current(at)
    assert [cache.find(name, revocations, at) is not None for name in (b"a", b"b", b"c")] == [True, False, True]


def test_a_device_speaks_for_its_own_unit_only(parts: CloudParts, admission: Admission) -> None:
    for act in (
        lambda: parts.cloud.take_telemetry(admission, "BM-000002", b"{}"),
        lambda: parts.cloud.next_command(admission, "BM-000002"),
        lambda: parts.cloud.finish_command(admission, "BM-000002", 1),
    ):
        with pytest.raises(CloudRefused) as caught:
            act()
        assert caught.value.finding == "cloud.unit-mismatch"


def test_telemetry_is_kept_as_it_came(parts: CloudParts, admission: Admission) -> None:
    parts.cloud.take_telemetry(admission, UNIT, '{"t": 1.50, "ü": null}'.encode())
    (message,) = parts.cloud.telemetry(UNIT)
    assert message == {"door": "attested", "received": "2026-11-23T12:00:00+00:00", "body": '{"t": 1.50, "ü": null}'}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"{} {}", b"[" * 50_000])
def test_telemetry_that_is_not_json_is_refused(parts: CloudParts, admission: Admission, body: bytes) -> None:
    with pytest.raises(TelemetryRefused):
        parts.cloud.take_telemetry(admission, UNIT, body)
    assert not list(parts.cloud.telemetry(UNIT))


def test_telemetry_has_a_largest_size(parts: CloudParts, admission: Admission) -> None:
    parts.cloud.take_telemetry(admission, UNIT, b'"' + b"a" * (TELEMETRY_MAX_BYTES - 2) + b'"')
    with pytest.raises(TelemetryTooLarge):
        parts.cloud.take_telemetry(admission, UNIT, b'"' + b"a" * (TELEMETRY_MAX_BYTES - 1) + b'"')


def test_commands_come_in_order_and_again_until_they_are_done(parts: CloudParts, admission: Admission) -> None:
    parts.cloud.add_command("BM-000002", "other", {})
    ids = [parts.cloud.add_command(UNIT, name, {"n": 1}) for name in ("first", "second")]
    for name, command_id in zip(("first", "second"), ids, strict=True):
        for _ in range(2):
            command = parts.cloud.next_command(admission, UNIT)
            assert command is not None
            assert (command.name, command.payload) == (name, '{"n": 1}')
        for _ in range(2):
            parts.cloud.finish_command(admission, UNIT, command_id)
    assert parts.cloud.next_command(admission, UNIT) is None


def test_another_units_command_cannot_be_finished(parts: CloudParts, admission: Admission) -> None:
    command_id = parts.cloud.add_command("BM-000002", "other", {})
    with pytest.raises(CommandUnknown):
        parts.cloud.finish_command(admission, UNIT, command_id)
