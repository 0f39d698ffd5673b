# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - the statements are those of this file
"""
`birthmark ca ledger check` in both databases: a sound ledger has nothing to tell; whatever is touched is told of.

docs/reference/ledger-format.md says for each column of the schema what the check finds. Here every column of every
table is really changed, and the page is held to what is found and to the schema.
"""

import re
from collections.abc import Iterator

import pytest

from support.documents import ROOT, section
from support.postgres import PostgreSQL
from support.tampering import MAKERS, Tampering, other_value

PAGE = section((ROOT / "docs/reference/ledger-format.md").read_text(), "## What the check sees")
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|(?: `([\w.]+)` \|)?$", re.MULTILINE)
SEEN = {
    (table, column): finding
    for table, columns, finding in _ROW.findall(PAGE)
    for column in re.findall(r"`(\w+)`", columns)
}
"""What the page says of each column: the finding, "" for one that is not seen."""


@pytest.fixture(scope="module", params=list(MAKERS))
def ledger(request: pytest.FixtureRequest, cluster: PostgreSQL) -> Iterator[Tampering]:
    return MAKERS[request.param](cluster)  # type: ignore[return-value] # a fixture of pytest's


def test_a_ledger_in_which_everything_has_happened_agrees_with_its_log(ledger: Tampering) -> None:
    assert ledger.findings() == set()


def test_every_column_of_the_schema_stands_on_the_page_and_every_table_has_rows(ledger: Tampering) -> None:
    columns = ledger.columns()
    assert set(SEEN) == {(table, column) for table in columns for column in columns[table]}
    assert [table for table in columns if ledger.is_empty(table)] == []


@pytest.mark.parametrize(("table", "column"), SEEN)
def test_another_value_in_a_column_is_found_as_the_page_says(ledger: Tampering, table: str, column: str) -> None:
    found = ledger.findings(other_value(ledger, table, column))
    wanted = SEEN[table, column]
    assert wanted in found if wanted else found == set()


DELETED = {
    "production_order": "ledger.order.missing",
    "order_unit": "ledger.mark.missing",
    "issuance": "ledger.certificate.missing",
    "life": "ledger.life.missing",
    "certificate": "ledger.certificate.missing",
    "ending": "ledger.ending.missing",
    "hold": "ledger.hold.missing",
    "birth": "ledger.birth.missing",
    "nonce_use": "ledger.nonce.reopened",
    "unit": "ledger.unit.missing",
    "proposal": "ledger.proposal.missing",
    "ruling": "ledger.ruling.missing",
    "denied_chip": "ledger.denial.missing",
    "denied_group": "ledger.denial.missing",
    "denied_client": "ledger.denial.missing",
    "rig_ticket": "ledger.ticket.missing",
    "retired_root": "ledger.root.missing",
    "policy": "ledger.policy.missing",
    "configuration": "ledger.configuration.missing",
    "document": "ledger.document.missing",
    "thread": "ledger.thread.missing",
    "leaf": "ledger.certificate.unlogged",
    "tile": "ledger.tile.missing",
    "checkpoint": "ledger.tile.stray",
}


@pytest.mark.parametrize("table", DELETED)
def test_rows_taken_out_of_a_table_are_found(ledger: Tampering, table: str) -> None:
    assert DELETED[table] in ledger.findings(f"DELETE FROM {table}")


def test_nothing_is_found_of_tables_without_which_the_ledger_is_whole(ledger: Tampering) -> None:
    unseen = {table for table, column in SEEN if not SEEN[table, column]} - set(DELETED)
    assert unseen == {"nonce", "unit_anchors", "published", "probe"}
    assert ledger.findings(*(f"DELETE FROM {table}" for table in sorted(unseen))) == set()


