# SPDX-License-Identifier: Apache-2.0
"""The legacy door, rules 10 to 14."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from birthmark.cloud.admission import Admission, Door
from birthmark.cloud.errors import CloudRefused
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_PE_CMW
from birthmark.testing.forge import Device
from support.cloud_parts import OLD_UNIT, SUNSET, UNIT, CloudParts, der


@pytest.fixture
def admission(parts: CloudParts) -> Admission:
    parts.feed.pull()
    certificate, _key = parts.legacy_certificate()
    return parts.cloud.admit(der(certificate), ())


def refused(parts: CloudParts, certificate: x509.Certificate) -> str:
    with pytest.raises(CloudRefused) as caught:
        parts.cloud.admit(der(certificate), ())
    return caught.value.finding


def test_a_legacy_certificate_is_admitted_with_the_right_to_telemetry_only(
    parts: CloudParts, admission: Admission
) -> None:
    assert admission.door is Door.LEGACY
    assert parts.cloud.me(admission) == {
        "unit": "sku:thermostat-1",
        "rights": ["telemetry"],
        "verdict": {"steps": ["legacy.sunset", "legacy.chain", "legacy.evidence"]},
    }
    parts.cloud.take_telemetry(admission, OLD_UNIT, b'{"t": 20}')
    assert [message["door"] for message in parts.cloud.telemetry(OLD_UNIT)] == ["legacy"]


def test_rule_10_closes_the_door_at_the_sunset_also_for_who_is_inside(parts: CloudParts, admission: Admission) -> None:
    assert admission.holds_until <= SUNSET
    certificate, _key = parts.legacy_certificate()
    parts.clock.now = SUNSET - timedelta(minutes=1)
    parts.publish()
    assert parts.cloud.admit(der(certificate), ()).holds_until == SUNSET
    parts.clock.now = SUNSET
    assert refused(parts, certificate) == "legacy.sunset"


def test_rule_11_refuses_what_a_namesake_of_the_legacy_ca_has_signed(
    parts: CloudParts, admission: Admission, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert admission.door is Door.LEGACY
    namesake = CloudParts(tmp_path_factory.mktemp("namesake"), forge=parts.forge)
    certificate, _key = namesake.legacy_certificate()
    namesake.registry.close()
    assert refused(parts, certificate) == "legacy.chain.unknown-issuer"


def test_rule_12_refuses_a_legacy_certificate_with_evidence(parts: CloudParts, device: Device) -> None:
    parts.feed.pull()
    certificate, _key = parts.legacy_certificate()
    builder = x509.CertificateBuilder(
        certificate.issuer,
        certificate.subject,
        device.key.public_key(),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        list(certificate.extensions),
    )
    evidence = device.certificate.extensions.get_extension_for_oid(ID_PE_CMW).value
    with_evidence = builder.add_extension(evidence, critical=False).sign(parts.legacy_root.key, hashes.SHA256())
    assert refused(parts, with_evidence) == "legacy.evidence-present"


def test_rule_13_refuses_the_serial_of_the_new_line(parts: CloudParts, admission: Admission) -> None:
    with pytest.raises(CloudRefused) as caught:
        parts.cloud.take_telemetry(admission, UNIT, b"{}")
    assert caught.value.finding == "legacy.new-line-serial"
    assert not list(parts.cloud.telemetry(UNIT))


def test_rule_13_refuses_a_serial_under_which_an_attested_unit_is_known(
    parts: CloudParts, admission: Admission
) -> None:
    parts.cloud.take_telemetry(admission, OLD_UNIT, b"{}")
    parts.cloud.admit(der(parts.forge.device(OLD_UNIT).certificate), ())
    with pytest.raises(CloudRefused) as caught:
        parts.cloud.take_telemetry(admission, OLD_UNIT, b"{}")
    assert caught.value.finding == "legacy.new-line-serial"


@pytest.mark.parametrize("claimed", ["bm-000001", "BM-000001 ", "BM-000001\n", "../BM-000001", ""])
def test_rule_13_is_not_passed_by_another_spelling(parts: CloudParts, admission: Admission, claimed: str) -> None:
    with pytest.raises(DecodeError):
        parts.cloud.take_telemetry(admission, claimed, b"{}")


def test_rule_14_refuses_commands(parts: CloudParts, admission: Admission) -> None:
    parts.cloud.add_command(OLD_UNIT, "open", {})
    with pytest.raises(CloudRefused) as caught:
        parts.cloud.next_command(admission, OLD_UNIT)
    assert caught.value.finding == "legacy.rights"


def test_an_attested_certificate_whose_evidence_fails_does_not_fall_back_to_the_legacy_door(
    parts: CloudParts, device: Device
) -> None:
    parts.feed.pull()
    stripped = parts.forge.certify(UNIT, device.chip, device.key.public_key(), None)
    assert refused(parts, stripped) == "cloud.evidence.missing"
