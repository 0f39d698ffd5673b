# SPDX-License-Identifier: Apache-2.0
"""Audit bundles: an outsider learns everything about a unit, and nothing can be altered, swapped or left out."""

import random
from pathlib import Path

import msgspec
import pytest

from birthmark.ca.audit.case import Given
from birthmark.ca.errors import Refused
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.core.errors import DecodeError
from birthmark.tlog.bundle import ProofBundle, decode_bundle, encode_bundle
from support.audited import (
    OTHER_UNIT,
    PRIVATE_UNIT,
    Audited,
    filed,
    ids,
    with_objects,
)
from support.ca_parts import UNIT


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    return Audited.at(tmp_path)


@pytest.mark.parametrize("evidence", [False, True])
@pytest.mark.parametrize("unit", [UNIT, OTHER_UNIT, PRIVATE_UNIT])
def test_a_bundle_holds_by_the_logs_key_and_the_makers_root(audited: Audited, unit: str, *, evidence: bool) -> None:
    judged = audited.judged(audited.made(unit, evidence=evidence))
    assert judged.findings == ()
    assert judged.unit_serial == unit
    topics = {each.topic for each in judged.proven}
    assert {"history", "objects", "persons", "order", "policy", "evidence", "certificates", "birth", "trust"} <= topics


def test_a_bundle_tells_everything_about_a_unit(audited: Audited) -> None:
    judged = audited.judged(audited.made())
    assert [row.act for _, row in judged.rows] == ["enrol", "birth", "end", "unit.activate", "renew", "audit.bundle"]
    others = [row.act for _, row in judged.others]
    believed = ["policy.in-force", "trust.in-force", "configuration.changed"]
    assert others == [*believed, "propose", "approve", "order.create"]
    first, second = judged.lives
    assert first.state.startswith("end ")
    assert (second.state, second.birth) == ("alive", "renewal")
    kinds = [each.kind for each in judged.manifest.objects]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        bundle.CERTIFICATE: 2,
        bundle.BIRTH_RECORD: 1,
        bundle.RIG: 1,
        bundle.PROPOSAL: 1,
        bundle.RULING: 1,
        bundle.OFFICER: 2,
        bundle.POLICY: 1,
        bundle.POLICY_FILE: 1,
        bundle.TRUST: 1,
        bundle.CONFIGURATION: 1,
        bundle.AUTHORITY: 3,
    }


def test_with_the_logs_key_alone_the_bundle_holds_and_says_whose_word_is_taken(audited: Audited) -> None:
    judged = audited.judged(audited.made(), Given())
    assert judged.findings == ()
    assert {each.topic for each in judged.unproven} == {"history", "persons", "order", "evidence", "trust"}


def test_a_unit_is_found_by_the_serial_of_its_certificate(audited: Audited) -> None:
    serial = next(audited.parts.administration.certificates())["serial"]
    assert audited.judged(audited.made(serial)).unit_serial == UNIT
    with pytest.raises(Refused):
        audited.made("BM-999999")


def test_the_making_of_a_bundle_is_an_entry_that_the_next_one_shows(audited: Audited) -> None:
    audited.made()
    rows = [row for _, row in audited.judged(audited.made()).rows]
    assert [row.act for row in rows[-2:]] == ["audit.bundle", "audit.bundle"]
    assert rows[-1].detail.endswith(": a test")


def test_refused_attempts_are_in_the_bundle(audited: Audited) -> None:
    with pytest.raises(Refused):
        audited.parts.enrol(audited.parts.board().csr(bytes(32)))
    judged = audited.judged(audited.made())
    assert judged.findings == ()
    assert [row.act for _, row in judged.rows if row.finding] == ["enrol"]


def test_a_unit_that_never_got_a_certificate_has_a_bundle_too(audited: Audited) -> None:
    with pytest.raises(Refused):
        audited.parts.enrol(audited.parts.board("BM-000009").csr(bytes(32)))
    judged = audited.judged(audited.made("BM-000009"))
    assert (judged.findings, judged.lives) == ((), ())


def test_a_revoked_certificate_is_told_with_the_reason(audited: Audited) -> None:
    for each in audited.parts.living():
        if each["unit_serial"] == UNIT:
            audited.parts.administration.revoke(each["serial"], "stolen")
    judged = audited.judged(audited.made())
    assert judged.findings == ()
    assert [each.state.split()[0] for each in judged.lives] == ["revoke", "revoke"]
    assert judged.lives[-1].state.endswith("stolen")


def test_the_evidence_that_a_private_certificate_keeps_is_given_out_on_request_alone(audited: Audited) -> None:
    without, inside = audited.manifest(PRIVATE_UNIT), audited.manifest(PRIVATE_UNIT, evidence=True)
    assert bundle.EVIDENCE not in {each.kind for each in without.objects}
    assert [each.kind for each in inside.objects].count(bundle.EVIDENCE) == 1
    *_, last = audited.judged(audited.made(PRIVATE_UNIT)).rows
    assert "with the evidence that is kept" not in last[1].detail
    told = [each.text for each in audited.judged(audited.made(PRIVATE_UNIT)).unproven]
    assert any("signed result is believed" in each for each in told)


# --- altered, removed, swapped ---------------------------------------------------------------------------------