FIRST = "(SELECT serial FROM issuance WHERE number = 1)"
ADDED = {
    "production_order": (
        (
            "INSERT INTO production_order SELECT 'order-99', product, quantity, chip_models, rigs, first_unit,"
            " last_unit, not_before_us, not_after_us, profile, document, approved_us, closed_us, 0"
            " FROM production_order WHERE id = 'order-1'"
        ),
        "ledger.order.unlogged",
    ),
    "order_unit": (
        "INSERT INTO order_unit (order_id, unit_serial) VALUES ('order-1', 'BM-000099')",
        "ledger.quota.stray",
    ),
    "life": (
        "INSERT INTO life (serial, unit_serial, chip, expires_us) VALUES ('ff', 'BM-000098', 'S/1', 1)",
        "ledger.life.stray",
    ),
    "certificate": ("INSERT INTO certificate VALUES ('ff', 'ff', {bytes})", "ledger.certificate.stray"),
    "an ending": (
        f"INSERT INTO ending SELECT (SELECT max(number) + 1 FROM ending), {FIRST}, 1, 'revoked'",
        "ledger.ending.unlogged",
    ),
    "an ending of nothing": (
        "INSERT INTO ending SELECT max(number) + 1, 'ff', 1, 'revoked' FROM ending",
        "ledger.ending.stray",
    ),
    "hold": (f"INSERT INTO hold SELECT {FIRST}, NULL, NULL", "ledger.hold.unlogged"),
    "birth": ("INSERT INTO birth VALUES ('ff', 1, 'j.w.s')", "ledger.birth.stray"),
    "unit": (
        "INSERT INTO unit (serial, state, since_us, order_id, reason) VALUES ('BM-000099', 'made', 1, 'order-1', '')",
        "ledger.unit.unlogged",
    ),
    "proposal": (
        "INSERT INTO proposal SELECT max(number) + 1, 'ff', 'order.create', 'o', '', {bytes}, 'x', 1, 2 FROM proposal",
        "ledger.proposal.unlogged",
    ),
    "ruling": (
        "INSERT INTO ruling SELECT id, 'approved', 'x', 1, '', '', {bytes} FROM proposal WHERE subject = 'order-4'",
        "ledger.ruling.unlogged",
    ),
    "denied_chip": ("INSERT INTO denied_chip VALUES ('S/99', 'lost')", "ledger.denial.unlogged"),
    "denied_group": ("INSERT INTO denied_group VALUES ('model', 'm', 'x', 1, 2)", "ledger.denial.unlogged"),
    "denied_client": ("INSERT INTO denied_client VALUES ('rig:x', 'x', 1)", "ledger.denial.unlogged"),
    "rig_ticket": ("INSERT INTO rig_ticket VALUES ('ff', 'ee', '', NULL)", "ledger.ticket.unlogged"),
    "retired_root": ("INSERT INTO retired_root VALUES ('ff', 'ee', 1)", "ledger.root.unlogged"),
    "policy": (
        "INSERT INTO policy SELECT max(number) + 1, 'ff', '{{}}', 99999, 1 FROM policy",
        "ledger.policy.unlogged",
    ),
    "configuration": (
        "INSERT INTO configuration SELECT max(number) + 1, 'ff', '{{}}', 99999, 1 FROM configuration",
        "ledger.configuration.unlogged",
    ),
    "thread": ("INSERT INTO thread VALUES ('order:order-1', 3000)", "ledger.thread.unlogged"),
    "document": ("INSERT INTO document VALUES ('ff', {bytes})", "ledger.document.altered"),
    "leaf": (
        "INSERT INTO leaf SELECT max(number) + 2, '', {bytes} FROM leaf",
        "ledger.entry.gap",
    ),
    "tile": ("INSERT INTO tile VALUES (7, 0, {bytes})", "ledger.tile.stray"),
    "checkpoint": (
        "INSERT INTO checkpoint SELECT size + 1, note FROM checkpoint ORDER BY size DESC LIMIT 1",
        "ledger.checkpoint.altered",
    ),
}


@pytest.mark.parametrize(("statement", "finding"), ADDED.values(), ids=ADDED.keys())
def test_rows_added_to_a_table_are_found(ledger: Tampering, statement: str, finding: str) -> None:
    assert finding in ledger.findings(statement.format(bytes=ledger.zero_byte))


