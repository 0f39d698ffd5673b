# SPDX-License-Identifier: Apache-2.0
"""Devices that a running CA has certified: with a key at hand, and with one that stays in a TPM."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import AttributeOID

from birthmark.core import der
from birthmark.core.birth import sign_birth
from birthmark.core.ids import fingerprint
from birthmark.core.registry import ID_AA_ATTESTATION, PKIX_EVIDENCE, TCG_ATTEST_TPM_CERTIFY
from birthmark.device.requests import make_csr, make_evidence, make_renewal_csr
from birthmark.est.client import ESTClient
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki import csr
from birthmark.pki.algorithms import SigningKey, key_algorithm, sign_data
from birthmark.pki.authorities import ChipName
from birthmark.pki.names import request_subject
from birthmark.silicon.keys import ChipPrivateKey
from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT, Algorithm
from birthmark.silicon.tls import use_chip_key
from birthmark.silicon.tpm2.chip import TPM2Chip
from birthmark.silicon.tpm2.provision import provision
from birthmark.testing.forge import TPM
from support.ca_parts import Board, birth_record
from support.ca_process import ORDER, RunningCA
from support.swtpm import swtpm

RIG = "rig-a"
MICROSOFT_EXTENSIONS = ObjectIdentifier("1.3.6.1.4.1.311.2.1.14")
"""szOID_CERT_EXTENSIONS ([MS-WCCE] §2.2.2.7.7.2): what Windows clients ask for extensions with."""


@dataclass(frozen=True)
class BornDevice:
    """A device with a confirmed certificate. Its files are `<name>.pem` and `<name>.key` in the CA's folder."""

    name: str
    board: Board
    certificate: x509.Certificate


@dataclass(frozen=True)
class TPMDevice:
    """A device whose key never leaves its TPM."""

    tcti: str
    certificate: x509.Certificate
    renewal_csr: bytes
    """For the key in the next slot, fresh for a nonce that the device has asked for with its own key."""
    microsoft_csr: bytes
    """The same, with the SAN in Microsoft's attribute for extensions instead of PKCS#9's."""


def enrolment(ca: RunningCA, board: Board, label: str = ORDER) -> bytes:
    """Return a ready CSR (DER): made by the board's chip, fresh for a nonce that the rig has fetched."""
    return board.csr(ca.est(RIG, label).nonce(PKIX_EVIDENCE, board.unit).nonce)


