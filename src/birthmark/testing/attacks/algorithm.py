# SPDX-License-Identifier: Apache-2.0
"""Threat: long-tail algorithms. A weak key, a weak digest, a profile whose time is over."""

import subprocess
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.forge import new_key
from birthmark.testing.lab.files import ORDER_OF_2016

THREAT = "old algorithms"
_WEAK_BITS = 1024


def rsa_1024(intruder: Intruder) -> None:
    """Ask for a certificate over an RSA key of 1024 bits."""
    unit = intruder.new_unit()
    key = rsa.generate_private_key(65_537, _WEAK_BITS)
    request = x509.CertificateSigningRequestBuilder().subject_name(request_subject(unit)).sign(key, hashes.SHA256())
    intruder.nonce(unit)
    intruder.enrol(request.public_bytes(Encoding.DER))


def sha1_request(intruder: Intruder) -> None:
    """Ask with a request that is signed with SHA-1, as openssl still makes it when told to."""
    unit = intruder.new_unit()
    intruder.nonce(unit)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "request.der"
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null")
        command = ("openssl", "req", "-new", *curve, "-sha1", "-subj", f"/serialNumber={unit}", "-outform", "DER")
        subprocess.run((*command, "-out", out), check=True, capture_output=True)  # noqa: S603 fixed command
        intruder.enrol(out.read_bytes())


def retired_profile(intruder: Intruder) -> None:
    """Enrol a genuine chip under an order whose profile issued its last certificate in 2020."""
    unit, chip, key = intruder.new_unit(), intruder.genuine_chip(), new_key()
    nonce = intruder.nonce(unit, order=ORDER_OF_2016.name)
    bundle = chip.bundle(chip.attest(key.public_key(), nonce))
    intruder.enrol(build_csr(key, request_subject(unit), bundle), order=ORDER_OF_2016.name)


ATTACKS = (
    Attack("algorithm.rsa-1024", THREAT, "a request over an RSA-1024 key", ("csr.algorithm", "ca.2.csr"), rsa_1024),
    Attack("algorithm.sha1", THREAT, "a request signed with SHA-1", ("csr.algorithm", "ca.2.csr"), sha1_request),
    Attack("algorithm.retired-profile", THREAT, "a profile that retired in 2020", ("ca.9.profile",), retired_profile),
)
