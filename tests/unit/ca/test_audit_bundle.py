# SPDX-License-Identifier: Apache-2.0
"""Audit bundles: an outsider learns everything about a unit, and nothing can be altered or left out."""

import random
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.audit import bundle
from birthmark.ca.audit.bundle import AuditObject
from birthmark.ca.audit.errors import AuditRefused
from birthmark.ca.audit.making import Auditing, Surroundings
from birthmark.ca.audit.verifying import Verified, verify_audit_bundle
from birthmark.ca.errors import Refused
from birthmark.ca.orders.acts import CREATE
from birthmark.ca.transparency.log import Log
from birthmark.ca.transparency.policy_log import announce_policy
from birthmark.core.audit import AuditRow
from birthmark.core.birth import sign_birth
from birthmark.core.errors import BirthmarkError
from birthmark.core.ids import fingerprint
from birthmark.core.roles import Role
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import make_officer
from birthmark.pki.keys import software
from birthmark.pki.paths import TrustAnchors
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.forge import new_key
from birthmark.testing.orders import terms_of
from birthmark.tlog.bundle import ProofBundle, decode_bundle, encode_bundle
from birthmark.tlog.keys import NotePrivateKey, Signer
from support.ca_parts import AUTHORITY, ORDER, UNIT, CAParts, birth_record, order, renewed
from support.officers import Person


@dataclass
class Audited:
    parts: CAParts
    auditing: Auditing

    @property
    def trust(self) -> TrustAnchors:
        return TrustAnchors((self.parts.forge.root.certificate,))

    def made(self, serial: str = UNIT) -> bytes:
        return self.auditing.bundle(serial, "auditor:Ada")

    def verified(self, data: bytes) -> Verified:
        return verify_audit_bundle(data, self.auditing.log._keys, self.trust)


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    parts = CAParts(SQLiteCAStore(tmp_path / "ca.sqlite"))
    announce_policy(parts.store, "ab" * 32, {"endorsements.toml": b"[[maker]]"}, parts.clock)
    key = software.generate(KeyAlgorithm.ED25519)
    assert isinstance(key, NotePrivateKey)
    chain = (parts.forge.issuing.certificate, parts.forge.root.certificate)
    around = Surroundings(chain, (parts.operations.certificate,), "birthmark test")
    board = parts.board()
    certificate = parts.confirmed(board)
    parts.confirmed(parts.board("BM-000002"))
    renewed(parts, board, certificate, new_key())
    return Audited(parts, Auditing(parts.store, Log(parts.store, Signer(AUTHORITY, key)), around, parts.clock))


def test_a_bundle_tells_an_outsider_everything_about_a_unit(audited: Audited) -> None:
    found = audited.verified(audited.made())
    assert [row.act for _, row in found.rows] == ["enrol", "birth", "end", "unit.activate", "renew", "audit.bundle"]
    assert {row.unit_serial for _, row in found.rows} == {UNIT}
    assert len(list(found.objects(bundle.CERTIFICATE))) == 2
    assert len(list(found.objects(bundle.BIRTH_RECORD))) == 1
    assert len(list(found.objects(bundle.RIG_CERTIFICATE))) == 1
    assert len(list(found.objects(bundle.ORDER_DOCUMENT))) == 1
    assert len(list(found.objects(bundle.ORDER_RULING))) == 1
    assert len(list(found.objects(bundle.OFFICER_CERTIFICATE))) == 2
    assert found.manifest.policies == ("ab" * 32,)


def test_a_unit_is_found_by_the_serial_of_its_certificate(audited: Audited) -> None:
    serial = next(audited.parts.administration.certificates())["serial"]
    assert audited.verified(audited.made(serial)).unit_serial == UNIT
    with pytest.raises(Refused):
        audited.made("BM-999999")


def test_the_making_of_a_bundle_is_an_entry_that_the_next_one_shows(audited: Audited) -> None:
    audited.made()
    acts = [row.act for _, row in audited.verified(audited.made()).rows]
    assert acts[-2:] == ["audit.bundle", "audit.bundle"]


def test_refused_attempts_are_in_the_bundle(audited: Audited) -> None:
    with pytest.raises(Refused):
        audited.parts.enrol(audited.parts.board().csr(bytes(32)))
    refused = [row for _, row in audited.verified(audited.made()).rows if row.finding]
    assert [row.act for row in refused] == ["enrol"]


def test_one_altered_byte_anywhere_is_detected(audited: Audited) -> None:
    data = audited.made()
    audited.verified(data)
    places = random.Random(11).sample(range(len(data)), 400)  # noqa: S311 the same places every time
    for place in places:
        altered = bytearray(data)
        altered[place] ^= 1 << (place % 8)
        with pytest.raises(BirthmarkError):
            audited.verified(bytes(altered))


