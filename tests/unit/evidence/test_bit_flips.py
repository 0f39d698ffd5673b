# SPDX-License-Identifier: Apache-2.0
"""
No bit of the evidence can be turned unseen: exhaustive, every bit of every byte.

The bundle holds the statement, its type and the AK certificate; the extension adds the wrapper around the bundle.
"""

from datetime import datetime

import pytest
from cryptography import x509

from birthmark.core.errors import DecodeError
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.verdict import require
from birthmark.pki.cmw import cmw_extension, read_cmw
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.testing.forge import APDU, MODELS, TPM, Device, Forge, Model, spki
from support.flips import every_flip

# pyca warns of serial numbers below one in any certificate or AKI, before the signature shows that they were changed.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number:UserWarning")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_every_flipped_bit_of_a_bundle_is_a_finding(
    forge: Forge, endorsements: Endorsements, now: datetime, model: Model
) -> None:
    device = forge.device("BM-000001", model=model)
    require(appraise(device.bundle, device.spki, endorsements, now))
    survivors = [
        place
        for place, flipped in every_flip(device.bundle)
        if not appraise(flipped, device.spki, endorsements, now).findings
    ]
    assert survivors == []


@pytest.mark.parametrize("model", [APDU, TPM], ids=lambda model: model.id)
def test_every_flipped_bit_of_the_extension_is_refused_though_our_own_ca_signed_it(
    forge: Forge, endorsements: Endorsements, now: datetime, model: Model
) -> None:
    device = forge.device("BM-000001", model=model)
    trust = TrustAnchors((forge.root.certificate,), (forge.issuing.certificate,))
    content = cmw_extension(device.bundle).value
    assert accepted(signed_again(forge, device, content), trust, endorsements, now)
    survivors = [
        place
        for place, flipped in every_flip(content)
        if accepted(signed_again(forge, device, flipped), trust, endorsements, now)
    ]
    assert survivors == []


def signed_again(forge: Forge, device: Device, content: bytes) -> x509.Certificate:
    return forge.certify(device.unit, device.chip, device.key.public_key(), content)


def accepted(certificate: x509.Certificate, trust: TrustAnchors, endorsements: Endorsements, now: datetime) -> bool:
    """Appraise as the cloud does. The path must be good each time, so that only the evidence can be refused."""
    validate_path(certificate, (), trust, now, Purpose.CLIENT)
    key = certificate.public_key()
    try:
        bundle = read_cmw(certificate)
    except DecodeError:
        return False
    return not appraise(bundle, spki(key), endorsements, now).findings
