# SPDX-License-Identifier: Apache-2.0
"""
The objects of an audit bundle held against each other: signed by whom they must be, and about this unit and its orders.

A signature alone says little: who holds the issuing key can certify any key, and could sign a birth record or an order
with it. So a birth record counts under a rig's certificate and an order's documents under officers', and under the
trust anchors (`demand_chains`) each of them must have the rights of its kind.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from birthmark.ca.audit import bundle
from birthmark.ca.audit.bundle import AuditObject, Manifest
from birthmark.ca.audit.errors import AuditRefused
from birthmark.ca.demands import Client
from birthmark.ca.errors import Refused
from birthmark.ca.people.approvals import APPROVERS, SECURITY_OFFICERS
from birthmark.ca.people.roles import demand_another_person, demand_officer, demand_one_of, officer_of
from birthmark.core import jws
from birthmark.core.audit import AuditRow
from birthmark.core.birth import verify_birth
from birthmark.core.errors import DecodeError
from birthmark.core.proposals import PROPOSAL_TYP, RULING_TYP, demand_authority, read_document, read_ruling
from birthmark.pki import names
from birthmark.pki.errors import PathError
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.pki.reading import UNREADABLE

ISSUING: Final = frozenset({"enrol", "renew"})
_FIRST: Final = "enrol"
_SIGNERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        bundle.BIRTH_RECORD: bundle.RIG_CERTIFICATE,
        bundle.ORDER_DOCUMENT: bundle.OFFICER_CERTIFICATE,
        bundle.ORDER_RULING: bundle.OFFICER_CERTIFICATE,
    }
)
"""What kind of certificate each kind of document is signed with."""
_ABOVE: Final[Mapping[str, str]] = MappingProxyType(
    {
        bundle.CERTIFICATE: bundle.ISSUING_CHAIN,
        bundle.RIG_CERTIFICATE: bundle.OPERATIONS_CHAIN,
        bundle.OFFICER_CERTIFICATE: bundle.OPERATIONS_CHAIN,
    }
)


# --- what is signed --------------------------------------------------------------------------------------------


def demand_documents(manifest: Manifest, rows: Sequence[AuditRow], authority: str) -> Iterator[str]:
    """
    Pass certificates of this unit, and documents that their signers have signed; yield what was found, one by one.

    `authority` is the origin of the log: what persons have signed must be for it.

    Raises:
        AuditRefused: audit.object.unit, audit.signature, audit.authority, audit.order.

    """
    for each in manifest.objects:
        if each.kind == bundle.CERTIFICATE:
            _demand_certificate(each, manifest.unit_serial)
    for each in manifest.objects:
        if each.kind in _SIGNERS:
            signer = _signer(each, manifest)
            _demand_signed(each, signer, manifest, authority)
            yield f"the {each.kind} of {each.of} is signed by {signer.subject.rfc4514_string()}"
    for order in dict.fromkeys(row.order for row in rows if row.act == _FIRST and row.about and not row.finding):
        _demand_two_persons(order, manifest)
        yield f"two persons have signed the order {order}"


def _demand_certificate(each: AuditObject, unit_serial: str) -> None:
    try:
        certificate = x509.load_der_x509_certificate(each.content)
        said = f"{certificate.serial_number:x}", names.unit_serial_of(certificate.subject)
    except (DecodeError, *UNREADABLE) as error:
        raise AuditRefused(f"the certificate {each.of} cannot be read: {error}", finding="audit.object.unit") from error
    if said != (each.of, unit_serial):
        told = f"the certificate {each.of} is the certificate {said[0]} of unit {said[1]}"
        raise AuditRefused(told, finding="audit.object.unit")


def _signer(each: AuditObject, manifest: Manifest) -> x509.Certificate:
    """Return the certificate that a document names as its signer's, of the kind that may sign it."""
    kind = _SIGNERS[each.kind]
    try:
        digest = jws.signer_sha256(jws.read(_text(each)))
        held = {other.sha256: other for other in manifest.objects if (other.kind, other.of) == (kind, each.of)}
        return x509.load_der_x509_certificate(held[digest].content)
    except (DecodeError, KeyError, *UNREADABLE) as error:
        told = f"the {each.kind} {each.of} is not signed with a {kind} of the bundle: {error}"
        raise AuditRefused(told, finding="audit.signature") from error