def test_a_bundle_without_one_of_its_entries_is_refused(audited: Audited) -> None:
    told, manifest, proofs = bundle.decode_bundle(audited.made())
    whole = decode_bundle(proofs)
    for number in range(len(whole.entries)):
        less = ProofBundle(whole.entries[:number] + whole.entries[number + 1 :], whole.checkpoint)
        with pytest.raises(AuditRefused):
            audited.verified(bundle.encode_bundle(told, encode_bundle(less)))
    assert manifest.unit_serial == UNIT


def test_a_bundle_without_one_of_its_objects_is_refused(audited: Audited) -> None:
    _, manifest, proofs = bundle.decode_bundle(audited.made())
    for number in range(len(manifest.objects)):
        objects = manifest.objects[:number] + manifest.objects[number + 1 :]
        told = bundle.encode_manifest(msgspec.structs.replace(manifest, objects=objects))
        with pytest.raises(AuditRefused):
            audited.verified(bundle.encode_bundle(told, proofs))


def test_an_authority_that_leaves_out_a_certificate_when_it_makes_the_bundle_is_found_out(audited: Audited) -> None:
    _, manifest, _ = bundle.decode_bundle(audited.made())
    objects = tuple(each for each in manifest.objects if each.kind != bundle.CERTIFICATE)
    told = bundle.encode_manifest(msgspec.structs.replace(manifest, objects=objects))
    row = AuditRow(at=manifest.made_at, who="liar", act="audit.bundle", unit_serial=UNIT, about=fingerprint(told))
    with audited.parts.store.writing() as ledger:
        ledger.append([row])
    audited.auditing.log.publish()
    with audited.parts.store.reading() as ledger:
        numbers = [number for number, _ in ledger.entries_of_unit(UNIT)]
        numbers += [policy.entry for policy in ledger.policies()]
    with pytest.raises(AuditRefused, match="certificate is missing"):
        audited.verified(bundle.encode_bundle(told, audited.auditing.log.prove(numbers)))


def lied(audited: Audited, objects: list[AuditObject], *rows: AuditRow) -> bytes:
    """Return a bundle of a lying authority: its log commits to whatever it likes."""
    _, manifest, _ = bundle.decode_bundle(audited.made())
    told = bundle.encode_manifest(msgspec.structs.replace(manifest, objects=tuple(objects)))
    made = AuditRow(at=manifest.made_at, who="liar", act="audit.bundle", unit_serial=UNIT, about=fingerprint(told))
    with audited.parts.store.writing() as ledger:
        ledger.append([*rows, made])
    audited.auditing.log.publish()
    with audited.parts.store.reading() as ledger:
        numbers = [number for number, _ in ledger.entries_of_unit(UNIT)]
        numbers += [policy.entry for policy in ledger.policies()]
    return bundle.encode_bundle(told, audited.auditing.log.prove(numbers))


def filed(kind: str, of: str, content: bytes) -> AuditObject:
    return AuditObject(kind=kind, of=of, sha256=fingerprint(content), content=content)


def true_objects(audited: Audited) -> list[AuditObject]:
    return list(bundle.decode_bundle(audited.made())[1].objects)


def test_what_a_lying_authority_makes_is_taken_when_it_does_not_lie(audited: Audited) -> None:
    assert audited.verified(lied(audited, true_objects(audited))).unit_serial == UNIT


@pytest.mark.parametrize(
    ("kind", "finding"),
    [(bundle.ISSUING_CHAIN, "audit.signature"), (bundle.RIG_CERTIFICATE, "audit.chain")],
)
def test_a_birth_record_is_signed_by_a_rig_and_by_nobody_else_whom_a_ca_has_certified(
    audited: Audited, kind: str, finding: str
) -> None:
    objects = true_objects(audited)
    board, key = audited.parts.board(), new_key()
    certificate = next(each for each in objects if each.kind == bundle.CERTIFICATE)
    insider = make_officer(audited.parts.operations, "rig-a", Role.LINE_LEAD, key.public_key(), audited.parts.clock())
    born = x509.load_der_x509_certificate(certificate.content)
    token = sign_birth(birth_record(board, born, rig="rig-a"), key, insider).encode()
    forged = [filed(bundle.BIRTH_RECORD, certificate.of, token), filed(kind, certificate.of, der_of(insider))]
    row = AuditRow(
        at=audited.parts.clock(),
        who="rig:rig-a",
        act="birth",
        unit_serial=UNIT,
        certificate=certificate.of,
        about=fingerprint(token),
    )
    with pytest.raises(AuditRefused) as refused:
        audited.verified(lied(audited, [*objects, *forged], row))
    assert refused.value.finding == finding


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def test_the_certificate_of_another_unit_is_none_of_this_one(audited: Audited) -> None:
    with audited.parts.store.reading() as ledger:
        (other,) = ledger.issuances_of_unit("BM-000002")
    assert other.certificate is not None
    row = AuditRow(
        at=other.intended_at,
        who="rig:rig-a",
        act="enrol",
        order=ORDER,
        unit_serial=UNIT,
        certificate=other.serial,
        about=fingerprint(other.certificate),
    )
    foreign = filed(bundle.CERTIFICATE, other.serial, other.certificate)
    with pytest.raises(AuditRefused) as refused:
        audited.verified(lied(audited, [*true_objects(audited), foreign], row))
    assert refused.value.finding == "audit.object.unit"


