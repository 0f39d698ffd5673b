# SPDX-License-Identifier: Apache-2.0
"""
Who attacks: an insider with rig credentials, a thief of old keys, a cloner with a copied certificate.

Everything goes over the wire to the real services. What the intruder holds is what the threat grants: the rigs'
credentials, the legacy SKU key, chips of the endorsed maker (a factory has a drawer of them), a maker of its own, and,
for the worst case, the issuing key itself.
"""

import secrets
import time
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from birthmark.core.birth import BirthRecord, sign_birth
from birthmark.core.clock import system_clock
from birthmark.core.ids import fingerprint
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est.client import ESTClient
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport, Response
from birthmark.pki.authorities import Authority
from birthmark.pki.cmw import read_cmw
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.silicon.address import open_chip
from birthmark.silicon.port import SLOT_IDENTITY, SecureElement, SlotState
from birthmark.silicon.tls import Signer, use_chip_key
from birthmark.testing.attacks.errors import NoVictim, Refused
from birthmark.testing.forge import APDU, Chip, ChipMaker, Forge, Model, new_key
from birthmark.testing.lab.boards import UNTIMED, plug_in, plug_in_debuggable
from birthmark.testing.lab.ceremony import MAKER, offline_authority
from birthmark.testing.lab.keys import issuing_key
from birthmark.testing.lab.processes import LabProcess, stop
from birthmark.testing.lab.record import PRODUCT, RIGS, Lab
from birthmark.testing.lab.rig import run_rig

RIG = RIGS[0]
_OK = range(200, 300)
DARK_WITHIN_S = 5.0
"""By then a board that was revoked has to be dark: the feed tells the cloud."""
DARK_POLL_S = 0.1