def renewal(ca: RunningCA, device: BornDevice, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a ready CSR (DER) for the device's next key."""
    return device.board.renewal_csr(key, ca.est(device.name, None).nonce().nonce, device.certificate)


def born(ca: RunningCA, unit: str) -> BornDevice:
    """Return a device that a rig has enrolled and reported."""
    board = ca.files.board(unit)
    certificate = ca.est(RIG).simpleenroll(enrolment(ca, board))
    confirm(ca, board, certificate)
    ca.files.identity(unit, board.key, certificate)
    return BornDevice(unit, board, certificate)


def confirm(ca: RunningCA, board: Board, certificate: x509.Certificate, **changes: object) -> None:
    """Send the birth record, with some of its fields changed."""
    key = load_pem_private_key(ca.files.folder.joinpath(f"{RIG}.key").read_bytes(), None)
    rig = x509.load_pem_x509_certificate(ca.files.folder.joinpath(f"{RIG}.pem").read_bytes())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    body = sign_birth(birth_record(board, certificate, **changes), key, rig).encode()
    answer = ca.transport(RIG).request("POST", "/v1/births", {"Content-Type": "application/jose"}, body)
    assert answer.status == 204, answer.body


@contextmanager
def tpm_device(ca: RunningCA, unit: str) -> Iterator[TPMDevice]:
    """Run a TPM with a confirmed identity in its first slot, and a renewal for the key in its second."""
    with swtpm() as tcti:
        serial = f"TPM{unit[-6:]}"
        provision(tcti, lambda spki: _ak_certificate(ca, serial, spki))
        with closing(TPM2Chip(tcti)) as chip:
            certificate = _enrolled(ca, chip, unit, serial)
            chip.generate_keypair(SLOT_NEXT, Algorithm.P256)
            evidence = make_evidence(chip, SLOT_NEXT, _nonce_over_its_own_key(ca, chip, certificate))
            standard = make_renewal_csr(chip, SLOT_NEXT, certificate, evidence)
            microsoft = _microsoft_csr(ChipPrivateKey(chip, SLOT_NEXT), certificate, evidence)
        yield TPMDevice(tcti, certificate, standard, microsoft)


def _microsoft_csr(key: ChipPrivateKey, current: x509.Certificate, bundle: bytes) -> bytes:
    san = current.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    extensions = csr._Extensions(san=csr._Extension(oid=san.oid, content=san.public_bytes()))
    attributes = [(MICROSOFT_EXTENSIONS, der.encode(extensions)), (ID_AA_ATTESTATION, bundle)]
    return request(key, current.subject, attributes)


def request(key: SigningKey, subject: x509.Name, attributes: Sequence[tuple[ObjectIdentifier, bytes]]) -> bytes:
    """Return a CSR (DER) with any attributes, each of one value."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = csr._Info(
        version=0,
        subject=csr._any(subject.public_bytes()),
        spki=csr._any(public),
        attributes=der.SetOf([csr._attribute(oid, value) for oid, value in attributes]),
    )
    signed = der.encode(info)
    algorithm = csr._AlgorithmIdentifier(algorithm=key_algorithm(key.public_key()).signature_oid)
    signature = der.BitString(sign_data(key, signed), 0)
    return der.encode(
        csr._Signed(info=csr._any(signed), algorithm=csr._any(der.encode(algorithm)), signature=signature)
    )


def linked_request(ca: RunningCA, board: Board, challenge: str) -> bytes:
    """Return a ready CSR (DER) with a challengePassword (RFC 7030 §3.5)."""
    nonce = ca.est(RIG).nonce(PKIX_EVIDENCE, board.unit).nonce
    evidence = board.chip.bundle(board.chip.attest(board.key.public_key(), nonce))
    attributes = [
        (AttributeOID.CHALLENGE_PASSWORD, der.encode(der.PrintableString(challenge))),
        (ID_AA_ATTESTATION, evidence),
    ]
    return request(board.key, request_subject(board.unit), attributes)


def _ak_certificate(ca: RunningCA, serial: str, spki: bytes) -> bytes:
    key = load_der_public_key(spki)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return ca.files.forge.maker.certify(ChipName(serial, TPM.hw_type, TPM.tpm), key).public_bytes(Encoding.DER)


def _enrolled(ca: RunningCA, chip: TPM2Chip, unit: str, serial: str) -> x509.Certificate:
    spki = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    nonce = ca.est(RIG).nonce(TCG_ATTEST_TPM_CERTIFY, unit).nonce
    certificate = ca.est(RIG).simpleenroll(make_csr(chip, SLOT_IDENTITY, unit, nonce))
    confirm(ca, ca.files.board(unit, TPM), certificate, chip_serial=serial, key_sha256=fingerprint(spki))
    return certificate


def _nonce_over_its_own_key(ca: RunningCA, chip: TPM2Chip, certificate: x509.Certificate) -> bytes:
    context = client_context(ca.files.folder.joinpath("root.pem").read_bytes())
    use_chip_key(context, [certificate.public_bytes(Encoding.DER)], ChipPrivateKey(chip, SLOT_IDENTITY))
    with closing(HTTPTransport(ca.url, context)) as transport:
        return ESTClient(transport.request).nonce().nonce


def pem_request(folder: Path, csr_der: bytes) -> Path:
    """Write a CSR as PEM, as programs want to read it, and return where it is."""
    path = folder / "request.pem"
    path.write_bytes(x509.load_der_x509_csr(csr_der).public_bytes(Encoding.PEM))
    return path
