# SPDX-License-Identifier: Apache-2.0
"""The administration's calls about certificates, chips and units, over real mutual TLS; how strictly they are read."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from cryptography import x509

from birthmark.ca.config import load_config
from birthmark.ca.wiring import configured_store
from birthmark.core.audit import AuditRow, decode_row
from birthmark.core.birth import sign_birth
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.net.transport import Response
from birthmark.pki.authorities import make_rig
from birthmark.testing.forge import new_key
from support.ca_parts import Board, birth_record
from support.ca_process import CAFiles, RunningCA, running_ca
from support.offices import hire_all

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    hire_all(files)
    with running_ca(files) as running:
        yield running


def born(ca: RunningCA, unit: str, operator: str = "ada") -> tuple[Board, x509.Certificate]:
    """Enrol a board, and confirm its birth with a rig of its own day."""
    board, name = ca.files.board(unit), "rig-b"
    key = new_key()
    rig = make_rig(ca.files.operations, name, key.public_key(), ca.files.now)
    ca.files.identity(f"rig-b-{unit}", key, rig)
    est = ca.est(f"rig-b-{unit}")
    certificate = est.simpleenroll(board.csr(est.nonce(PKIX_EVIDENCE, unit).nonce))
    record = birth_record(board, certificate, rig=name, operator=operator)
    answer = ca.transport(f"rig-b-{unit}").request(
        "POST", "/v1/births", {"Content-Type": "application/jose"}, sign_birth(record, key, rig).encode()
    )
    assert answer.status == 204, answer.body
    return board, certificate


def told(answer: Response) -> Any:
    return msgspec.json.decode(answer.body)


def log(ca: RunningCA) -> list[AuditRow]:
    with configured_store(load_config(ca.files.config), ca.files.folder) as store, store.reading() as ledger:
        return [decode_row(entry) for entry in ledger.entries(0, 100_000)]


def test_certificates_come_by_pages_oldest_first_and_each_once(ca: RunningCA) -> None:
    units = [f"BM-0001{number:02}" for number in range(5)]
    for unit in units:
        born(ca, unit)
    found, after = [], 0
    while True:
        page = told(ca.transport("auditor").request("GET", f"/v1/certificates?after={after}&limit=2"))
        found += [each["unit_serial"] for each in page["certificates"]]
        assert len(page["certificates"]) <= 2
        if page["next"] is None:
            break
        after = page["next"]
    assert [unit for unit in found if unit in units] == units
    assert len(set(found)) == len(found)


def test_reading_a_units_history_is_in_the_log_with_who_and_why(ca: RunningCA) -> None:
    born(ca, "BM-000200", operator="grace")
    path = "/v1/units/BM-000200/history?reason=complaint%204711"
    history = told(ca.transport("auditor").request("GET", path))
    assert [each["state"] for each in history["certificates"]] == ["confirmed"]
    assert len(history["births"]) == 1
    assert {"enrol", "birth"} <= {each["act"] for each in history["entries"]}
    last = log(ca)[-1]
    assert (last.act, last.who, last.unit_serial) == ("unit.read", "auditor:Auditor Smith", "BM-000200")
    assert (last.detail, last.finding) == ("complaint 4711", "")
    again = told(ca.transport("auditor").request("GET", path))
    assert "unit.read" in {each["act"] for each in again["entries"]}


@pytest.mark.parametrize(
    "query", ["", "?reason=", "?reason=a%0Ab", "?reason=" + "a" * 501, "?why=a", "?reason=a&reason=b"]
)
def test_nobody_reads_a_history_without_saying_why(ca: RunningCA, query: str) -> None:
    before = len([row for row in log(ca) if row.act == "unit.read" and not row.finding])
    answer = ca.transport("auditor").request("GET", f"/v1/units/BM-000200/history{query}")
    assert (answer.status, told(answer)["finding"]) == (400, "ca.admin.query")
    assert len([row for row in log(ca) if row.act == "unit.read" and not row.finding]) == before


def test_an_officer_revokes_a_certificate_and_the_log_says_who_and_why(ca: RunningCA) -> None:
    _, certificate = born(ca, "BM-000300")
    serial = f"{certificate.serial_number:x}"
    path, body = f"/v1/certificates/{serial}/revocation", b'{"reason":"stolen"}'
    answer = ca.transport("security-officer").request("POST", path, JSON, body)
    assert told(answer) == {"revoked": [serial]}
    row = next(row for row in log(ca) if row.act == "revoke" and row.certificate == serial)
    assert (row.who, "stolen" in row.detail) == ("security-officer:Security-Officer Smith", True)


def test_a_unit_goes_through_its_life_as_its_people_say(ca: RunningCA) -> None:
    born(ca, "BM-000310")
    path, body = "/v1/units/BM-000310", b'{"reason":"said"}'
    lead, officer = "line-lead", "security-officer"
    for who, move, state in ((lead, "ship", "shipped"), (lead, "return", "returned"), (officer, "retire", "retired")):
        answer = ca.transport(who).request("POST", f"{path}/{move}", JSON, body)
        assert (answer.status, told(answer)["state"], told(answer)["reason"]) == (200, state, "said")
    assert told(ca.transport("auditor").request("GET", path))["state"] == "retired"
    late = ca.transport(lead).request("POST", f"{path}/ship", JSON, body)
    assert (late.status, told(late)["finding"]) == (409, "ca.unit.transition")
    rows = [row for row in log(ca) if row.unit_serial == "BM-000310" and row.act.startswith("unit.")]
    people = [("unit.ship", lead), ("unit.return", lead), ("unit.retire", officer)]
    assert [(row.act, row.who.partition(":")[0]) for row in rows] == people


@pytest.mark.parametrize("move", ["resume", "replace", "birth", "activate"])
def test_what_takes_two_persons_or_the_authority_has_no_call(ca: RunningCA, move: str) -> None:
    answer = ca.transport("security-officer").request("POST", f"/v1/units/BM-000310/{move}", JSON, b'{"reason":"a"}')
    assert answer.status == 404


def test_an_officer_revokes_all_that_a_unit_has(ca: RunningCA) -> None:
    _, certificate = born(ca, "BM-000320")
    path, body = "/v1/units/BM-000320/revocation", b'{"reason":"stolen"}'
    answer = ca.transport("security-officer").request("POST", path, JSON, body)
    assert told(answer) == {"revoked": [f"{certificate.serial_number:x}"]}
    unknown = ca.transport("security-officer").request("POST", "/v1/units/BM-999/revocation", JSON, body)
    assert (unknown.status, told(unknown)["finding"]) == (404, "ca.unit.unknown")


def test_an_officer_denies_an_attestation_key_and_all_under_it_end(ca: RunningCA) -> None:
    _, certificate = born(ca, "BM-000330")
    with configured_store(load_config(ca.files.config), ca.files.folder) as store, store.reading() as ledger:
        issuance = ledger.issuance(f"{certificate.serial_number:x}")
    assert issuance is not None
    path, body = f"/v1/attestation-keys/{issuance.ak_fingerprint}/denial", b'{"reason":"leaked"}'
    answer = ca.transport("security-officer").request("POST", path, JSON, body)
    assert told(answer) == {"ended": 1}
    bad = ca.transport("security-officer").request("POST", "/v1/attestation-keys/AB/denial", JSON, body)
    assert (bad.status, told(bad)["finding"]) == (404, "ca.admin.path")
    assert [row.detail for row in log(ca) if row.act == "deny"][-1].startswith("ak ")


def test_an_officer_denies_a_model(ca: RunningCA) -> None:
    path, body = "/v1/models/withdrawn-1/denial", b'{"reason":"its maker withdrew it"}'
    assert told(ca.transport("security-officer").request("POST", path, JSON, body)) == {"ended": 0}
    told_in_log = [(row.act, row.detail) for row in log(ca)[-2:]]
    assert told_in_log == [
        ("deny", "model withdrawn-1: its maker withdrew it"),
        ("settle", "model withdrawn-1: no certificate of it counts any more"),
    ]


def test_an_officer_denies_a_chip_and_what_it_has_is_revoked(ca: RunningCA) -> None:
    board, certificate = born(ca, "BM-000400")
    maker = ca.files.forge.maker.name
    path = f"/v1/chips/{maker.replace(' ', '%20')}/{board.chip.serial}/denial"
    answer = ca.transport("security-officer").request("POST", path, JSON, b'{"reason":"lost"}')
    assert told(answer) == {"revoked": [f"{certificate.serial_number:x}"]}
    states = [row for row in log(ca) if row.act == "deny" and row.chip_serial == board.chip.serial]
    assert len(states) == 1


@pytest.mark.parametrize(
    ("headers", "body", "status", "finding"),
    [
        (JSON, b'{"reason":"a","force":true}', 400, "ca.admin.body"),
        (JSON, b'{"reason":""}', 400, "ca.admin.body"),
        (JSON, b'{"reason":"a\\u0000b"}', 400, "ca.admin.body"),
        (JSON, b'{"reason":"\\ud800"}', 400, "ca.admin.body"),
        (JSON, b'{"reason":"a"} {}', 400, "ca.admin.body"),
        (JSON, b"\xff", 400, "ca.admin.body"),
        (JSON, b"[" * 60_000, 400, "ca.admin.body"),
        (JSON, b"", 400, "ca.admin.body"),
        (JSON, b" " * 65_537, 413, "net.body-too-large"),
        ({}, b'{"reason":"a"}', 415, "ca.admin.media-type"),
        ({"Content-Type": "text/json"}, b'{"reason":"a"}', 415, "ca.admin.media-type"),
        (JSON, b'{"reason":"a"}', 404, "ca.certificate.unknown"),
    ],
)
def test_a_body_is_read_strictly(
    ca: RunningCA, headers: dict[str, str], body: bytes, status: int, finding: str
) -> None:
    answer = ca.transport("security-officer").request("POST", "/v1/certificates/00ff/revocation", headers, body)
    assert (answer.status, told(answer)["finding"]) == (status, finding)


@pytest.mark.parametrize("unit", ["%00", "a%0Ab", "%F0%9F%92%A9%00", "a" * 129, "%E2%80%8B"])
def test_a_path_that_names_nothing_is_not_found(ca: RunningCA, unit: str) -> None:
    answer = ca.transport("auditor").request("GET", f"/v1/units/{unit}/history?reason=a")
    assert (answer.status, told(answer)["finding"]) == (404, "ca.admin.path")


def test_a_method_that_a_path_does_not_have_is_told_which_it_has(ca: RunningCA) -> None:
    answer = ca.transport("auditor").request("DELETE", "/v1/proposals")
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
