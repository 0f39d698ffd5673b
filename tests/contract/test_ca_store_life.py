# SPDX-License-Identifier: Apache-2.0
"""What every store of the issuing authority must do about units, holds, groups of chips and published status."""

from dataclasses import replace
from datetime import timedelta

import pytest

from birthmark.ca.ports import CAStore
from birthmark.core.anchors import AnchorsContact
from birthmark.core.clients import ClientDenial, ClientKind, DeniedClient
from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import (
    Ask,
    ChipGroup,
    ChipID,
    End,
    Ending,
    GroupDenial,
    GroupKind,
    Issuance,
    Revocation,
    Unit,
    UnitState,
)
from birthmark.core.revocation import SignedStatus
from support.ledger_values import AT, CHIP, INTENT, SECOND

AK = ChipGroup(GroupKind.AK, "ab" * 32)
MODEL = ChipGroup(GroupKind.MODEL, "optiga-trust-m")
GONE = UnitState.RETIRED
MADE = Unit(serial="BM-000001", chip=CHIP, state=UnitState.MADE, since=AT, order="order-1")
DAYS = timedelta(days=1)
STATUS = SignedStatus(b"digest", 7, AT, AT + DAYS, AT + DAYS / 2, b"DER")


def issued(serial: str, number: int, **changes: object) -> Issuance:
    fields = {"serial": serial, "chip": ChipID("Smith", f"{number:016X}"), "unit_serial": f"BM-{number:06d}"}
    fields |= {"dies_at": None, "ending": None, "ak_fingerprint": AK.name}
    return replace(INTENT, **(fields | changes))  # type: ignore[arg-type] # tests name the fields that they change


def put(store: CAStore, *issuances: Issuance) -> None:
    with store.writing() as ledger:
        ledger.intend(issuances)


def test_a_unit_stands_as_it_was_put_last(store: CAStore) -> None:
    suspended = replace(MADE, state=UnitState.SUSPENDED, reason="stolen?", resumes=UnitState.MADE)
    waiting = replace(MADE, serial="BM-000002", chip=None, state=UnitState.REWORKED)
    with store.writing() as ledger:
        ledger.put_units([MADE, waiting])
        ledger.put_units([suspended])
    with store.reading() as ledger:
        assert ledger.unit("BM-000001") == suspended
        assert ledger.unit("BM-000002") == waiting
        assert ledger.unit("BM-000003") is None
        assert ledger.units_of_chip(CHIP) == (suspended,)


