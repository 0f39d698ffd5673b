# SPDX-License-Identifier: Apache-2.0
"""What an authority cannot lie about, although it holds every key and its log commits to what it likes."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from msgspec import structs

from birthmark.ca.audit.case import Given
from birthmark.ca.audit.certificates import spki_of
from birthmark.ca.audit.findings import Judgement
from birthmark.ca.orders.acts import CLOSE, CREATE, EXTEND, CloseTerms
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.ca.transparency.bundle_format import AuditObject
from birthmark.ca.transparency.in_force import announce_policy
from birthmark.ca.transparency.trust_log import announce_trust
from birthmark.core.audit import AuditRow, decode_row
from birthmark.core.birth import sign_birth
from birthmark.core.ids import fingerprint
from birthmark.core.roles import Role
from birthmark.pki.authorities import make_officer, make_root, make_sub_ca
from birthmark.pki.paths import TrustAnchors
from birthmark.testing.forge import Forge, new_key
from birthmark.testing.orders import terms_of
from birthmark.tlog.bundle import ProofBundle, decode_bundle, encode_bundle
from support.audited import OTHER_ORDER, OTHER_UNIT, PRIVATE_UNIT, Audited, der_of, filed, ids, with_objects
from support.ca_parts import AUTHORITY, NOW, ORDER, UNIT, birth_record, order
from support.officers import Person


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    return Audited.at(tmp_path)


def rows_of(audited: Audited, unit: str = UNIT) -> list[AuditRow]:
    with audited.parts.store.reading() as ledger:
        return [decode_row(entry) for _, entry in ledger.entries_of_unit(unit)]


def true_row(audited: Audited, act: str, unit: str = UNIT) -> AuditRow:
    return next(row for row in rows_of(audited, unit) if row.act == act)


def lied(audited: Audited, *objects: AuditObject, unit: str = UNIT) -> Judgement:
    """Judge a bundle of everything that there is about a unit, and of what the liar files beside it."""
    manifest = audited.manifest(unit, evidence=True)
    return audited.judged(audited.lied(with_objects(manifest, dict.fromkeys((*manifest.objects, *objects)))))


def claims(row: AuditRow, **changes: Any) -> AuditRow:
    """Return a row that says the same but for some members; those of its grounds are named with grounds_ before."""
    inside = {name.removeprefix("grounds_"): value for name, value in changes.items() if name.startswith("grounds_")}
    beside = {name: value for name, value in changes.items() if not name.startswith("grounds_")}
    assert row.grounds is not None
    return structs.replace(row, grounds=structs.replace(row.grounds, **inside), previous="", **beside)


def test_what_a_lying_authority_makes_is_taken_when_it_does_not_lie(audited: Audited) -> None:
    assert lied(audited).findings == ()


# --- what was issued -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"grounds_firmware": "9.9"}, "audit.evidence.differs"),
        ({"grounds_maker": "Jones"}, "audit.evidence.differs"),
        ({"grounds_model": "swtpm"}, "audit.evidence.differs"),
        ({"grounds_statement": "1.2.3"}, "audit.evidence.differs"),
        ({"grounds_ak": "00" * 32}, "audit.evidence.differs"),
        ({"grounds_evidence": "00" * 32}, "audit.evidence.differs"),
        ({"chip_serial": "0102030405060708"}, "audit.evidence.differs"),
        ({"chip_serial": "0102030405060709"}, "audit.object.unit"),
        ({"grounds_policy": "00" * 32}, "audit.policy"),
        ({"grounds_profile": "device-p384"}, "audit.order.terms"),
        ({"grounds_document": "00" * 32}, "audit.order"),
        ({"grounds_document": ""}, "audit.order"),
        ({"who": "rig:rig-z"}, "audit.order.terms"),
        ({"who": "machine:rig-a"}, "audit.order.terms"),
        ({"at": NOW + timedelta(days=31)}, "audit.order.terms"),
        ({"at": NOW + timedelta(days=3650)}, "audit.chain"),
        ({"order": OTHER_ORDER}, "audit.order"),
    ],
)
def test_an_issuance_that_the_log_tells_otherwise_than_it_was_is_found_out(
    audited: Audited, changes: dict[str, Any], finding: str
) -> None:
    audited.append(claims(true_row(audited, "enrol"), **changes))
    assert finding in ids(lied(audited))


def test_an_issuance_without_grounds_is_found_out(audited: Audited) -> None:
    audited.append(structs.replace(true_row(audited, "enrol"), grounds=None, previous=""))
    assert "audit.grounds" in ids(lied(audited))


def test_the_certificate_of_another_unit_is_none_of_this_one(audited: Audited) -> None:
    theirs = true_row(audited, "enrol", OTHER_UNIT)
    audited.append(structs.replace(theirs, unit_serial=UNIT, previous=""))
    with audited.parts.store.reading() as ledger:
        (other,) = ledger.issuances_of_unit(OTHER_UNIT)
    assert other.certificate is not None
    assert "audit.object.unit" in ids(lied(audited, filed(bundle.CERTIFICATE, other.serial, other.certificate)))


def test_a_certificate_of_another_ca_than_the_log_names_is_found_out(audited: Audited) -> None:
    root = audited.parts.forge.root.certificate
    audited.append(claims(true_row(audited, "enrol"), grounds_issuer=fingerprint(der_of(root))))
    assert "audit.issuer" in ids(lied(audited))


# --- under which policy, with which evidence -------------------------------------------------------------------


def test_a_certificate_that_was_issued_under_the_policy_of_yesterday_is_found_out(audited: Audited) -> None:
    today = audited.parts.forge.endorsements(denied_aks=("ab" * 32,))
    announce_policy(audited.parts.store, today.canonical, audited.parts.texts(), audited.parts.clock)
    audited.parts.clock.forward(minutes=15)
    audited.born("BM-000006", OTHER_ORDER, "rig-a")  # by a worker that makes room for another one
    judged = lied(audited, unit="BM-000006")
    assert judged.findings == ()
    assert "900 s after" in next(each.text for each in judged.proven if each.topic == "policy")
    audited.parts.clock.forward(seconds=1)
    audited.born("BM-000007", OTHER_ORDER, "rig-a")  # by a worker that was not started again
    assert "audit.policy" in ids(lied(audited, unit="BM-000007"))
    audited.parts.policy = replace(audited.parts.policy, endorsements=today)
    audited.parts.serve()
    audited.born("BM-000008", OTHER_ORDER, "rig-a")
    assert lied(audited, unit="BM-000008").findings == ()


def test_evidence_that_the_policy_of_then_refuses_is_found_out(audited: Audited) -> None:
    today = audited.parts.forge.endorsements(withdrawn=NOW - timedelta(days=1))
    announce_policy(audited.parts.store, today.canonical, audited.parts.texts(), audited.parts.clock)
    audited.append(claims(true_row(audited, "enrol"), grounds_policy=today.digest))
    judged = lied(audited)
    (found,) = {each.detail for each in judged.findings if each.id == "audit.evidence"}
    assert found.startswith("evidence.model.withdrawn")


def test_evidence_that_was_kept_is_appraised_like_any_other(audited: Audited) -> None:
    lines = [each for each in lied(audited, unit=PRIVATE_UNIT).proven if each.topic == "evidence"]
    assert len(lines) == 2  # what both of them say, and the root that the evidence is under
    audited.append(claims(true_row(audited, "enrol", PRIVATE_UNIT), grounds_firmware="9.9"))
    assert "audit.evidence.differs" in ids(lied(audited, unit=PRIVATE_UNIT))


def test_evidence_under_a_root_that_the_auditor_does_not_know_is_found_out(audited: Audited) -> None:
    stranger = replace(audited.given, chip_roots=frozenset({"00" * 32}))
    for evidence in (True, False):
        assert ids(audited.judged(audited.made(UNIT, evidence=evidence), stranger)) == {"audit.evidence.root"}


def test_certificates_persons_and_rigs_under_another_root_are_found_out(audited: Audited) -> None:
    elsewhere = Forge.at(NOW).root.certificate
    judged = audited.judged(audited.made(), Given(TrustAnchors((elsewhere,))))
    assert ids(judged) == {"audit.chain"}
    assert {each.member.split()[0] for each in judged.findings} == {
        bundle.CERTIFICATE,
        bundle.RIG,
        bundle.OFFICER,
    }


# --- on whose order --------------------------------------------------------------------------------------------


def decided(audited: Audited, act: str, terms: object, *people: Person, **names: str) -> list[AuditObject]:
    """Let two persons decide on something about the first order, as the log would say it; return what they signed."""
    at = audited.parts.clock()
    proposer, approver = people
    said_for = {names.pop("foreign", ""): f"{AUTHORITY}-staging"}
    token = proposer.proposal(act, ORDER, terms, authority=said_for.get("proposal", AUTHORITY))
    ruling = approver.ruling(token, act, authority=said_for.get("ruling", AUTHORITY))
    who = {"proposer": "security-officer:Sue Officer", "approver": "approver:Bob Approver"} | names
    signers = fingerprint(der_of(proposer.certificate)), fingerprint(der_of(approver.certificate))
    said = (
        ("propose", who["proposer"], signers[0], fingerprint(token.encode())),
        ("approve", who["approver"], signers[1], fingerprint(ruling.encode())),
        (act, who["approver"], signers[1], fingerprint(token.encode())),
    )
    audited.append(
        *(
            AuditRow(at=at, who=name, fingerprint=sha256, act=each, order=ORDER, about=about)
            for each, name, sha256, about in said
        )
    )
    return [
        filed(bundle.PROPOSAL, ORDER, token.encode()),
        filed(bundle.RULING, ORDER, ruling.encode()),
        filed(bundle.OFFICER, "", der_of(proposer.certificate)),
        filed(bundle.OFFICER, "", der_of(approver.certificate)),
    ]


def hired(audited: Audited, name: str, role: Role) -> Person:
    return Person.hired(audited.parts.operations, name, role, audited.parts.clock())


def more(audited: Audited) -> object:
    return structs.replace(terms_of(order(quantity=200)), replaces=standing(audited))


def standing(audited: Audited) -> str:
    grounds = true_row(audited, "enrol").grounds
    assert grounds is not None
    return grounds.document


def test_an_extension_that_two_persons_have_signed_is_taken(audited: Audited) -> None:
    sue = hired(audited, "Sue Officer", Role.SECURITY_OFFICER)
    bob = hired(audited, "Bob Approver", Role.APPROVER)
    judged = lied(audited, *decided(audited, EXTEND, more(audited), sue, bob))
    assert judged.findings == ()
    assert any(each.text.startswith(f"{EXTEND} {ORDER}") for each in judged.proven)


def test_one_person_with_two_certificates_is_no_two_persons(audited: Audited) -> None:
    sue = hired(audited, "Sue Officer", Role.SECURITY_OFFICER)
    again = hired(audited, "SUE  Officer", Role.APPROVER)
    objects = decided(audited, EXTEND, more(audited), sue, again, approver="approver:SUE  Officer")
    assert ids(lied(audited, *objects)) == {"audit.order"}


@pytest.mark.parametrize("roles", [(Role.AUDITOR, Role.APPROVER), (Role.SECURITY_OFFICER, Role.LINE_LEAD)])
def test_persons_in_other_roles_open_no_order(audited: Audited, roles: tuple[Role, Role]) -> None:
    sue, bob = hired(audited, "Sue Officer", roles[0]), hired(audited, "Bob Approver", roles[1])
    names = {"proposer": f"{roles[0].value}:Sue Officer", "approver": f"{roles[1].value}:Bob Approver"}
    assert "audit.signature" in ids(lied(audited, *decided(audited, EXTEND, more(audited), sue, bob, **names)))


def test_a_person_whom_the_log_calls_otherwise_is_found_out(audited: Audited) -> None:
    sue = hired(audited, "Sue Officer", Role.SECURITY_OFFICER)
    bob = hired(audited, "Bob Approver", Role.APPROVER)
    objects = decided(audited, EXTEND, more(audited), sue, bob, approver="approver:Ada Approver")
    assert "audit.signature" in ids(lied(audited, *objects))


@pytest.mark.parametrize("number", [0, 10_000])
def test_a_certificate_that_was_signed_by_no_configuration_of_the_log_is_found_out(
    audited: Audited, number: int
) -> None:
    audited.append(structs.replace(claims(true_row(audited, "enrol")), configuration=number))
    assert "audit.configuration" in ids(lied(audited))


def test_persons_under_a_ca_of_the_liars_own_are_found_out(audited: Audited) -> None:
    root = make_root("Liar", "Liar root", new_key(), NOW)
    foreign = make_sub_ca(root, "Liar operations CA", new_key(), NOW)
    sue = Person.hired(foreign, "Sue Officer", Role.SECURITY_OFFICER, NOW)
    bob = Person.hired(foreign, "Bob Approver", Role.APPROVER, NOW)
    authority = filed(bundle.AUTHORITY, "", der_of(foreign.certificate))
    found = lied(audited, authority, *decided(audited, EXTEND, more(audited), sue, bob))
    assert {"audit.chain", "audit.object.foreign"} == ids(found)


@pytest.mark.parametrize("foreign", ["proposal", "ruling"])
def test_an_order_that_two_persons_have_signed_for_another_authority_is_found_out(
    audited: Audited, foreign: str
) -> None:
    sue = hired(audited, "Sue Officer", Role.SECURITY_OFFICER)
    bob = hired(audited, "Bob Approver", Role.APPROVER)
    objects = decided(audited, EXTEND, more(audited), sue, bob, foreign=foreign)
    assert "audit.authority" in ids(lied(audited, *objects))


def test_persons_whose_keys_were_denied_by_then_are_found_out(audited: Audited) -> None:
    sue = hired(audited, "Sue Officer", Role.SECURITY_OFFICER)
    bob = hired(audited, "Bob Approver", Role.APPROVER)
    key = fingerprint(spki_of(sue.certificate))
    announce_trust(
        audited.parts.store, replace(audited.parts.policy.trust, denied_keys=frozenset({key})), audited.parts.clock
    )
    assert "audit.chain" in ids(lied(audited, *decided(audited, EXTEND, more(audited), sue, bob)))


def test_an_order_that_was_changed_without_two_persons_is_found_out(audited: Audited) -> None:
    audited.append(AuditRow(at=NOW, who="administrator", act=EXTEND, order=ORDER, about=standing(audited)))
    assert "audit.order" in ids(lied(audited))


def test_a_unit_that_was_enrolled_after_its_order_was_closed_is_found_out(audited: Audited) -> None:
    sue = hired(audited, "Sue Officer", Role.SECURITY_OFFICER)
    bob = hired(audited, "Bob Approver", Role.APPROVER)
    objects = decided(audited, CLOSE, CloseTerms(replaces=standing(audited)), sue, bob)
    assert lied(audited, *objects).findings == ()
    audited.append(claims(true_row(audited, "enrol"), at=NOW + timedelta(seconds=1)))
    assert "audit.order" in ids(lied(audited, *objects))


def test_a_request_that_came_before_its_order_was_closed_is_none_too_late(audited: Audited) -> None:
    audited.parts.clock.forward(seconds=5)
    sue = hired(audited, "Sue Officer", Role.SECURITY_OFFICER)
    bob = hired(audited, "Bob Approver", Role.APPROVER)
    objects = decided(audited, CLOSE, CloseTerms(replaces=standing(audited)), sue, bob)
    audited.append(claims(true_row(audited, "enrol")))
    assert lied(audited, *objects).findings == ()


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_entries_about_the_order_that_are_held_back_are_found_out(audited: Audited, cut: int) -> None:
    manifest = audited.manifest()
    ends = tuple(
        msgspec.structs.replace(end, last="") if end.thread == f"order:{ORDER}" else end for end in manifest.threads
    )
    assert "audit.missing" in ids(audited.judged(audited.lied(structs.replace(manifest, threads=ends))))
    data = audited.made()
    told, _, proofs = bundle.decode_bundle(data)
    whole = decode_bundle(proofs)
    kept = tuple(
        each for each in whole.entries if decode_row(each.entry).act != ("propose", "approve", CREATE)[cut - 1]
    )
    judged = audited.judged(bundle.encode_bundle(told, encode_bundle(ProofBundle(kept, whole.checkpoint))))
    assert ("audit.missing", f"order:{ORDER}") in {(each.id, each.member) for each in judged.findings}


# --- births ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "finding"), [(Role.LINE_LEAD, "audit.chain"), (Role.SECURITY_OFFICER, "audit.chain")])
def test_a_birth_record_is_signed_by_a_rig_and_by_nobody_else_whom_a_ca_has_certified(
    audited: Audited, role: Role, finding: str
) -> None:
    objects = audited.manifest().objects
    key = new_key()
    insider = make_officer(audited.parts.operations, "rig-a", role, key.public_key(), audited.parts.clock())
    true = next(each for each in objects if each.kind == bundle.CERTIFICATE)
    born = x509.load_der_x509_certificate(true.content)
    token = sign_birth(birth_record(audited.parts.board(), born, rig="rig-a"), key, insider).encode()
    audited.append(
        structs.replace(
            true_row(audited, "birth"), fingerprint=fingerprint(der_of(insider)), about=fingerprint(token), previous=""
        )
    )
    forged = (filed(bundle.BIRTH_RECORD, true.of, token), filed(bundle.RIG, "", der_of(insider)))
    assert finding in ids(lied(audited, *forged))


@pytest.mark.parametrize("changes", [{"order": OTHER_ORDER}, {"evidence_sha256": "00" * 32}, {"chip_model": "swtpm"}])
def test_a_birth_record_that_says_something_else_than_the_certificate_is_found_out(
    audited: Audited, changes: dict[str, str]
) -> None:
    true = next(each for each in audited.manifest().objects if each.kind == bundle.CERTIFICATE)
    born = x509.load_der_x509_certificate(true.content)
    token = audited.parts.birth(audited.parts.board(), born, **changes)
    audited.append(structs.replace(true_row(audited, "birth"), about=fingerprint(token), previous=""))
    assert "audit.birth" in ids(lied(audited, filed(bundle.BIRTH_RECORD, true.of, token)))