class Intruder:
    """The attacker's hands. A refusal comes back as the error that the service's answer makes, with its finding."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.pki = lab.path / "pki"
        self.now: datetime = system_clock()
        self._transports: list[HTTPTransport] = []
        self._chips: list[LabProcess] = []
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Make sure that there is a victim: run the panel when its boards have no identity yet."""
        with self.chip() as chip:
            fresh = chip.state(SLOT_IDENTITY) is not SlotState.CERTIFIED
        if fresh:
            run_rig(Path(self.lab.rig_configs[RIG]), Path(self.lab.panel), lambda _: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for transport in self._transports:
            transport.close()
        stop(self._chips)
        self._held.close()

    # --- what the intruder holds ---------------------------------------------------------------------------------

    @cached_property
    def drawer(self) -> ChipMaker:
        """The endorsed maker, from whom genuine chips can be had; the intruder speaks for what those chips sign."""
        maker, ak_ca = (offline_authority(self.lab.path, name) for name in ("maker", "ak_ca"))
        return ChipMaker(MAKER, maker, ak_ca, self.now)

    @cached_property
    def stolen(self) -> ChipMaker:
        """The endorsed maker once more, as the thief of one of its attestation CAs is: the root is the same."""
        lost = offline_authority(self.lab.path, "lost_ak_ca")
        return ChipMaker(MAKER, self.drawer.root, lost, self.now)

    @cached_property
    def victim(self) -> x509.Certificate:
        """The certificate of the first board, as anyone who saw its TLS session or flash can have it."""
        with self.chip() as chip:
            der = chip.get_certificate(chip.active_slot())
        if der is None:
            raise NoVictim("the first board has no certificate to copy")
        return x509.load_der_x509_certificate(der)

    @cached_property
    def corrupt_ca(self) -> Forge:
        """The worst case: someone who uses the issuing key itself, past every demand of the CA."""
        certificate = x509.load_pem_x509_certificate((self.pki / "issuing.pem").read_bytes())
        issuing = Authority(certificate, self._held.enter_context(issuing_key(self.lab.path)))
        return Forge(self.now, self.drawer, offline_authority(self.lab.path, "root"), issuing)

    def chip(self) -> "OpenChip":
        """Return the first board's chip, as a context manager."""
        return OpenChip(self.lab.boards[0].chip)

    def genuine_chip(self, model: Model = APDU) -> Chip:
        """Return a chip from the endorsed maker."""
        return self.drawer.chip(model)

    def loose_chip(self) -> Path:
        """Start a simulated chip of the endorsed maker that is on no board; return its bus."""
        name = self._chip_name()
        plug_in(self.lab.path, [name], UNTIMED, self.drawer.ak_ca, self._chips)
        return self.lab.path / "boards" / f"{name}.sock"

    def debuggable_chip(self) -> str:
        """Start a simulated chip of the endorsed maker with debugging open; return its address."""
        return plug_in_debuggable(self.lab.path, self._chip_name(), self.drawer.ak_ca, self._chips)[0]

    @staticmethod
    def _chip_name() -> str:
        return f"loose-{secrets.token_hex(3)}"

    @staticmethod
    def new_unit() -> str:
        """Return a unit serial of the lab's orders that nobody has used: its boards have low numbers."""
        return f"BM-{500_000 + secrets.randbelow(500_000)}"

    # --- attempts on the CA ----------------------------------------------------------------------------------------

    def rig(self, rig: str = RIG) -> HTTPTransport:
        """Return a connection to the CA with a rig's credential."""
        return self._transport(self.lab.ca_url, self.pki / f"{rig}.pem", self.pki / f"{rig}.key")

    def est(self, *, rig: str = RIG, order: str | None = None) -> ESTClient:
        """Return an EST client with a rig's credential, under an order."""
        return ESTClient(self.rig(rig).request, order or self.lab.order)

    def nonce(self, unit: str, *, rig: str = RIG, order: str | None = None) -> bytes:
        """Return a nonce that the CA gave for this unit."""
        return self.est(rig=rig, order=order).nonce(PKIX_EVIDENCE, unit).nonce

    def enrol(self, csr: bytes, *, rig: str = RIG, order: str | None = None) -> x509.Certificate:
        """Ask for a certificate."""
        return self.est(rig=rig, order=order).simpleenroll(csr)

    def enrol_properly(self, unit: str, chip: Chip, *, order: str | None = None) -> x509.Certificate:
        """Do what an honest rig does for a genuine chip with a new key, and return the certificate."""
        key = new_key()
        bundle = chip.bundle(chip.attest(key.public_key(), self.nonce(unit, order=order)))
        return self.enrol(build_csr(key, request_subject(unit), bundle), order=order)

    def confirm_birth(self, unit: str, chip: Chip, certificate: x509.Certificate, *, order: str | None = None) -> None:
        """Sign and deliver a birth record, as an honest rig does after the proof of possession."""
        rig = x509.load_pem_x509_certificate((self.pki / f"{RIG}.pem").read_bytes())
        key = load_pem_private_key((self.pki / f"{RIG}.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise NoVictim("the rig's key is not an elliptic-curve key")
        record = _birth(unit, chip, certificate, order or self.lab.order, self.now)
        body = sign_birth(record, key, rig).encode()
        _raise_for(self.rig().request("POST", "/v1/births", {"content-type": "application/jose"}, body))

    def as_device(self, certificate: x509.Certificate, signer: Signer) -> ESTClient:
        """Return an EST client that shows a device's certificate, with whatever signs for it."""
        context = client_context((self.pki / "trust.pem").read_bytes())
        use_chip_key(context, der(certificate), signer)
        transport = HTTPTransport(self.lab.ca_url, context)
        self._transports.append(transport)
        return ESTClient(transport.request)

    # --- attempts on the cloud -------------------------------------------------------------------------------------

    def cloud(self, chain: list[bytes], signer: Signer, unit: str) -> None:
        """Publish as `unit` with this certificate and whatever signs."""
        context = client_context((self.pki / "trust.pem").read_bytes())
        use_chip_key(context, chain, signer)
        transport = HTTPTransport(self.lab.cloud_url, context)
        self._transports.append(transport)
        _publish(transport, unit)

    def await_dark(self, chain: list[bytes], signer: Signer, unit: str) -> None:
        """Publish again and again until it is refused; returns when it never is, within DARK_WITHIN_S."""
        ends = time.monotonic() + DARK_WITHIN_S
        while time.monotonic() < ends:
            self.cloud(chain, signer, unit)
            time.sleep(DARK_POLL_S)

    def legacy(self) -> HTTPTransport:
        """Return a connection to the cloud with the SKU key that was extracted from a fielded device."""
        return self._transport(self.lab.cloud_url, self.pki / "legacy-sku.pem", self.pki / "legacy-sku.key")

    def publish_as_legacy(self, unit: str) -> None:
        """Publish as `unit` with the extracted SKU key."""
        _publish(self.legacy(), unit)

    def ask_commands_as_legacy(self, unit: str) -> None:
        """Ask for the commands of `unit` with the extracted SKU key."""
        _raise_for(self.legacy().request("GET", f"/v1/devices/{unit}/commands"))

    def stranger(self) -> HTTPTransport:
        """Return a connection to the CA without a client certificate."""
        transport = HTTPTransport(self.lab.ca_url, client_context((self.pki / "trust.pem").read_bytes()))
        self._transports.append(transport)
        return transport

    def _transport(self, url: str, certificate: Path, key: Path) -> HTTPTransport:
        transport = HTTPTransport(url, client_context((self.pki / "trust.pem").read_bytes(), certificate, key))
        self._transports.append(transport)
        return transport


class OpenChip:
    """A chip that is let go of at the end of the block."""

    def __init__(self, address: str) -> None:
        self._chip: SecureElement = open_chip(address)

    def __enter__(self) -> SecureElement:
        return self._chip

    def __exit__(self, *_: object) -> None:
        self._chip.close()


def signer_of(key: ec.EllipticCurvePrivateKey) -> Signer:
    """Return what signs digests with a software key."""
    return lambda digest: key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))


def der(*certificates: x509.Certificate) -> list[bytes]:
    """Return certificates as a chain of DER."""
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def _publish(transport: HTTPTransport, unit: str) -> None:
    path = f"/v1/devices/{unit}/telemetry"
    _raise_for(transport.request("POST", path, {"content-type": "application/json"}, b"{}"))


def _raise_for(answer: Response) -> None:
    if answer.status not in _OK:
        finding, _, reason = answer.body.decode(errors="replace").partition(": ")
        raise Refused(f"{answer.status} {reason}", finding=finding)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _birth(unit: str, chip: Chip, certificate: x509.Certificate, order: str, at: datetime) -> BirthRecord:
    der_bytes = certificate.public_bytes(Encoding.DER)
    moment = at.isoformat()
    return BirthRecord(
        unit_serial=unit,
        chip_model=chip.model.id,
        chip_serial=chip.serial,
        product=PRODUCT,
        order=order,
        rig=RIG,
        operator="nobody",
        position=1,
        certificate_serial=f"{certificate.serial_number:x}",
        certificate_sha256=fingerprint(der_bytes),
        key_sha256=fingerprint(_spki(certificate)),
        evidence_sha256=fingerprint(read_cmw(certificate)),
        software="attack",
        started=moment,
        finished=moment,
        outcome="PASS",
        step_ms={},
    )