def test_one_altered_byte_anywhere_is_detected(audited: Audited) -> None:
    data = audited.made()
    places = random.Random(11).sample(range(len(data)), 300)  # noqa: S311 the same places every time
    for place in places:
        altered = bytearray(data)
        altered[place] ^= 1 << (place % 8)
        try:
            assert audited.judged(bytes(altered)).findings
        except DecodeError:
            continue


def pieces(audited: Audited) -> list[tuple[bundle.Manifest, bundle.AuditObject]]:
    """Every object of a unit with evidence in its certificates, and of one without."""
    manifests = [audited.manifest(), audited.manifest(PRIVATE_UNIT, evidence=True)]
    return [(manifest, each) for manifest in manifests for each in manifest.objects]


def test_an_object_that_a_carrier_alters_or_removes_is_named_by_a_finding(audited: Audited) -> None:
    for data in (audited.made(), audited.made(PRIVATE_UNIT, evidence=True)):
        _, manifest, proofs = bundle.decode_bundle(data)
        for number, each in enumerate(manifest.objects):
            altered = msgspec.structs.replace(each, content=bytes([each.content[0] ^ 1]) + each.content[1:])
            for put, wanted in (([altered], "audit.object.digest"), ([], "audit.object.missing")):
                objects = [*manifest.objects[:number], *put, *manifest.objects[number + 1 :]]
                told = bundle.encode_manifest(with_objects(manifest, objects))
                judged = audited.judged(bundle.encode_bundle(told, proofs))
                assert "audit.manifest" in ids(judged), each.name
                if each.kind != bundle.EVIDENCE or put:  # what is there on request may be missing
                    assert (wanted, each.name) in {(found.id, found.member) for found in judged.findings}


def test_an_object_that_the_authority_alters_removes_or_swaps_is_named_although_its_log_commits_to_it(
    audited: Audited,
) -> None:
    foreign = {each.kind: each for each in audited.manifest(OTHER_UNIT).objects}
    for manifest, each in pieces(audited):
        others = [other for other in manifest.objects if other != each]
        altered = filed(each.kind, each.of, each.content[:-1] + bytes([each.content[-1] ^ 1]))
        swapped = [foreign[each.kind]] if each.kind in foreign and foreign[each.kind] not in manifest.objects else []
        renamed = [msgspec.structs.replace(other, of=each.of) for other in swapped]
        for put in ([altered], [], swapped, renamed):
            judged = audited.judged(audited.lied(with_objects(manifest, [*others, *put])))
            found = {(finding.id, finding.member) for finding in judged.findings}
            assert "audit.manifest" not in ids(judged)
            for one in put:
                assert ("audit.object.foreign", one.name) in found
            if each.kind != bundle.EVIDENCE:
                assert ("audit.object.missing", each.name) in found
            else:
                assert not put or found


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("unit_serial", OTHER_UNIT),
        ("made_at", None),
        ("software", "birthmark 99"),
        ("threads", ()),
        ("objects", ()),
    ],
)
def test_every_other_member_of_the_manifest_is_committed_to(audited: Audited, member: str, value: object) -> None:
    _, manifest, proofs = bundle.decode_bundle(audited.made())
    if member == "made_at":
        value = manifest.made_at.replace(year=2027)
    told = bundle.encode_manifest(msgspec.structs.replace(manifest, **{member: value}))
    found = ids(audited.judged(bundle.encode_bundle(told, proofs)))
    assert found & {"audit.manifest", "audit.missing"}


def test_an_entry_that_is_altered_removed_or_swapped_is_named_by_a_finding(audited: Audited) -> None:
    told, _, proofs = bundle.decode_bundle(audited.made())
    whole = decode_bundle(proofs)
    other = decode_bundle(bundle.decode_bundle(audited.made(OTHER_UNIT))[2])
    strangers = [each for each in other.entries if each.index not in {own.index for own in whole.entries}]
    for number, each in enumerate(whole.entries):
        less = whole.entries[:number] + whole.entries[number + 1 :]
        judged = audited.judged(bundle.encode_bundle(told, encode_bundle(ProofBundle(less, whole.checkpoint))))
        assert "audit.missing" in ids(judged)
        text = each.entry.replace(b'"who":"', b'"who":"x', 1)
        changed = ProofBundle(
            (*whole.entries[:number], type(each)(each.index, text, each.proof), *whole.entries[number + 1 :]),
            whole.checkpoint,
        )
        judged = audited.judged(bundle.encode_bundle(told, encode_bundle(changed)))
        assert ("audit.entry", f"entry {each.index}") in {(found.id, found.member) for found in judged.findings}
    for stranger in strangers[:-1]:
        more = tuple(sorted((*whole.entries, stranger), key=lambda entry: entry.index))
        again = ProofBundle(more, whole.checkpoint)
        judged = audited.judged(bundle.encode_bundle(told, encode_bundle(again)))
        assert f"entry {stranger.index}" in {found.member for found in judged.findings}


def test_the_checkpoint_of_another_log_proves_nothing(audited: Audited, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Audited.at(tmp_path / "other")
    judged = other.judged(audited.made())
    assert ids(judged) == {"audit.checkpoint"}
    assert (judged.rows, judged.proven) == ((), ())


def test_the_proofs_of_another_unit_do_not_fit(audited: Audited) -> None:
    told, _, _ = bundle.decode_bundle(audited.made())
    _, _, proofs = bundle.decode_bundle(audited.made(OTHER_UNIT))
    assert {"audit.missing", "audit.entry"} <= ids(audited.judged(bundle.encode_bundle(told, proofs)))
