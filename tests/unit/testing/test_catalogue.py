# SPDX-License-Identifier: Apache-2.0
"""A campaign that could not report a breach would be worth nothing."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from birthmark.ca.errors import Refused
from birthmark.core.audit import AuditRow
from birthmark.core.errors import BirthmarkError
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.attacks import witness
from birthmark.testing.attacks.campaign import CATALOGUE
from birthmark.testing.attacks.catalogue import Attack, carry_out
from birthmark.testing.attacks.errors import CutOff
from birthmark.testing.attacks.witness import Witness

NOBODY: Any = None


def attack(finding: str | None) -> Attack:
    def run(_: object) -> None:
        if finding is not None:
            raise BirthmarkError("the system said no", finding=finding)

    return Attack("some.attack", "a threat", "a title", ("ca.3.evidence",), run)


def test_an_attack_that_gets_what_it_wants_is_a_breach() -> None:
    result = carry_out(attack(None), NOBODY, Witness(SQLiteCAStore()))
    assert not result.refused
    assert result.finding == "it got what it wanted"


def test_an_attack_that_meets_its_defence_is_refused_with_the_finding() -> None:
    result = carry_out(attack("ca.3.evidence"), NOBODY, Witness(SQLiteCAStore()))
    assert result.refused
    assert result.as_row() == {
        "id": "some.attack",
        "threat": "a threat",
        "refused": True,
        "finding": "ca.3.evidence",
    }


@pytest.mark.parametrize("stumble", ["net.unreachable", "ca.store", "ca.3.evidence.other"])
def test_an_attack_that_stumbles_over_something_else_does_not_count_as_refused(stumble: str) -> None:
    assert not carry_out(attack(stumble), NOBODY, Witness(SQLiteCAStore())).refused


@pytest.mark.parametrize("logged", [True, False])
def test_what_the_ca_refuses_counts_when_its_log_says_so(logged: bool) -> None:  # noqa: FBT001 a table of two
    store = SQLiteCAStore()

    def run(_: object) -> None:
        if logged:
            with store.writing() as ledger:
                ledger.append([AuditRow(at=datetime.now(UTC), who="rig:a", act="enrol", finding="ca.3.evidence")])
        raise Refused(403, "ca.3.evidence", "no evidence")

    with store.writing() as ledger:
        ledger.append([AuditRow(at=datetime.now(UTC), who="rig:a", act="enrol", finding="ca.3.evidence")])
    result = carry_out(Attack("some.attack", "a", "b", ("ca.3.evidence",), run), NOBODY, Witness(store))
    assert result.refused is logged


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("2026-11-23 19:31:06,305 birthmark.net.tls tls.handshake-refused: HTTP_REQUEST\n", True),
        ("2026-11-23T19:31:06.262+00:00 1 POST '/v1/births' 403 0.56 ms finding=tls.handshake-refused\n", True),
        ("2026-11-23 19:31:06,305 birthmark.net.tls tls.handshake-refused.other: no\n", False),
        ("", False),
    ],
)
def test_what_no_ledger_can_name_counts_when_the_log_has_a_line_about_it_since_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, *, refused: bool
) -> None:
    monkeypatch.setattr(witness, "LINE_WITHIN_S", 0.0)
    log = tmp_path / "ca.log"
    log.write_text("2026-11-23 19:31:06,304 birthmark.net.tls tls.handshake-refused: an earlier one\n")

    def run(_: object) -> None:
        with log.open("a") as told:
            told.write(line)
        raise CutOff("not a word", finding="tls.handshake-refused")

    tried = Attack("some.attack", "a", "b", ("tls.handshake-refused",), run, ("tls.handshake-refused",))
    assert carry_out(tried, NOBODY, Witness(SQLiteCAStore(), log)).refused is refused


def test_every_threat_has_two_attacks_at_least_and_every_id_is_there_once() -> None:
    threats = [each.threat for each in CATALOGUE]
    assert all(threats.count(threat) >= 2 for threat in threats)
    assert len({each.id for each in CATALOGUE}) == len(CATALOGUE)
    known = {
        "device cloning",
        "key extraction",
        "old algorithms",
        "insider",
        "orders",
        "legacy door",
        "afterlife",
        "edge",
    }
    assert set(threats) == known


def test_every_attack_names_the_findings_that_it_must_meet() -> None:
    assert all(each.expected and all("." in finding for finding in each.expected) for each in CATALOGUE)
