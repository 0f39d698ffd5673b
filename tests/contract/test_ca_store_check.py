# SPDX-License-Identifier: Apache-2.0
"""What every store must tell of its tables so that they can be held against the log (ca.ports.LedgerReader)."""

from dataclasses import replace
from types import MappingProxyType

from msgspec import structs

from birthmark.ca.ports import CAStore
from birthmark.core.audit import AuditRow
from birthmark.core.dossier import Numbered
from birthmark.core.ids import fingerprint
from birthmark.core.in_force import InForce
from birthmark.core.issuance import Ask, ChipGroup, ChipID, End, Ending, GroupDenial, GroupKind, Issuance, NonceGrant
from birthmark.core.ledger_rows import denied_group_row, issuance_row, us
from support.ledger_values import AT, INTENT

ROW = AuditRow(at=AT, who="rig:rig-a", act="enrol", unit_serial="BM-000001", finding="ca.8.quota")


def put(store: CAStore, *issuances: Issuance) -> None:
    with store.writing() as ledger:
        ledger.intend(issuances)


def test_a_dossier_holds_everything_about_an_issuance(store: CAStore) -> None:
    other = replace(INTENT, serial="40bb", chip=ChipID("Smith", "FF"), unit_serial="BM-000002")
    put(store, INTENT, other)
    end = End("40aa", AT, Ending.REVOKED)
    about_other = structs.replace(ROW, unit_serial="BM-000002")
    with store.writing() as ledger:
        ledger.record([("40aa", b"certificate")])
        ledger.take_quota([("order-1", "BM-000001"), ("order-1", "BM-000003")])
        ledger.confirm([(fingerprint(b"certificate"), "j.w.s")], AT)
        ledger.end([end])
        ledger.append([about_other, ROW, structs.replace(ROW, unit_serial=""), ROW])
    with store.reading() as ledger:
        first, second = ledger.dossiers(0, 10)
        sha256 = fingerprint(b"certificate")
        assert first.number == 1
        assert first.issuance == issuance_row(INTENT)
        assert first.life is not None
        assert (first.life["serial"], first.life["dies_us"], first.life["ending"]) == ("40aa", us(AT), "revoked")
        assert first.certificate == {"serial": "40aa", "sha256": sha256, "der": b"certificate"}
        assert first.birth == {"certificate_sha256": sha256, "received_us": us(AT), "jws": "j.w.s"}
        assert first.ends == ({"serial": "40aa", "dies_us": us(AT), "ending": "revoked"},)
        assert (first.hold, first.holds_place) == (None, True)
        assert [leaf.number for leaf in first.leaves] == [1, 3]
        assert (second.number, second.certificate, second.birth) == (2, None, None)
        assert (second.ends, second.holds_place) == ((), False)
        assert ledger.dossiers(1, 10) == (second,)
        assert ledger.known_serials(["40aa", "40cc"]) == {"40aa"}
        assert ledger.strays(10) == (("order_unit", "order-1/BM-000003"),)
        assert Numbered("ending", 1, 0, 0) in ledger.numbered()
        assert Numbered("proposal", 0, 1, 0) in ledger.numbered()
        assert [leaf.number for leaf in ledger.leaves(1, 2)] == [1, 2]
        assert [leaf.number for leaf in ledger.leaves_by_unit(("", 0), 10)] == [1, 3, 0]
        assert [leaf.number for leaf in ledger.leaves_by_unit(("BM-000001", 1), 1)] == [3]


def test_rows_are_read_by_pages_as_they_lie_there(store: CAStore) -> None:
    denials = [GroupDenial(group=ChipGroup(kind, name), reason="r", since=AT) for kind in GroupKind for name in "ab"]
    with store.writing() as ledger:
        for denial in denials:
            ledger.deny_group(denial)
        ledger.keep([b"one"])
    with store.reading() as ledger:
        first = ledger.table_rows("denied_group", None, 3)
        rest = ledger.table_rows("denied_group", first[-1], 3)
        assert [*first, *rest] == [denied_group_row(each) for each in denials]
        assert ledger.table_rows("denied_group", rest[-1], 3) == ()
        assert ledger.table_rows("document", None, 1) == ({"sha256": fingerprint(b"one"), "content": b"one"},)
        assert ledger.known_documents([fingerprint(b"one"), "ff"]) == {fingerprint(b"one")}


def test_a_nonce_is_known_with_what_has_used_it(store: CAStore) -> None:
    put(store, INTENT)
    grants = [
        NonceGrant(digest=name, holder="rig:rig-a", unit_serial=f"BM-00000{name}", expires_at=AT) for name in "12"
    ]
    with store.writing() as ledger:
        ledger.grant_nonces(grants)
        ledger.use_nonces([("1", INTENT.serial)])
    with store.reading() as ledger:
        assert ledger.nonce_uses(["1", "2", "3"]) == {"1": INTENT.serial, "2": None}


def test_what_was_put_in_force_last_comes_first(store: CAStore) -> None:
    put_in_force = [InForce(f"{n}", MappingProxyType({"configuration.json": f"{n}"}), n, AT) for n in range(10)]
    with store.writing() as ledger:
        assert ledger.recent_configurations() == ()
        for each in put_in_force:
            ledger.put_configuration(each)
    recent = tuple(replace(each, files=MappingProxyType({})) for each in put_in_force[:1:-1])
    with store.reading() as ledger:
        assert ledger.configurations() == tuple(put_in_force)
        assert ledger.recent_configurations() == recent
        (facts,) = ledger.facts([Ask("order-1", "00" * 32, INTENT.chip, "BM-000001")])
        assert facts.configurations == recent
