# SPDX-License-Identifier: Apache-2.0
"""Subjects and hardware module names."""

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import NameOID

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_ON_HARDWARE_MODULE_NAME
from birthmark.pki import names
from support.hierarchy import CHIP, device_certificate, hierarchy

HW_TYPE = ObjectIdentifier("1.3.6.1.4.1.58270.2.1")


def test_a_device_subject_says_who_made_what_and_which_one() -> None:
    subject = names.device_subject("BM-000001", "Controller", "Acme")
    assert [(a.oid, a.value) for a in subject] == [
        (NameOID.ORGANIZATION_NAME, "Acme"),
        (NameOID.COMMON_NAME, "Controller BM-000001"),
        (NameOID.SERIAL_NUMBER, "BM-000001"),
    ]
    assert names.unit_serial_of(subject) == "BM-000001"


def test_a_request_subject_is_the_unit_serial_alone() -> None:
    assert names.request_subject("BM-000001").rfc4514_string() == "2.5.4.5=BM-000001"


def test_a_product_name_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DecodeError, match="more than 64"):
        names.device_subject("BM-000001", "C" * 60, "Acme")


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param([], id="none"),
        pytest.param([(NameOID.SERIAL_NUMBER, "BM-000001"), (NameOID.SERIAL_NUMBER, "BM-000002")], id="two"),
        pytest.param([(NameOID.SERIAL_NUMBER, "bm 1")], id="malformed"),
        pytest.param([(NameOID.COMMON_NAME, "BM-000001")], id="in another attribute"),
    ],
)
def test_a_subject_without_exactly_one_unit_serial_is_refused(attributes: list[tuple[ObjectIdentifier, str]]) -> None:
    with pytest.raises(DecodeError):
        names.unit_serial_of(x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes]))


def test_the_chip_in_a_certificate_is_read_back() -> None:
    certificate = device_certificate(hierarchy().issuing)
    assert names.read_hardware_module_name(certificate) == CHIP


def test_a_certificate_without_a_san_names_no_chip() -> None:
    with pytest.raises(DecodeError) as refused:
        names.read_hardware_module_name(hierarchy().root.certificate)
    assert refused.value.finding == "name.hardware-module"


def other(value: bytes) -> x509.OtherName:
    return x509.OtherName(ID_ON_HARDWARE_MODULE_NAME, value)


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(lambda: [x509.DNSName("localhost")], id="another name"),
        pytest.param(lambda: [names.hardware_module_name(HW_TYPE, "0123456789")] * 2, id="two chips"),
        pytest.param(lambda: [other(der.encode(7))], id="not the structure"),
        pytest.param(lambda: [other(bytes.fromhex("3006060151040101"))], id="serial too short"),
        pytest.param(lambda: [other(bytes.fromhex("3009060151" + "0404ffffffff"))], id="serial not ASCII"),
    ],
)
def test_a_san_without_exactly_one_sound_chip_is_refused(entries: Callable[[], list[x509.GeneralName]]) -> None:
    with pytest.raises(DecodeError):
        names.hardware_module_of(x509.SubjectAlternativeName(entries()))


def test_a_chip_serial_is_checked_when_it_is_written() -> None:
    with pytest.raises(DecodeError, match="chip serial"):
        names.hardware_module_name(HW_TYPE, "no serial")


def test_the_common_name_of_a_rig_is_read() -> None:
    assert names.common_name_of(names.named("Acme", "rig-a")) == "rig-a"
