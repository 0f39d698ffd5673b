# SPDX-License-Identifier: Apache-2.0
"""Threat: long-tail algorithms. A weak key, a weak digest, a profile whose time is over, the way back."""

import subprocess
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.forge import new_key
from birthmark.testing.lab.files import ORDER_OF_2016, ORDER_OF_STRONG_KEYS

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


def weaker_renewal(intruder: Intruder) -> None:
    """Let a device that holds P-384 renew into P-256, which its profile lists too: the way back, once P-256 fell."""
    unit, chip, order = intruder.new_unit(), intruder.genuine_chip(), ORDER_OF_STRONG_KEYS.name
    strong = ec.generate_private_key(ec.SECP384R1())
    bundle = chip.bundle(chip.attest(strong.public_key(), intruder.nonce(unit, order=order)))
    current = intruder.enrol(build_csr(strong, request_subject(unit), bundle), order=order)
    intruder.confirm_birth(unit, chip, current, order=order)
    device = intruder.as_device(current, lambda digest: strong.sign(digest, ec.ECDSA(Prehashed(hashes.SHA384()))))
    weak = new_key()
    bundle = chip.bundle(chip.attest(weak.public_key(), device.nonce().nonce))
    san = current.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    device.simplereenroll(build_csr(weak, current.subject, bundle, san))


ATTACKS = (
    Attack("algorithm.rsa-1024", THREAT, "a request over an RSA-1024 key", ("csr.algorithm", "ca.2.csr"), rsa_1024),
    Attack("algorithm.sha1", THREAT, "a request signed with SHA-1", ("csr.algorithm", "ca.2.csr"), sha1_request),
    Attack("algorithm.retired-profile", THREAT, "a profile that retired in 2020", ("ca.9.profile",), retired_profile),
    Attack("algorithm.weaker-renewal", THREAT, "a renewal to a weaker key", ("ca.re.weaker",), weaker_renewal),
)
