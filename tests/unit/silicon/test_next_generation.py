# SPDX-License-Identifier: Apache-2.0
"""
A chip of the next generation, from its key to its certificate: every algorithm over the same wire.

The judge of ML-DSA is dilithium-py, which implements FIPS 204 from its text; it shares no code with OpenSSL. The judge
of the certificate's frame is pyasn1 with the modules of RFC 5280.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509 import ObjectIdentifier
from dilithium_py.ml_dsa import ML_DSA_44, ML_DSA_65, ML_DSA_87
from dilithium_py.ml_dsa.ml_dsa import ML_DSA
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc5280

from birthmark.core.registry import CHIP_MODEL_ARC, PKIX_EVIDENCE
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.bundle import make_bundle
from birthmark.evidence.endorsements import Endorsements, EndorsementsFile, MakerEntry, ModelEntry, build
from birthmark.evidence.verdict import require
from birthmark.pki import extensions
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm, signature_hash, verifying_key
from birthmark.pki.authorities import ChipName, make_ak_ca, make_ak_certificate, make_root, new_serial
from birthmark.pki.cmw import read_cmw
from birthmark.pki.csr import build_csr, read_csr
from birthmark.pki.keys.software import generate
from birthmark.pki.names import HardwareModule, request_subject
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.pki.profiles import AlgorithmPolicy, DeviceIdentity, DeviceProfile, lint, prepare, sign
from birthmark.silicon.apdu.driver import APDUChip
from birthmark.silicon.errors import ChipFull, ChipRefused
from birthmark.silicon.keys import chip_key
from birthmark.silicon.port import SLOT_IDENTITY, Algorithm, SecureElement
from birthmark.silicon.simulator.maker import inject
from birthmark.silicon.simulator.models import NEXT_GENERATION
from support.chip_buses import LocalBus
from support.hierarchy import AT, hierarchy

UNIT = "BM-000001"
NONCE = bytes(range(32))
HW_TYPE = ObjectIdentifier(f"{CHIP_MODEL_ARC}.4")
MAKER_ROOT = make_root("Maker", "Root", generate(KeyAlgorithm.P256), AT)
MAKER_CA = make_ak_ca(MAKER_ROOT, "AK CA", generate(KeyAlgorithm.P256), AT)
JUDGES: dict[KeyAlgorithm, ML_DSA] = {
    KeyAlgorithm.MLDSA44: ML_DSA_44,
    KeyAlgorithm.MLDSA65: ML_DSA_65,
    KeyAlgorithm.MLDSA87: ML_DSA_87,
}
RFC_9881 = {
    KeyAlgorithm.MLDSA44: "2.16.840.1.101.3.4.3.17",
    KeyAlgorithm.MLDSA65: "2.16.840.1.101.3.4.3.18",
    KeyAlgorithm.MLDSA87: "2.16.840.1.101.3.4.3.19",
}
ISSUERS = {algorithm: hierarchy(algorithm=algorithm) for algorithm in KeyAlgorithm}


@contextmanager
def chip_of(directory: Path, model: str = NEXT_GENERATION) -> Iterator[SecureElement]:
    bus = LocalBus(directory / "chip.json", model)
    inject(bus, certify)
    chip = APDUChip(bus)
    yield chip
    chip.close()


def certify(spki: bytes, serial: str) -> bytes:
    key = verifying_key(load_der_public_key(spki))
    return make_ak_certificate(MAKER_CA, ChipName(serial, HW_TYPE), key, AT).public_bytes(Encoding.DER)


def endorsements() -> Endorsements:
    model = ModelEntry(
        id=NEXT_GENERATION,
        hw_type=HW_TYPE.dotted_string,
        maker="Maker",
        certification="none: simulated",
        statement_types=(PKIX_EVIDENCE.dotted_string,),
    )
    pem = b"".join(each.certificate.public_bytes(Encoding.PEM) for each in (MAKER_ROOT, MAKER_CA))
    file = EndorsementsFile(maker=(MakerEntry(name="Maker", trust="maker.pem"),), model=(model,))
    return build(file, {"maker.pem": pem})


def personalised(chip: SecureElement, algorithm: KeyAlgorithm, issuing: KeyAlgorithm) -> x509.Certificate:
    """Make a key, attest it, request a certificate, appraise, certify, write it back and read it again."""
    spki = chip.generate_keypair(SLOT_IDENTITY, Algorithm(algorithm.value))
    evidence = chip.attest(SLOT_IDENTITY, NONCE)
    bundle = make_bundle(evidence.statement_type, evidence.statement, chip.identity().ak_certificates)
    request = read_csr(build_csr(chip_key(chip, SLOT_IDENTITY, spki), request_subject(UNIT), bundle))
    attested = require(appraise(request.bundle or b"", request.spki, endorsements(), AT))
    assert (attested.spki, attested.nonce) == (spki, NONCE)
    profile = DeviceProfile(
        name="pq",
        organization="Acme Controls",
        product="Controller",
        algorithms=(AlgorithmPolicy(algorithm, date.max, 12_288),),
    )
    identity = DeviceIdentity(
        spki=spki, unit_serial=UNIT, chip=HardwareModule(HW_TYPE, attested.chip.serial), bundle=bundle
    )
    issuer = ISSUERS[issuing].issuing
    prepared = prepare(profile, identity, issuer.certificate, AT, new_serial())
    certificate = sign(lint(prepared), issuer.key, issuer.certificate)
    chip.import_certificate(SLOT_IDENTITY, certificate.public_bytes(Encoding.DER))
    assert chip.get_certificate(SLOT_IDENTITY) == certificate.public_bytes(Encoding.DER)
    return certificate


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_chip_of_the_next_generation_is_personalised_with_every_algorithm(
    tmp_path: Path, algorithm: KeyAlgorithm
) -> None:
    with chip_of(tmp_path) as chip:
        certificate = personalised(chip, algorithm, algorithm)
    assert key_algorithm(certificate.public_key()) is algorithm
    root = ISSUERS[algorithm].root.certificate
    path = validate_path(
        certificate, [ISSUERS[algorithm].issuing.certificate], TrustAnchors((root,)), AT, Purpose.CLIENT
    )
    assert len(path) == 3
    spki = chip_spki(certificate)
    assert require(appraise(read_cmw(certificate), spki, endorsements(), AT)).spki == spki


@pytest.mark.parametrize("algorithm", JUDGES)
def test_an_independent_implementation_verifies_the_certificate_and_what_the_chip_signs(
    tmp_path: Path, algorithm: KeyAlgorithm
) -> None:
    with chip_of(tmp_path) as chip:
        certificate = personalised(chip, algorithm, algorithm)
        message = b"proof of possession"
        signature = chip_key(chip, SLOT_IDENTITY).sign(message)  # type: ignore[call-arg] # an ML-DSA key
    judge = JUDGES[algorithm]
    device, tbs, by_issuer = taken_apart(certificate.public_bytes(Encoding.DER), algorithm)
    issuer, _, _ = taken_apart(ISSUERS[algorithm].issuing.certificate.public_bytes(Encoding.DER), algorithm)
    assert judge.verify(issuer, tbs, by_issuer)
    assert not judge.verify(issuer, tbs + b"\0", by_issuer)
    assert judge.verify(device, message, signature)


@pytest.mark.parametrize("algorithm", JUDGES)
def test_the_certificate_is_one_of_rfc_9881(tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    """Identifiers without parameters (§2), the same inside and out; digitalSignature for the end entity (§5)."""
    with chip_of(tmp_path) as chip:
        certificate = personalised(chip, algorithm, algorithm)
    read, rest = decode(certificate.public_bytes(Encoding.DER), asn1Spec=rfc5280.Certificate())
    assert not rest
    tbs = read["tbsCertificate"]
    for identifier in (read["signatureAlgorithm"], tbs["signature"], tbs["subjectPublicKeyInfo"]["algorithm"]):
        assert str(identifier["algorithm"]) == RFC_9881[algorithm]
        assert not identifier["parameters"].hasValue()
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage == extensions.SIGNS_DATA


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_pyca_s_builder_takes_the_key_in_the_chip_as_its_own(tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    with chip_of(tmp_path) as chip:
        chip.generate_keypair(SLOT_IDENTITY, Algorithm(algorithm.value))
        key = chip_key(chip, SLOT_IDENTITY)
        builder = x509.CertificateSigningRequestBuilder(request_subject(UNIT))
        request = builder.sign(key, signature_hash(key.public_key()))
    assert request.is_signature_valid


def test_a_device_keeps_p256_under_a_post_quantum_issuer_only_if_its_chip_has_room(tmp_path: Path) -> None:
    """3 kB of signature: more than any chip of today holds."""
    with chip_of(tmp_path) as chip:
        certificate = personalised(chip, KeyAlgorithm.P256, KeyAlgorithm.MLDSA65)
    with chip_of(tmp_path, "optiga-trust-m") as chip:
        chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        with pytest.raises(ChipFull):
            chip.import_certificate(SLOT_IDENTITY, certificate.public_bytes(Encoding.DER))


@pytest.mark.parametrize("algorithm", [Algorithm.ED25519, Algorithm.MLDSA44, Algorithm.MLDSA65, Algorithm.MLDSA87])
def test_a_chip_of_today_refuses_what_it_cannot_make(tmp_path: Path, algorithm: Algorithm) -> None:
    with chip_of(tmp_path, "optiga-trust-m") as chip, pytest.raises(ChipRefused):
        chip.generate_keypair(SLOT_IDENTITY, algorithm)


@pytest.mark.parametrize("algorithm", [Algorithm.MLDSA44, Algorithm.MLDSA65, Algorithm.MLDSA87])
@pytest.mark.parametrize("size", [32, 63, 65])
def test_a_chip_signs_nothing_but_a_whole_mu_with_ml_dsa(tmp_path: Path, algorithm: Algorithm, size: int) -> None:
    with chip_of(tmp_path) as chip:
        chip.generate_keypair(SLOT_IDENTITY, algorithm)
        with pytest.raises(ChipRefused):
            chip.sign(SLOT_IDENTITY, bytes(size))


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_key_in_a_chip_shows_nothing_of_itself(tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    with chip_of(tmp_path) as chip:
        chip.generate_keypair(SLOT_IDENTITY, Algorithm(algorithm.value))
        key = chip_key(chip, SLOT_IDENTITY)
        with pytest.raises(ChipRefused) as refused:
            key.private_bytes_raw()
        assert refused.value.finding == "chip.key-stays"


def chip_spki(certificate: x509.Certificate) -> bytes:
    read, _ = decode(certificate.public_bytes(Encoding.DER), asn1Spec=rfc5280.Certificate())
    return bytes(encode(read["tbsCertificate"]["subjectPublicKeyInfo"]))


def taken_apart(der: bytes, algorithm: KeyAlgorithm) -> tuple[bytes, bytes, bytes]:
    """Return subject key, signed bytes and signature, as pyasn1 reads them."""
    read, rest = decode(der, asn1Spec=rfc5280.Certificate())
    assert not rest
    assert algorithm.value.startswith("ML-DSA")
    tbs = read["tbsCertificate"]
    return tbs["subjectPublicKeyInfo"]["subjectPublicKey"].asOctets(), encode(tbs), read["signature"].asOctets()