ATTACKS = {
    "a denied chip may come again": (
        ["DELETE FROM denied_chip WHERE reason = 'lost'"],
        {"ledger.denial.missing"},
    ),
    "a leaked attestation key is trusted again": (
        ["DELETE FROM denied_group WHERE kind = 'ak'"],
        {"ledger.denial.missing"},
    ),
    "a withdrawal counts as settled no more": (
        ["UPDATE denied_group SET settled_us = NULL WHERE kind = 'model'"],
        {"ledger.denial.older"},
    ),
    "a stolen rig comes back": (
        ["DELETE FROM denied_client WHERE client = 'rig:rig-burnt'"],
        {"ledger.denial.missing"},
    ),
    "a used ticket is good again": (
        ["UPDATE rig_ticket SET spki = '', certificate = NULL"],
        {"ledger.ticket.older"},
    ),
    "a unit is set back in its life": (
        [
            (
                "UPDATE unit SET state = 'made', reason = '', resumes = NULL, since_us ="
                " (SELECT l.confirmed_us FROM life l WHERE l.unit_serial = unit.serial) WHERE serial = 'BM-000010'"
            )
        ],
        {"ledger.unit.older"},
    ),
    "a retired unit is active": (
        ["UPDATE unit SET state = 'active' WHERE serial = 'BM-000002'"],
        {"ledger.unit.altered"},
    ),
    "a suspended unit's certificate counts again": (
        [
            "UPDATE life SET dies_us = NULL, ending = NULL WHERE unit_serial = 'BM-000010'",
            "DELETE FROM hold WHERE serial IN (SELECT serial FROM life WHERE unit_serial = 'BM-000010')",
        ],
        {"ledger.ending.life", "ledger.hold.missing"},
    ),
    "a revocation is taken back with its decision": (
        [
            "UPDATE life SET dies_us = NULL, ending = NULL WHERE unit_serial = 'BM-000003'",
            "DELETE FROM ending WHERE serial IN (SELECT serial FROM life WHERE unit_serial = 'BM-000003')",
        ],
        {"ledger.ending.life", "ledger.ending.missing", "ledger.ending.gap"},
    ),
    "the grace time of a ghost is made longer": (
        ["UPDATE life SET dies_us = dies_us + 1 WHERE unit_serial = 'BM-000004' AND ending = 'unconfirmed'"],
        {"ledger.ending.life"},
    ),
    "a birth is undone": (
        ["UPDATE life SET confirmed_us = NULL WHERE unit_serial = 'BM-000031'"],
        {"ledger.birth.state"},
    ),
    "a birth is invented": (
        ["UPDATE life SET confirmed_us = 1 WHERE unit_serial = 'BM-000004'"],
        {"ledger.birth.state"},
    ),
    "an order that nobody approved is open": (
        ["UPDATE production_order SET approved_us = 1 WHERE id = 'order-4'"],
        {"ledger.order.altered"},
    ),
    "an order that was dropped is reopened": (
        ["UPDATE production_order SET closed_us = NULL WHERE id = 'order-2'"],
        {"ledger.order.older"},
    ),
    "an extension is taken back": (
        [
            (
                "UPDATE production_order SET quantity = 100, document = (SELECT id FROM proposal WHERE number = 1)"
                " WHERE id = 'order-1'"
            )
        ],
        {"ledger.order.older"},
    ),
    "a quota is given back": (["UPDATE production_order SET units = units - 1"], {"ledger.quota.count"}),
    "a unit loses its place, and the count follows": (
        [
            "DELETE FROM order_unit WHERE unit_serial = 'BM-000031'",
            "UPDATE production_order SET units = units - 1 WHERE id = 'order-1'",
        ],
        {"ledger.quota.place"},
    ),
    "a scrapped unit may be made again": (
        ["UPDATE order_unit SET scrapped = 0 WHERE unit_serial = 'BM-000020'"],
        {"ledger.mark.missing"},
    ),
    "a rework is not counted": (
        ["UPDATE order_unit SET reworked = 0 WHERE unit_serial = 'BM-000021'"],
        {"ledger.mark.missing"},
    ),
    "a rejection becomes an approval": (
        ["UPDATE ruling SET state = 'approved' WHERE state = 'rejected'"],
        {"ledger.ruling.altered", "ledger.ruling.document"},
    ),
    "an expired proposal is open again": (
        ["DELETE FROM ruling WHERE state = 'expired'"],
        {"ledger.ruling.missing"},
    ),
    "a consumed nonce is open again": (
        ["DELETE FROM nonce_use WHERE serial = (SELECT serial FROM issuance WHERE unit_serial = 'BM-000031')"],
        {"ledger.nonce.reopened"},
    ),
    "a retired root is handed out again": (["DELETE FROM retired_root"], {"ledger.root.missing"}),
    "an older policy is in force again": (
        [
            "UPDATE policy SET number = 99 WHERE number = 1",
            "UPDATE policy SET number = 1 WHERE number = 2",
            "UPDATE policy SET number = 2 WHERE number = 99",
        ],
        {"ledger.policy.order"},
    ),
    "an older configuration is in force again": (
        [
            "UPDATE configuration SET number = 99 WHERE number = 1",
            "UPDATE configuration SET number = 1 WHERE number = 2",
            "UPDATE configuration SET number = 2 WHERE number = 99",
        ],
        {"ledger.configuration.order"},
    ),
    "a checkpoint signs for another root": (
        ["UPDATE checkpoint SET note = (SELECT note FROM checkpoint c ORDER BY size LIMIT 1)"],
        {"ledger.checkpoint.altered"},
    ),
}


