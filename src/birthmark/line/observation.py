# SPDX-License-Identifier: Apache-2.0
"""
Observe before acting: what a chip holds decides what the line does with its board.

| chip | certificate | CA | plan |
|---|---|---|---|
| EMPTY | - | - | PERSONALISE |
| KEYED | - | - | RESUME, with the key that is there |
| CERTIFIED | good, of this key, unit and chip | issued, not confirmed | FINISH: prove and record |
| CERTIFIED | as above | confirmed, or our own birth record is on disk | VERIFY: prove only |
| CERTIFIED | anything else | anything else | quarantine (`Contradiction`) |

`look` reads the chip and changes nothing. `decide` is pure.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.core.ids import fingerprint
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.ear import NO_SIGNERS, ResultSigners, stated_evidence
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.result import appraise_result
from birthmark.evidence.verdict import require
from birthmark.line.errors import Contradiction
from birthmark.line.ports import CertificateState
from birthmark.pki.cmw import Record, read_cmw_record
from birthmark.pki.errors import PathError
from birthmark.pki.names import unit_serial_of
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.silicon.port import ChipIdentity, SecureElement, SlotState


class Plan(Enum):
    """What to do with the board."""

    PERSONALISE = "personalise"
    RESUME = "resume"
    FINISH = "finish"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the chip holds in the slot that is in use. Key and certificate are DER, empty where there is none."""

    chip: ChipIdentity
    slot: str
    state: SlotState
    spki: bytes = b""
    certificate: bytes = b""

    @property
    def certificate_sha256(self) -> str:
        """Return the fingerprint under which the CA knows the certificate."""
        return fingerprint(self.certificate)


@dataclass(frozen=True, slots=True)
class Known:
    """What others know of the certificate: the CA, and this rig's own store."""

    by_ca: CertificateState | None
    born_here: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What a certificate on this line is measured by."""

    trust: TrustAnchors
    issuing: tuple[x509.Certificate, ...]
    endorsements: Endorsements
    result_signers: ResultSigners = NO_SIGNERS


def look(chip: SecureElement) -> Seen:
    """Read what the chip holds, and change nothing. Raises ChipError."""
    identity = chip.identity()
    slot = chip.active_slot()
    state = chip.state(slot)
    if state is SlotState.EMPTY:
        return Seen(identity, slot, state)
    spki = chip.public_key(slot)
    if state is SlotState.KEYED:
        return Seen(identity, slot, state, spki)
    return Seen(identity, slot, state, spki, chip.get_certificate(slot) or b"")


def decide(seen: Seen, known: Known, unit: str, rules: Rules, at: datetime) -> Plan:
    """
    Return what to do with a board whose label says `unit`.

    1. The chip holds no certificate: personalise, or resume with its key.
    2. The certificate is this key's and this unit's, and our issuing CA signed it (`check_certificate`).
    3. The evidence in it appraises, for this key.
    4. The evidence is of this very chip.
    5. The CA knows it, for the same unit and chip.
    6. The CA holds it alive: confirmed, or issued and waiting for its birth record.

    Raises:
        Contradiction: 2 to 6 do not hold; nothing may be written to this chip.

    """
    if seen.state is SlotState.EMPTY:  # 1
        return Plan.PERSONALISE
    if seen.state is SlotState.KEYED:
        return Plan.RESUME
    certificate = read_certificate(seen.certificate)  # 2
    check_certificate(certificate, seen.spki, unit, rules, at)
    _check_evidence(certificate, seen, rules, at)  # 3, 4
    return _by_ca(known, unit, seen.chip.serial)  # 5, 6


def read_certificate(der: bytes) -> x509.Certificate:
    """Return the certificate that a chip holds. Raises Contradiction: `line.certificate.malformed`."""
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise Contradiction(f"the certificate cannot be read: {error}", finding="line.certificate.malformed") from error


def check_certificate(certificate: x509.Certificate, spki: bytes, unit: str, rules: Rules, at: datetime) -> None:
    """
    Check that the certificate is for this key and unit and under our issuing CA at this moment.

    Raises:
        Contradiction: `line.certificate.malformed`, `.key`, `.unit`, `.issuer`, or the id of the path's fault.

    """
    try:
        holder = unit_serial_of(certificate.subject)
    except DecodeError as error:
        raise Contradiction(
            f"the certificate names no unit: {error.message}", finding="line.certificate.malformed"
        ) from error
    if spki_of(certificate) != spki:
        raise Contradiction("the certificate is for another key", finding="line.certificate.key")
    if holder != unit:
        raise Contradiction(
            f"the label says {unit}, the certificate {holder}",
            hint="was the board relabelled, or the panel scanned in the wrong order?",
            finding="line.certificate.unit",
        )
    _check_issuer(certificate, rules, at)


def spki_of(certificate: x509.Certificate) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a certificate's key, in the form in which chips give theirs."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_issuer(certificate: x509.Certificate, rules: Rules, at: datetime) -> None:
    try:
        path = validate_path(certificate, rules.issuing, rules.trust, at, _purpose(certificate))
    except PathError as error:
        raise Contradiction(error.message, hint=error.hint, finding=error.finding) from error
    if not any(issuer in rules.issuing for issuer in path[1:2]):
        raise Contradiction("the certificate is not from our issuing CA", finding="line.certificate.issuer")


def _purpose(certificate: x509.Certificate) -> Purpose:
    """Return what the profile has made of it: which one it is, is the CA's choice, and the CA signed it."""
    listed = any(each.oid == ExtensionOID.EXTENDED_KEY_USAGE for each in certificate.extensions)
    return Purpose.CLIENT if listed else Purpose.IDEVID


def evidence_digest(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the evidence that a certificate carries, or that the result in it is about."""
    record, value = read_cmw_record(certificate)
    return stated_evidence(value) if record is Record.RESULT else fingerprint(value)


def _check_evidence(certificate: x509.Certificate, seen: Seen, rules: Rules, at: datetime) -> None:
    try:
        record, value = read_cmw_record(certificate)
        if record is Record.RESULT:
            verdict = appraise_result(value, seen.spki, rules.result_signers, rules.endorsements, at)
        else:
            verdict = appraise(value, seen.spki, rules.endorsements, at)
        attested = require(verdict)
    except BirthmarkError as error:
        raise Contradiction(f"evidence: {error.message}", hint=error.hint, finding=error.finding) from error
    if attested.chip.serial != seen.chip.serial:
        raise Contradiction(
            f"the evidence is of chip {attested.chip.serial}, this is {seen.chip.serial}",
            finding="line.certificate.chip",
        )


def _by_ca(known: Known, unit: str, chip_serial: str) -> Plan:
    state = known.by_ca
    if state is None:
        raise Contradiction("the CA does not know this certificate", finding="line.certificate.unknown")
    if (state.unit_serial, state.chip_serial) != (unit, chip_serial):
        raise Contradiction(
            f"the CA issued it for unit {state.unit_serial} with chip {state.chip_serial}",
            finding="line.certificate.registered",
        )
    if state.state == "confirmed":
        return Plan.VERIFY
    if state.state != "issued":
        raise Contradiction(f"the CA says that the certificate is {state.state}", finding="line.certificate.dead")
    return Plan.VERIFY if known.born_here else Plan.FINISH