@pytest.mark.parametrize("missing", [bundle.ORDER_DOCUMENT, bundle.ORDER_RULING])
def test_a_unit_of_an_order_that_two_persons_have_not_signed_is_found_out(audited: Audited, missing: str) -> None:
    objects = [each for each in true_objects(audited) if each.kind != missing]
    with pytest.raises(AuditRefused) as refused:
        audited.verified(lied(audited, objects))
    assert refused.value.finding == "audit.order"


def test_one_person_with_two_certificates_is_no_two_persons(audited: Audited) -> None:
    objects = [each for each in true_objects(audited) if each.kind != bundle.ORDER_RULING]
    document = next(each for each in objects if each.kind == bundle.ORDER_DOCUMENT)
    again = Person.hired(audited.parts.operations, "OLGA  Officer", Role.APPROVER, audited.parts.clock())
    ruling = again.ruling(document.content.decode(), "order.create").encode()
    objects += [
        filed(bundle.ORDER_RULING, ORDER, ruling),
        filed(bundle.OFFICER_CERTIFICATE, ORDER, der_of(again.certificate)),
    ]
    with pytest.raises(AuditRefused) as refused:
        audited.verified(lied(audited, objects))
    assert refused.value.finding == "audit.order"


@pytest.mark.parametrize("foreign", [bundle.ORDER_DOCUMENT, bundle.ORDER_RULING])
def test_an_order_that_two_persons_have_signed_for_another_authority_is_found_out(
    audited: Audited, foreign: str
) -> None:
    parts, twin = audited.parts, f"{AUTHORITY}-staging"
    of_order = {bundle.ORDER_DOCUMENT, bundle.ORDER_RULING, bundle.OFFICER_CERTIFICATE}
    objects = [each for each in true_objects(audited) if each.kind not in of_order]
    officer = Person.hired(parts.operations, "Olga", Role.SECURITY_OFFICER, parts.clock())
    approver = Person.hired(parts.operations, "Anton", Role.APPROVER, parts.clock())
    said = {kind: twin if kind == foreign else AUTHORITY for kind in of_order}
    document = officer.proposal(CREATE, ORDER, terms_of(order()), authority=said[bundle.ORDER_DOCUMENT])
    ruling = approver.ruling(document, CREATE, authority=said[bundle.ORDER_RULING])
    objects += [
        filed(bundle.ORDER_DOCUMENT, ORDER, document.encode()),
        filed(bundle.ORDER_RULING, ORDER, ruling.encode()),
        *(filed(bundle.OFFICER_CERTIFICATE, ORDER, der_of(each.certificate)) for each in (officer, approver)),
    ]
    with pytest.raises(AuditRefused) as refused:
        audited.verified(lied(audited, objects))
    assert refused.value.finding == "audit.authority"


def test_the_bundle_of_another_log_is_refused(audited: Audited) -> None:
    key = software.generate(KeyAlgorithm.ED25519)
    assert isinstance(key, NotePrivateKey)
    with pytest.raises(BirthmarkError):
        verify_audit_bundle(audited.made(), [Signer(AUTHORITY, key).verifier])


def test_a_policy_is_announced_once_and_its_texts_stay(audited: Audited) -> None:
    store, clock = audited.parts.store, audited.parts.clock
    texts = {"endorsements.toml": b"[[model]]", "roots.pem": b"pem"}
    assert not announce_policy(store, "ab" * 32, texts, clock)
    assert announce_policy(store, "cd" * 32, texts, clock)
    with store.reading() as ledger:
        latest = ledger.policies()[-1]
        assert ledger.kept(list(latest.files.values())) == {fingerprint(text): text for text in texts.values()}
    assert audited.parts.last_audit()["act"] == "policy.in-force"
