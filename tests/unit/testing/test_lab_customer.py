# SPDX-License-Identifier: Apache-2.0
"""The lab's customer holds a second ceremony, for an issuing CA of any type of key, and it certifies devices."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.core.clock import system_clock
from birthmark.core.secret_files import read_secret
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm
from birthmark.pki.authorities import new_serial
from birthmark.pki.keys import software
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.pki.profiles import PQ_CERTIFICATE_MAX_BYTES, AlgorithmPolicy, DeviceIdentity, lint, prepare, sign
from birthmark.testing.lab.customer import hold_next_ceremony
from support.hierarchy import BUNDLE, CHIP, PROFILE


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_an_issuing_ca_of_any_type_comes_out_of_the_ceremony_and_certifies(
    tmp_path: Path, algorithm: KeyAlgorithm
) -> None:
    at = system_clock()
    hold_next_ceremony(tmp_path, at, algorithm)
    pki = tmp_path / "pki"
    issuing = x509.load_pem_x509_certificate((pki / "next-issuing.pem").read_bytes())
    root, _ = x509.load_pem_x509_certificates((pki / "next-device-trust.pem").read_bytes())
    key = software.load_encrypted(pki / "next-issuing.key", read_secret(pki / "next-issuing.passphrase"))
    device = software.generate(algorithm).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    profile = replace(PROFILE, algorithms=(AlgorithmPolicy(algorithm, date.max, PQ_CERTIFICATE_MAX_BYTES),))
    identity = DeviceIdentity(spki=device, unit_serial="BM-000001", chip=CHIP, bundle=BUNDLE)
    now = system_clock()
    certificate = sign(lint(prepare(profile, identity, issuing, now, new_serial())), key, issuing)
    path = validate_path(certificate, [issuing], TrustAnchors((root,)), now, Purpose.CLIENT)
    assert [key_algorithm(each.public_key()) for each in path] == [algorithm] * 3