@pytest.mark.parametrize(("statements", "findings"), ATTACKS.values(), ids=ATTACKS.keys())
def test_what_somebody_gains_by_is_found_and_nothing_else_with_it(
    ledger: Tampering, statements: list[str], findings: set[str]
) -> None:
    assert ledger.findings(*statements) == findings


ENTRIES = {
    "enrol": "ledger.certificate.unlogged",
    "birth": "ledger.entry.previous",
    "revoke": "ledger.ending.unlogged",
    "hold": "ledger.ending.unlogged",
    "lapse": "ledger.ending.unlogged",
    "unit.suspend": "ledger.unit.altered",
    "unit.scrap": "ledger.mark.unlogged",
    "deny": "ledger.denial.unlogged",
    "propose": "ledger.proposal.unlogged",
    "approve": "ledger.ruling.unlogged",
    "order.extend": "ledger.order.altered",
    "root.retire": "ledger.root.unlogged",
    "policy.in-force": "ledger.policy.unlogged",
    "configuration.changed": "ledger.configuration.unlogged",
}


@pytest.mark.parametrize("act", ENTRIES)
def test_entries_taken_out_of_the_log_are_found_in_the_tables_too(ledger: Tampering, act: str) -> None:
    statement = f'DELETE FROM leaf WHERE {ledger.entry_text} LIKE \'%"act":"{act}"%\''
    assert ledger.findings(statement) >= {ENTRIES[act], "ledger.checkpoint.altered"}


def test_everything_about_a_certificate_taken_out_of_the_tables_is_found(ledger: Tampering) -> None:
    last = "(SELECT serial FROM issuance ORDER BY number DESC LIMIT 1)"
    assert "ledger.certificate.missing" in ledger.findings(
        f"DELETE FROM birth WHERE certificate_sha256 = (SELECT sha256 FROM certificate WHERE serial = {last})",
        f"DELETE FROM certificate WHERE serial = {last}",
        f"DELETE FROM life WHERE serial = {last}",
        f"DELETE FROM issuance WHERE serial = {last}",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE unit SET state = 'no such state', since_us = 9223372036854775807",
        "UPDATE production_order SET chip_models = '[', first_unit = '?'",
        "UPDATE policy SET files = '[1'",
        "UPDATE policy SET files = '[]'",
        "UPDATE birth SET jws = '...'",
        "UPDATE life SET expires_us = -9223372036854775807",
        "UPDATE checkpoint SET note = ''",
    ],
)
def test_what_no_program_has_written_is_a_finding_and_no_failure(ledger: Tampering, statement: str) -> None:
    assert ledger.findings(statement)
