# SPDX-License-Identifier: Apache-2.0
"""Requests that are settled together do not fail together for what only one of them has done."""

import pytest
from msgspec.structs import replace

from birthmark.ca.errors import CAError, NotNow, Refused
from birthmark.ca.issuing.jobs import RefusedJob
from birthmark.core.audit import AUDIT_MAX_BYTES
from birthmark.core.errors import StoreError
from birthmark.est.messages import NonceRequest
from support.ca_parts import ORDER, CAParts, FaultyStore


def boards(parts: CAParts, count: int) -> list[bytes]:
    """Return the requests of so many boards."""
    made = [parts.board(f"BM-{number:06d}") for number in range(count)]
    return [board.csr(parts.nonce(board.unit)) for board in made]


@pytest.mark.parametrize("finding", ["store.conflict", "store.failed"])
@pytest.mark.parametrize("healthy", [0, 1])
def test_a_row_that_the_ledger_refuses_does_not_cost_the_other_requests(
    parts: CAParts, finding: str, healthy: int
) -> None:
    refused = StoreError("the database refuses the row", finding=finding)
    ca = parts.service(FaultyStore(parts.store, [*[None] * healthy, refused]))
    outcomes = ca.settle([ca.enrolment(parts.client(), ORDER, csr) for csr in boards(parts, 3)])
    assert [type(outcome) for outcome in outcomes] == [bytes] * 3
    assert parts.states() == ["issued"] * 3
    assert parts.units_taken() == 3
    assert list(parts.administration.check()) == []


def test_only_the_request_whose_row_is_refused_again_and_again_is_put_off(parts: CAParts) -> None:
    refused = StoreError("the database refuses the row", finding="store.conflict")
    # Together; then the first one (intent, record), the second one, which fails again, and the third one.
    ca = parts.service(FaultyStore(parts.store, [refused, None, None, refused]))
    outcomes = ca.settle([ca.enrolment(parts.client(), ORDER, csr) for csr in boards(parts, 3)])
    assert [type(outcome) for outcome in outcomes] == [bytes, NotNow, bytes]


def test_a_request_that_nobody_can_settle_fails_alone(parts: CAParts, caplog: pytest.LogCaptureFixture) -> None:
    refusal = Refused(403, "ca.1.rig", "no")
    row = replace(parts.ca.nonce_wish(parts.client(), ORDER, NonceRequest(unit="BM-000009")).trail.row(), who="w")
    poison = RefusedJob(refusal, replace(row, who="x" * AUDIT_MAX_BYTES))
    wish = parts.ca.nonce_wish(parts.client(), ORDER, NonceRequest(unit="BM-000001"))
    lost, granted, told = parts.ca.settle([poison, wish, RefusedJob(refusal, row)])
    assert isinstance(lost, CAError)
    assert (lost.finding, lost.status) == ("ca.failed", 500)
    assert isinstance(granted, bytes)
    assert told is refusal
    assert "a request could not be settled" in caplog.text


def test_a_ledger_that_is_away_is_asked_once_for_all(parts: CAParts) -> None:
    away = StoreError("the database does not answer", finding="store.unreachable")
    ca = parts.service(FaultyStore(parts.store, [away]))
    outcomes = ca.settle([ca.enrolment(parts.client(), ORDER, csr) for csr in boards(parts, 3)])
    assert [type(outcome) for outcome in outcomes] == [NotNow] * 3
    assert all(isinstance(outcome, NotNow) and outcome.__cause__ is away for outcome in outcomes)
