# SPDX-License-Identifier: Apache-2.0
"""
The unit's certificates and births: of this unit and chip, issued by whom the log names, confirmed by a rig.

The log names the issuing CA by the SHA-256 of its certificate, and the rig by that of its own.
"""

from collections.abc import Iterator
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from birthmark.ca.audit.case import BIRTH, Case, Entry, moment
from birthmark.ca.audit.findings import AuditFinding, Proven, Told
from birthmark.ca.demands import RIG
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.core.birth import BirthRecord, verify_birth
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.pki import names
from birthmark.pki.errors import PathError
from birthmark.pki.paths import Purpose, issued_by, validate_path
from birthmark.pki.reading import UNREADABLE

TOPIC: Final = "certificates"
BIRTHS: Final = "birth"


def check_certificates(case: Case) -> Iterator[Told]:
    """Pass certificates of this unit that the CA of the log's word has issued, and that chain to what is trusted."""
    for entry in case.issued:
        certificate = case.certificate(bundle.CERTIFICATE, entry.row.about)
        name = f"{bundle.CERTIFICATE} {entry.row.certificate}"
        if certificate is None:
            yield AuditFinding("audit.object.unit", name, "it is not there, or cannot be read")
            continue
        yield from _check_names(case, entry, certificate, name)
        yield from _check_issuer(case, entry, certificate, name)


def check_births(case: Case) -> Iterator[Told]:
    """Pass birth records that a rig has signed, and that say what the log and the certificate say."""
    for entry in case.acts(BIRTH):
        name = f"{bundle.BIRTH_RECORD} {entry.row.certificate}"
        content = case.content(bundle.BIRTH_RECORD, entry.row.about)
        rig = case.certificate(bundle.RIG, entry.row.fingerprint)
        if content is None or rig is None:
            yield AuditFinding("audit.birth", name, "the record, or the rig's certificate, is not there")
            continue
        try:
            record = verify_birth(content.decode("ascii", errors="replace"), rig)
        except DecodeError as error:
            yield AuditFinding("audit.signature", name, error.message)
            continue
        yield from _check_path(case, entry, rig, (f"{bundle.RIG} {entry.row.who}", Purpose.RIG))
        yield from _check_birth(case, entry, record, rig)


def spki_of(certificate: x509.Certificate) -> bytes:
    """Return the certificate's key as evidence names it: DER, canonical."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_names(case: Case, entry: Entry, certificate: x509.Certificate, name: str) -> Iterator[Told]:
    try:
        said = {
            "certificate": (f"{certificate.serial_number:x}", entry.row.certificate),
            "unit": (names.unit_serial_of(certificate.subject), case.manifest.unit_serial),
            "chip": (names.read_hardware_module_name(certificate).serial, entry.row.chip_serial),
        }
    except DecodeError as error:
        yield AuditFinding("audit.object.unit", name, error.message)
        return
    for what, (there, wanted) in said.items():
        if there != wanted:
            yield AuditFinding("audit.object.unit", name, f"it is of {what} {there}, the log says {wanted or 'none'}")


def _check_issuer(case: Case, entry: Entry, certificate: x509.Certificate, name: str) -> Iterator[Told]:
    grounds = entry.row.grounds
    if grounds is None:
        yield AuditFinding("audit.grounds", name, f"entry {entry.number} does not say on what it was issued")
        return
    issuer = case.certificate(bundle.AUTHORITY, grounds.issuer)
    if issuer is None or not issued_by(certificate, issuer):
        yield AuditFinding("audit.issuer", name, "it is not issued by the CA that the log names")
        return
    yield from _check_path(case, entry, certificate, (name, _purpose(certificate)))
    yield Proven(TOPIC, f"{entry.row.certificate} issued by {_subject(issuer)} {moment(entry.row.at)}")


def _check_path(case: Case, entry: Entry, leaf: x509.Certificate, about: tuple[str, Purpose]) -> Iterator[Told]:
    name, purpose = about
    trust = case.trust_at(entry.number)
    if trust is None:
        yield AuditFinding("audit.chain", name, "nobody says which CAs were believed then")
        return
    try:
        validate_path(leaf, (), trust, entry.row.at, purpose)
    except (PathError, *UNREADABLE) as error:
        yield AuditFinding("audit.chain", name, getattr(error, "message", str(error)))


def _purpose(certificate: x509.Certificate) -> Purpose:
    """Return what a device's certificate is for; an initial device identity lists nothing at all."""
    listed = any(each.oid == ExtensionOID.EXTENDED_KEY_USAGE for each in certificate.extensions)
    return Purpose.CLIENT if listed else Purpose.IDEVID


def _check_birth(case: Case, entry: Entry, record: BirthRecord, rig: x509.Certificate) -> Iterator[Told]:
    name = f"{bundle.BIRTH_RECORD} {entry.row.certificate}"
    born = next((each for each in case.issued if each.row.certificate == entry.row.certificate), None)
    if born is None or born.number > entry.number:
        yield AuditFinding("audit.birth", name, "it is of a certificate that was not issued to the unit before")
        return
    try:
        claims = tuple(_claims(case, born, record, rig))
    except DecodeError as error:
        yield AuditFinding("audit.birth", name, error.message)
        return
    wrong = [(what, said, known) for what, said, known in claims if said != known]
    for what, said, known in wrong:
        yield AuditFinding("audit.birth", name, f"it says {what} {said}, log and certificate say {known}")
    if not wrong:
        who = f"rig {record.rig}, position {record.position}, operator {record.operator}, {record.software}"
        yield Proven(BIRTHS, f"{entry.row.certificate} confirmed {moment(entry.row.at)}: {who}")


def _claims(case: Case, born: Entry, record: BirthRecord, rig: x509.Certificate) -> Iterator[tuple[str, str, str]]:
    yield "unit", record.unit_serial, case.manifest.unit_serial
    yield "chip", record.chip_serial, born.row.chip_serial
    yield "order", record.order, born.row.order
    yield "certificate", record.certificate_serial, born.row.certificate
    yield "certificate's digest", record.certificate_sha256, born.row.about
    yield "rig", f"{RIG}:{record.rig}", f"{RIG}:{names.common_name_of(rig.subject)}"
    if born.row.grounds is not None:
        yield "chip model", record.chip_model, born.row.grounds.model
        yield "evidence", record.evidence_sha256, born.row.grounds.evidence
    certificate = case.certificate(bundle.CERTIFICATE, born.row.about)
    if certificate is not None:
        yield "key", record.key_sha256, fingerprint(spki_of(certificate))


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