def _demand_signed(each: AuditObject, signer: x509.Certificate, manifest: Manifest, authority: str) -> None:
    try:
        match each.kind:
            case bundle.BIRTH_RECORD:
                _demand_birth(each, signer, manifest)
            case bundle.ORDER_DOCUMENT:
                document = read_document(jws.verify(_text(each), PROPOSAL_TYP, signer))
                demand_authority(document, authority)
                _demand_same(each, "of the order", document.subject, each.of)
                demand_one_of(officer_of(signer), SECURITY_OFFICERS)
            case bundle.ORDER_RULING:
                ruling = read_ruling(jws.verify(_text(each), RULING_TYP, signer))
                demand_authority(ruling, authority)
                _demand_same(each, "ruled", ruling.ruling, "approved")
                demand_one_of(officer_of(signer), APPROVERS)
    except (DecodeError, Refused) as error:
        finding = "audit.authority" if error.finding == "proposal.authority" else "audit.signature"
        raise AuditRefused(f"the {each.kind} {each.of}: {error.message}", finding=finding) from error


def _demand_birth(each: AuditObject, signer: x509.Certificate, manifest: Manifest) -> None:
    record = verify_birth(_text(each), signer)
    born = {other.sha256 for other in manifest.objects if (other.kind, other.of) == (bundle.CERTIFICATE, each.of)}
    _demand_same(each, "of certificate", record.certificate_serial, each.of)
    _demand_same(each, "of unit", record.unit_serial, manifest.unit_serial)
    _demand_same(each, "of rig", record.rig, names.common_name_of(signer.subject))
    if record.certificate_sha256 not in born:
        raise DecodeError(f"it is of a certificate with the digest {record.certificate_sha256}")


def _demand_same(each: AuditObject, what: str, said: str, wanted: str) -> None:
    if said != wanted:
        raise DecodeError(f"the {each.kind} is {what} {said}, not {wanted}")


def _demand_two_persons(order: str, manifest: Manifest) -> None:
    """Pass an order whose document one person has signed, and another one a ruling on that very document."""
    found = [
        [each for each in manifest.objects if (each.kind, each.of) == (kind, order)]
        for kind in (bundle.ORDER_DOCUMENT, bundle.ORDER_RULING)
    ]
    try:
        (document,), (ruling,) = found
    except ValueError as error:
        told = f"{len(found[0])} documents and {len(found[1])} rulings of the order {order}, under which it was issued"
        raise AuditRefused(told, finding="audit.order") from error
    if read_ruling(jws.read(_text(ruling)).payload).proposal != document.sha256:
        raise AuditRefused(f"the ruling on the order {order} is on another document", finding="audit.order")
    try:
        demand_another_person(officer_of(_signer(ruling, manifest)), _signer(document, manifest))
    except Refused as error:
        raise AuditRefused(f"the order {order}: {error.message}", finding="audit.order") from error


def _text(each: AuditObject) -> str:
    return each.content.decode("ascii", errors="replace")


# --- whose certificates they are -------------------------------------------------------------------------------


def demand_chains(manifest: Manifest, rows: Sequence[AuditRow], trust: TrustAnchors) -> Iterator[str]:
    """
    Validate each certificate when it was issued, a rig's when its birth record was taken; yield what was found.

    An officer's is judged as of its first moment: the log's entry of the approval is not in the bundle.

    Raises:
        AuditRefused: audit.chain.

    """
    granted = [row for row in rows if not row.finding]
    moments = {row.about: row.at for row in granted if row.act in ISSUING}
    moments |= {row.certificate: row.at for row in granted if row.act == "birth"}
    for each in manifest.objects:
        if each.kind not in _ABOVE:
            continue
        at = moments.get(each.of if each.kind == bundle.RIG_CERTIFICATE else each.sha256)
        try:
            anchor = _anchor(each, _above(manifest, _ABOVE[each.kind]), trust, at)
        except (PathError, Refused, *UNREADABLE) as error:
            raise AuditRefused(f"the {each.kind} {each.of}: {error}", finding="audit.chain") from error
        yield f"the {each.kind} of {each.of} chains to {anchor.subject.rfc4514_string()}"


def _anchor(
    each: AuditObject, above: Sequence[x509.Certificate], trust: TrustAnchors, at: datetime | None
) -> x509.Certificate:
    certificate = x509.load_der_x509_certificate(each.content)
    moment = at or certificate.not_valid_before_utc
    if each.kind == bundle.OFFICER_CERTIFICATE:
        demand_officer(Client(certificate, tuple(above)), trust, moment)
    return validate_path(certificate, above, trust, moment, _purpose(each.kind, certificate))[-1]


def _purpose(kind: str, certificate: x509.Certificate) -> Purpose:
    """Return what a certificate of this kind must be for; an initial device identity lists nothing at all."""
    if kind == bundle.RIG_CERTIFICATE:
        return Purpose.RIG
    listed = any(each.oid == ExtensionOID.EXTENDED_KEY_USAGE for each in certificate.extensions)
    return Purpose.CLIENT if listed or kind != bundle.CERTIFICATE else Purpose.IDEVID


def _above(manifest: Manifest, kind: str) -> list[x509.Certificate]:
    found = [x509.load_der_x509_certificate(each.content) for each in manifest.objects if each.kind == kind]
    return [each for each in found if each.subject != each.issuer]