def test_the_facts_of_a_candidate_hold_its_unit_and_the_denial_of_its_groups(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.put_units([MADE])
        ledger.deny_group(GroupDenial(group=AK, reason="its key leaked", since=AT))
        asks = [
            Ask("order-1", "00" * 32, CHIP, unit, groups) for unit, groups in (("BM-000001", (AK, MODEL)), ("X", ()))
        ]
        of_both, of_none = ledger.facts(asks)
    assert (of_both.unit, of_both.denial) == (MADE, "its key leaked")
    assert (of_none.unit, of_none.denial) == (None, None)


def test_an_attestation_key_is_kept_with_the_issuance(store: CAStore) -> None:
    put(store, issued("40aa", 1))
    with store.reading() as ledger:
        found = ledger.issuance("40aa")
        assert found is not None
        assert found.ak_fingerprint == AK.name
        assert ledger.issuances_of_chip(found.chip) == (found,)
        assert ledger.issuances_after(0, 9) == ((1, found),)
        assert ledger.issuances_after(1, 9) == ()


def test_a_hold_gives_back_what_would_have_become_of_a_certificate(store: CAStore) -> None:
    rotating = issued("40bb", 2, dies_at=AT + DAYS, ending=Ending.ROTATED)
    put(store, issued("40aa", 1), rotating)
    with store.writing() as ledger:
        ledger.hold(["40aa", "40bb"], AT)
    with store.reading() as ledger:
        assert [each.ending for each in ledger.revocations(AT)] == [Ending.HELD, Ending.HELD]
    with store.writing() as ledger:
        ledger.release(["40aa", "40bb", "40cc"], AT + SECOND)
    with store.reading() as ledger:
        assert ledger.issuance("40aa") == issued("40aa", 1)
        assert ledger.issuance("40bb") == rotating
        said = [end for _, end in ledger.endings(-1, 99)]
    assert said == [
        End("40aa", AT, Ending.HELD),
        End("40bb", AT, Ending.HELD),
        End("40aa", AT + SECOND, Ending.RELEASED),
        End("40bb", AT + SECOND, Ending.RELEASED),
        End("40bb", AT + DAYS, Ending.ROTATED),
    ]


def test_what_was_revoked_under_a_hold_is_not_released(store: CAStore) -> None:
    put(store, issued("40aa", 1))
    with store.writing() as ledger:
        ledger.hold(["40aa"], AT)
        ledger.end([End("40aa", AT, Ending.REVOKED)])
        ledger.release(["40aa"], AT + SECOND)
        found = ledger.issuance("40aa")
    assert found is not None
    assert found.ending is Ending.REVOKED


def test_a_group_is_denied_until_settled_and_after(store: CAStore) -> None:
    denial = GroupDenial(group=AK, reason="its key leaked", since=AT)
    with store.writing() as ledger:
        ledger.deny_group(denial)
        ledger.deny_group(GroupDenial(group=MODEL, reason="withdrawn", since=AT + SECOND))
        ledger.deny_group(replace(denial, settled_at=AT + DAYS))
    with store.reading() as ledger:
        first, second = ledger.group_denials()
    assert first == replace(denial, settled_at=AT + DAYS)
    assert (second.group, second.settled_at) == (MODEL, None)


def test_the_living_of_a_group_are_those_that_count_or_would_again(store: CAStore) -> None:
    dying = {"dies_at": AT + DAYS, "ending": Ending.ROTATED}
    put(
        store,
        issued("40aa", 1),
        issued("40bb", 2, **dying),
        issued("40cc", 3),
        issued("40dd", 4),
        issued("40ee", 5, ak_fingerprint="cd" * 32),
        issued("40ff", 6, validity_days=0),
    )
    with store.writing() as ledger:
        ledger.end([End("40cc", AT, Ending.REVOKED)])
        ledger.hold(["40dd"], AT)
    with store.reading() as ledger:
        living = [each.serial for each in ledger.living_of_group(AK, AT, 99)]
        assert living == ["40aa", "40bb", "40dd"]
        assert len(ledger.living_of_group(AK, AT, 2)) == 2
        assert [each.serial for each in ledger.living_of_group(MODEL, AT, 99)] == ["40aa", "40bb", "40dd", "40ee"]


def test_the_feed_has_come_into_force_up_to_the_first_change_that_lies_ahead(store: CAStore) -> None:
    put(store, *(issued(f"40{number:02x}", number) for number in range(1, 4)))
    with store.writing() as ledger:
        assert (ledger.feed_head(), ledger.feed_position(AT)) == (0, 0)
        ledger.end([End("4001", AT, Ending.REVOKED), End("4002", AT + DAYS, Ending.ROTATED)])
        ledger.end([End("4003", AT, Ending.REVOKED)])
    with store.reading() as ledger:
        assert (ledger.feed_head(), ledger.feed_position(AT), ledger.feed_position(AT + DAYS)) == (3, 1, 3)
        assert ledger.deaths(AT, AT + DAYS, 9) == ("4002",)
        assert ledger.deaths(AT - SECOND, AT + DAYS, 2) == ("4001", "4003")


def test_revocations_of_what_had_expired_are_left_out_when_they_stood_on_a_list(store: CAStore) -> None:
    put(store, issued("40aa", 1, validity_days=1), issued("40bb", 2))
    with store.writing() as ledger:
        ledger.end([End("40aa", AT, Ending.REVOKED), End("40bb", AT, Ending.REVOKED)])
    with store.reading() as ledger:
        both = [each.serial for each in ledger.revocations(AT + 9 * DAYS)]
        assert both == [each.serial for each in ledger.revocations(AT + 9 * DAYS, AT + DAYS)] == ["40aa", "40bb"]
        left = ledger.revocations(AT + 9 * DAYS, AT + 2 * DAYS)
        assert left == (Revocation("40bb", AT, Ending.REVOKED, issued("40bb", 2).expires_at),)


def test_a_list_is_replaced_by_one_of_a_higher_number_alone(store: CAStore) -> None:
    with store.writing() as ledger:
        assert ledger.signed_status("crl") is None
        ledger.put_signed_status([("crl", STATUS), ("ocsp:40aa", STATUS)])
        ledger.put_signed_status([("crl", replace(STATUS, body=b"same number"))])
        assert ledger.signed_status("crl") == STATUS
        ledger.put_signed_status([("crl", replace(STATUS, number=8, body=b"next"))])
        assert ledger.signed_status("crl") == replace(STATUS, number=8, body=b"next")


def test_what_ages_is_found_by_its_kind_and_what_has_ended_is_forgotten(store: CAStore) -> None:
    with store.writing() as ledger:
        older = replace(STATUS, refresh_at=AT)
        ledger.put_signed_status([("crl", STATUS), ("ocsp:40aa", STATUS), ("ocsp:40bb", older)])
        assert ledger.ageing_status("ocsp:", AT - SECOND, 9) == ()
        assert ledger.ageing_status("ocsp:", AT + DAYS, 9) == ("ocsp:40bb", "ocsp:40aa")
        assert ledger.ageing_status("ocsp:", AT + DAYS, 1) == ("ocsp:40bb",)
        ledger.forget_signed_status(AT + 2 * DAYS)
        assert ledger.signed_status("crl") is None


ROOT, OTHER_ROOT = "a" * 64, "b" * 64


def contact(certificate: str, *anchors: str) -> AnchorsContact:
    return AnchorsContact(unit_serial="BM-000001", certificate=certificate, anchors=frozenset(anchors), at=AT)


def test_what_a_unit_said_last_of_its_anchors_stands_beside_the_certificate_that_it_uses(store: CAStore) -> None:
    second = replace(INTENT, serial="40ab", unit_serial="BM-000002", chip=ChipID("Smith", "02"))
    with store.writing() as ledger:
        ledger.intend([INTENT, second])
        ledger.record([("40aa", b"one"), ("40ab", b"two")])
        ledger.confirm([(fingerprint(b"one"), "token")], AT)
        ledger.put_units([MADE, replace(MADE, serial="BM-000002"), replace(MADE, serial="BM-000003", state=GONE)])
        ledger.put_anchors([contact("40a9", ROOT)])
        ledger.put_anchors([contact("40aa", ROOT, OTHER_ROOT)])
    with store.reading() as ledger:
        one, two = ledger.anchors_of_units("", AT, 9)
        assert (one.unit_serial, one.certificate, one.contact) == (
            "BM-000001",
            "40aa",
            contact("40aa", ROOT, OTHER_ROOT),
        )
        assert (two.unit_serial, two.certificate, two.contact) == ("BM-000002", "", None)  # nobody has confirmed it
        assert ledger.anchors_of_units("", AT, 1) == (one,)
        assert ledger.anchors_of_units("BM-000001", AT, 9) == (two,)


def test_a_unit_whose_certificate_is_held_still_has_it_and_one_that_is_revoked_has_none(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.intend([INTENT])
        ledger.record([("40aa", b"one")])
        ledger.confirm([(fingerprint(b"one"), "token")], AT)
        ledger.put_units([MADE])
        ledger.hold(["40aa"], AT)
        assert [each.certificate for each in ledger.anchors_of_units("", AT, 9)] == ["40aa"]
        ledger.end([End("40aa", AT, Ending.REVOKED)])
        assert [each.certificate for each in ledger.anchors_of_units("", AT, 9)] == [""]


def test_a_client_is_denied_once_until_it_is_allowed_again(store: CAStore) -> None:
    rig, person = (DeniedClient(kind, "rig-a") for kind in (ClientKind.RIG, ClientKind.PERSON))
    later = ClientDenial(client=person, reason="left us", since=AT + SECOND)
    with store.writing() as ledger:
        ledger.deny_client(later)
        ledger.deny_client(ClientDenial(client=rig, reason="stolen", since=AT))
    with pytest.raises(StoreError) as refused, store.writing() as ledger:
        ledger.deny_client(ClientDenial(client=rig, reason="again", since=AT))
    assert refused.value.finding == "store.conflict"
    with store.writing() as ledger:
        assert [each.client for each in ledger.client_denials()] == [rig, person]
        ledger.allow_client(rig)
        ledger.allow_client(rig)
        assert ledger.client_denials() == (later,)


def test_a_root_is_retired_once(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.retire_root(ROOT, OTHER_ROOT, AT)
        assert ledger.retired_roots() == {ROOT}
    with pytest.raises(StoreError) as refused, store.writing() as ledger:
        ledger.retire_root(ROOT, OTHER_ROOT, AT)
    assert refused.value.finding == "store.conflict"
