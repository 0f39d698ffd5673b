# SPDX-License-Identifier: Apache-2.0
"""Two rigs, two workers, one chip: whoever comes second finds what the first has done."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from birthmark.ca.errors import CAError, Refused
from birthmark.ca.ports import CAStore, Ledger, LedgerReader
from birthmark.est.messages import NonceRequest
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.forge import new_key
from support.ca_parts import ORDER, CAParts, nonce_for, order

ROUNDS = 5


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[SQLiteCAStore, SQLiteCAStore]]:
    """Two connections to one file, as two worker processes have them."""
    both = SQLiteCAStore(tmp_path / "ca.sqlite"), SQLiteCAStore(tmp_path / "ca.sqlite")
    yield both
    for store in both:
        store.close()


def together(*calls: Callable[[], bytes]) -> list[bytes | CAError]:
    """Run the calls in threads that start at one moment; return what each gave or raised."""
    barrier = threading.Barrier(len(calls))
    results: list[bytes | CAError] = []

    def run(call: Callable[[], bytes]) -> None:
        barrier.wait()
        try:
            results.append(call())
        except CAError as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def race(
    stores: tuple[SQLiteCAStore, SQLiteCAStore], requests: Callable[[CAParts, int], tuple[bytes, bytes]]
) -> tuple[CAParts, list[list[bytes | CAError]]]:
    """Let rig-a at one worker race rig-b at the other, several times."""
    parts = CAParts(stores[0])
    workers = parts.service(stores[0]), parts.service(stores[1])
    rounds = []
    for number in range(ROUNDS):
        one, two = requests(parts, number)
        rounds.append(
            together(
                lambda one=one: workers[0].enrol(parts.client("rig-a"), ORDER, one),
                lambda two=two: workers[1].enrol(parts.client("rig-b"), ORDER, two),
            )
        )
    return parts, rounds


def nonces(parts: CAParts, unit: str) -> tuple[bytes, bytes]:
    """Return a good nonce for each rig: the second was given when the first had expired, and the clock went back."""
    first = parts.nonce(unit, "rig-a")
    parts.clock.forward(seconds=60)
    second = parts.nonce(unit, "rig-b")
    parts.clock.forward(seconds=-30)
    return first, second


def test_one_key_at_both_rigs_gets_one_certificate(stores: tuple[SQLiteCAStore, SQLiteCAStore]) -> None:
    def requests(parts: CAParts, number: int) -> tuple[bytes, bytes]:
        board = parts.board(f"BM-{number:06d}")
        first, second = nonces(parts, board.unit)
        return board.csr(first), board.csr(second)

    parts, rounds = race(stores, requests)
    for results in rounds:
        assert len(set(results)) == 1
    assert parts.states() == ["issued"] * ROUNDS
    assert parts.units_taken() == ROUNDS


def test_two_keys_of_one_chip_at_both_rigs_leave_one_living_certificate(
    stores: tuple[SQLiteCAStore, SQLiteCAStore],
) -> None:
    def requests(parts: CAParts, number: int) -> tuple[bytes, bytes]:
        board = parts.board(f"BM-{number:06d}")
        first, second = nonces(parts, board.unit)
        return board.csr(first), replace(board, key=new_key()).csr(second)

    parts, _ = race(stores, requests)
    assert len(parts.living()) == ROUNDS
    assert len({row["unit_serial"] for row in parts.living()}) == ROUNDS
    assert parts.units_taken() == ROUNDS


def test_one_request_at_two_workers_gets_one_certificate(stores: tuple[SQLiteCAStore, SQLiteCAStore]) -> None:
    parts = CAParts(stores[0])
    workers = parts.service(stores[0]), parts.service(stores[1])
    csr = parts.board().csr(parts.nonce())
    calls = [lambda ca=ca: ca.enrol(parts.client(), ORDER, csr) for ca in (*workers, *workers)]
    assert len(set(together(*calls))) == 1
    assert parts.states() == ["issued"]


class InterruptedStore:
    """
    A store before one of whose transactions something else happens.

    By default before the second: of an issuance, that is between signature and record.
    """

    def __init__(self, store: CAStore, interruption: Callable[[], object], *, undisturbed: int = 1) -> None:
        self._store = store
        self._pending = [*[lambda: None] * undisturbed, interruption]

    def reading(self) -> AbstractContextManager[LedgerReader]:
        return self._store.reading()

    def writing(self) -> AbstractContextManager[Ledger]:
        if self._pending:
            self._pending.pop(0)()
        return self._store.writing()

    def close(self) -> None:
        self._store.close()


def test_a_certificate_that_was_superseded_while_it_was_signed_is_not_given_out() -> None:
    parts = CAParts()
    board = parts.board()
    later = replace(board, key=new_key())
    store = InterruptedStore(parts.store, lambda: parts.born(later, "rig-b"))
    with pytest.raises(Refused) as refused:
        parts.service(store).enrol(parts.client(), ORDER, board.csr(parts.nonce()))
    assert (refused.value.status, refused.value.finding) == (409, "ca.7.superseded")
    assert parts.states() == ["superseded", "issued"]


def test_a_renewal_does_not_outrun_the_revocation_of_the_device() -> None:
    parts = CAParts()
    board = parts.board()
    current = parts.confirmed(board)
    csr = board.renewal_csr(new_key(), nonce_for(parts, current), current)
    store = InterruptedStore(parts.store, lambda: revoke(parts, current), undisturbed=0)
    with pytest.raises(Refused) as refused:
        parts.service(store).renew(parts.device(current), csr)
    assert refused.value.finding == "ca.re.revoked"
    assert parts.states() == ["revoked"]


def test_a_birth_record_does_not_take_back_a_revocation_that_came_first() -> None:
    parts = CAParts()
    board = parts.board()
    certificate = parts.born(board)
    store = InterruptedStore(parts.store, lambda: revoke(parts, certificate), undisturbed=0)
    with pytest.raises(Refused) as refused:
        parts.service(store).take_birth(parts.client(), parts.birth(board, certificate))
    assert refused.value.finding == "ca.birth.dead"
    assert parts.states() == ["revoked"]


def revoke(parts: CAParts, certificate: x509.Certificate) -> None:
    """Revoke a moment after the request that is under way has read the clock."""
    parts.clock.forward(seconds=0.1)
    parts.administration.revoke(f"{certificate.serial_number:x}", "stolen")


def test_an_intent_that_another_worker_finished_is_answered_with_its_certificate() -> None:
    parts = CAParts()
    csr = parts.board().csr(parts.nonce())
    store = InterruptedStore(parts.store, lambda: parts.enrol(csr))
    first = parts.service(store).enrol(parts.client(), ORDER, csr)
    assert parts.ca.enrol(parts.client(), ORDER, csr) == first


def test_the_last_unit_of_an_order_goes_to_one_of_two(stores: tuple[SQLiteCAStore, SQLiteCAStore]) -> None:
    parts = CAParts(stores[0])
    parts.put_order(order(quantity=1))
    workers = parts.service(stores[0]), parts.service(stores[1])
    boards = parts.board("BM-000001"), parts.board("BM-000002")
    requests = [board.csr(parts.nonce(board.unit)) for board in boards]
    results = together(
        lambda: workers[0].enrol(parts.client(), ORDER, requests[0]),
        lambda: workers[1].enrol(parts.client(), ORDER, requests[1]),
    )
    refused = [result for result in results if isinstance(result, Refused)]
    assert [refusal.finding for refusal in refused] == ["ca.8.quota"]
    assert len(parts.living()) == 1


def test_one_unit_is_leased_to_one_of_two_rigs(stores: tuple[SQLiteCAStore, SQLiteCAStore]) -> None:
    parts = CAParts(stores[0])
    workers = parts.service(stores[0]), parts.service(stores[1])
    results = together(
        lambda: workers[0].grant_nonce(parts.client("rig-a"), ORDER, NonceRequest(unit="BM-000001")).nonce,
        lambda: workers[1].grant_nonce(parts.client("rig-b"), ORDER, NonceRequest(unit="BM-000001")).nonce,
    )
    refused = [result for result in results if isinstance(result, Refused)]
    assert [refusal.finding for refusal in refused] == ["ca.6.unit-in-work"]
