# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import der
from birthmark.pki.cmw import read_cmw
from birthmark.pki.csr import read_csr
from birthmark.pki.names import read_hardware_module_name, unit_serial_of
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.testing.forge import MODELS, Forge, Model, spki
from birthmark.testing.statements import oid, tlv

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge.at(NOW)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_one_call_makes_a_device_whose_parts_fit_together(forge: Forge, model: Model, curve: ec.EllipticCurve) -> None:
    device = forge.device("BM-000001", model=model, curve=curve)
    certificate = device.certificate
    trust = TrustAnchors((forge.root.certificate,), (forge.issuing.certificate,))
    validate_path(certificate, (), trust, NOW, Purpose.CLIENT)
    assert unit_serial_of(certificate.subject) == "BM-000001"
    assert read_hardware_module_name(certificate).serial == device.chip.serial
    request = read_csr(device.csr)
    assert spki(certificate.public_key()) == request.spki == device.spki
    assert read_cmw(certificate) == request.bundle == device.bundle


def test_two_chips_have_nothing_in_common(forge: Forge) -> None:
    one, other = forge.maker.chip(), forge.maker.chip()
    assert one.serial != other.serial
    assert spki(one.ak.public_key()) != spki(other.ak.public_key())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_an_ak_certificate_is_small_enough_to_travel_in_a_certificate(forge: Forge, model: Model) -> None:
    chip = forge.maker.chip(model)
    assert len(chip.ak_certificate.public_bytes(Encoding.DER)) <= 560


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 2**40), max_size=8))
def test_the_forges_own_der_agrees_with_the_library(first: int, second: int, rest: list[int]) -> None:
    identifier = ObjectIdentifier(".".join(map(str, (first, second, *rest))))
    assert oid(identifier) == der.encode(identifier)


@given(st.binary(max_size=70_000))
def test_the_forges_lengths_agree_with_the_library(content: bytes) -> None:
    assert tlv(0x04, content) == der.encode(content)
