# SPDX-License-Identifier: Apache-2.0
"""
A worker is killed (SIGKILL) at every statement and every commit of what it does, in both databases.

Whatever it was doing and wherever it ended: tables, log and quota agree at once, the same request afterwards gets what
it asked for, once, and so does a request that comes with a new key instead.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from birthmark.ca.admin.administration import Administration
from birthmark.ca.errors import Refused
from birthmark.ca.life.lapses import write_lapses
from birthmark.ca.ports import CAStore, LedgerReader
from birthmark.ca.transparency.check import check_ledger
from birthmark.ca.transparency.log import Log, StoredTiles
from birthmark.core.issuance import Ending, Issuance
from birthmark.est.messages import NonceRequest
from birthmark.stores import ca_postgres
from birthmark.testing.forge import new_key
from birthmark.tlog.checkpoint import open_checkpoint
from birthmark.tlog.reading import prove_inclusion
from birthmark.tlog.tree import verify_stream
from support.ca_parts import AUTHORITY, NOW, ORDER, Board, CAParts, nonce_for, order
from support.campaign import rounds
from support.kills import Place, PostgresPlace, SQLitePlace, killed, relayed
from support.logs import ED25519_SIGNER
from support.postgres import PostgreSQL, postgresql

REPEATS_KILLED = rounds(short=0, campaign=12)
"""How often the repeat of a killed request is killed too, at random points."""
POINTS_MIN, POINTS_MAX = 5, 40
OTHERS = rounds(short=3, campaign=1)
TOGETHER = rounds(short=8, campaign=1)
"""Where one series has passed every point, another one over the same statements takes every so many only."""
SEED = 20261123

Act = Callable[[CAStore], object]
After = Callable[[CAParts], object]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, cluster: PostgreSQL) -> Iterator[Place]:
    if request.param == "sqlite":
        yield SQLitePlace(tmp_path / "ca.sqlite")
        return
    dsn = cluster.new_database()
    ca_postgres.migrate(dsn)
    with relayed(tmp_path, dsn) as relay:
        yield PostgresPlace(dsn, relay)


class Plant:
    """One authority; between its acts nothing of it is open."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._random = random.Random(SEED)  # noqa: S311 which point is killed is no secret
        self._units = itertools.count(1)
        store = place.open()
        self.parts = CAParts(store)
        self.parts.put_order(order(quantity=100_000, not_after=NOW + timedelta(days=1_000)))
        store.close()

    @contextmanager
    def open(self) -> Iterator[CAParts]:
        store = self._place.open()
        try:
            self.parts.store, self.parts.ca = store, self.parts.service(store)
            self.parts.administration = Administration(store, AUTHORITY, self.parts.clock)
            yield self.parts
        finally:
            store.close()

    def board(self) -> Board:
        return self.parts.board(f"BM-{next(self._units):06d}")

    def kill(self, act: Act, point: int) -> bool:
        """Kill the act at the point, and its repeats at points of their own; False if the act ended before."""
        if not killed(self._place, point, act):
            return False
        for _ in range(REPEATS_KILLED):
            with self.open() as parts:
                assert_agreement(parts)
            killed(self._place, self._random.randrange(POINTS_MAX), act)
        return True


def assert_agreement(parts: CAParts) -> None:
    """Tables, log and quota say the same, and no chip and no unit has two living certificates."""
    with parts.store.reading() as ledger:
        assert list(check_ledger(ledger, AUTHORITY)) == []
        issuances = list(ledger.issuances())
        assert ledger.order_use(ORDER, "").units == len({each.unit_serial for each in issuances})
    endless = [each for each in issuances if each.alive(parts.clock()) and each.ending is not Ending.ROTATED]
    for named in ([each.unit_serial for each in endless], [each.chip for each in endless]):
        assert len(named) == len(set(named))


def at_every_point(plant: Plant, prepared: Callable[[CAParts], tuple[Act, After]], step: int = 1) -> None:
    """Kill the act at point 0, 1, 2, ... until it is done before its point; each time see what can be done then."""
    for point in itertools.count(0, step):
        with plant.open() as parts:
            act, afterwards = prepared(parts)
        reached = plant.kill(act, point)
        with plant.open() as parts:
            assert_agreement(parts)
            afterwards(parts)
            assert_agreement(parts)
        if not reached:
            assert point >= POINTS_MIN, "the points were not counted"
            return


def of_unit(ledger_of: CAParts, unit: str) -> tuple[Issuance, ...]:
    with ledger_of.store.reading() as ledger:
        return ledger.issuances_of_unit(unit)


def only_living(parts: CAParts, board: Board) -> Issuance:
    (living,) = [each for each in of_unit(parts, board.unit) if each.alive(parts.clock())]
    return living


def test_a_nonce_is_granted_when_it_is_asked_for_again(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        board = plant.board()

        def act(store: CAStore) -> None:
            parts.service(store).grant_nonce(parts.client(), ORDER, NonceRequest(unit=board.unit))

        return act, lambda again: bool(again.confirmed(board))

    at_every_point(plant, prepared)


def test_the_same_request_gets_the_one_certificate(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        board = plant.board()
        csr = board.csr(parts.nonce(board.unit))

        def repeated(again: CAParts) -> None:
            certificate = again.enrol(csr)
            assert again.enrol(csr) == certificate
            (issuance,) = of_unit(again, board.unit)
            assert issuance.serial == f"{certificate.serial_number:x}"
            again.ca.take_birth(again.client(), again.birth(board, certificate))

        return lambda store: parts.service(store).enrol(parts.client(), ORDER, csr), repeated

    at_every_point(plant, prepared)


def test_a_request_with_a_new_key_supersedes_what_was_begun(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        board = plant.board()
        csr = board.csr(parts.nonce(board.unit))

        def came_anew(again: CAParts) -> None:
            other = replace(board, key=new_key())
            certificate = again.born(other)
            assert certificate.public_key() == other.key.public_key()
            assert only_living(again, board).serial == f"{certificate.serial_number:x}"
            with pytest.raises(Refused):
                again.enrol(csr)

        return lambda store: parts.service(store).enrol(parts.client(), ORDER, csr), came_anew

    at_every_point(plant, prepared, OTHERS)


def test_a_birth_is_taken_once(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        board = plant.board()
        token = parts.birth(board, parts.born(board))

        def repeated(again: CAParts) -> None:
            again.ca.take_birth(again.client(), token)
            assert only_living(again, board).confirmed_at is not None

        return lambda store: parts.service(store).take_birth(parts.client(), token), repeated

    at_every_point(plant, prepared)


def prepared_renewal(plant: Plant, parts: CAParts) -> tuple[Board, x509.Certificate, bytes]:
    board = plant.board()
    current = parts.confirmed(board)
    return board, current, board.renewal_csr(new_key(), nonce_for(parts, current), current)


def open_ended(parts: CAParts, board: Board) -> str:
    (serial,) = [each.serial for each in of_unit(parts, board.unit) if each.dies_at is None]
    return serial


def test_the_same_renewal_gets_the_one_next_certificate(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        board, current, csr = prepared_renewal(plant, parts)

        def repeated(again: CAParts) -> None:
            successor = x509.load_der_x509_certificate(again.ca.renew(again.device(current), csr))
            assert len(of_unit(again, board.unit)) == 2
            assert open_ended(again, board) == f"{successor.serial_number:x}"

        return lambda store: parts.service(store).renew(parts.device(current), csr), repeated

    at_every_point(plant, prepared)


def test_a_renewal_with_a_new_key_supersedes_what_was_begun(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        board, current, csr = prepared_renewal(plant, parts)

        def came_anew(again: CAParts) -> None:
            other = board.renewal_csr(new_key(), nonce_for(again, current), current)
            successor = x509.load_der_x509_certificate(again.ca.renew(again.device(current), other))
            assert open_ended(again, board) == f"{successor.serial_number:x}"

        return lambda store: parts.service(store).renew(parts.device(current), csr), came_anew

    at_every_point(plant, prepared, OTHERS)


def test_requests_that_were_settled_together_are_each_repeated(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        first, second, third, fourth = (plant.board() for _ in range(4))
        csrs = [board.csr(parts.nonce(board.unit)) for board in (first, second)]
        token = parts.birth(third, parts.born(third))

        def act(store: CAStore) -> None:
            ca, rig, unknown = parts.service(store), parts.client(), parts.client("rig-z")
            wanted = ca.nonce_wish(rig, ORDER, NonceRequest(unit=fourth.unit))
            enrolments = [ca.enrolment(rig, ORDER, csr) for csr in csrs]
            ca.settle([*enrolments, ca.birth_report(rig, token), wanted, ca.enrolment(unknown, ORDER, csrs[0])])

        def repeated(again: CAParts) -> None:
            for board, csr in zip((first, second), csrs, strict=True):
                again.ca.take_birth(again.client(), again.birth(board, again.enrol(csr)))
            again.ca.take_birth(again.client(), token)
            again.confirmed(fourth)
            for board in (first, second, third, fourth):
                assert len(of_unit(again, board.unit)) == 1

        return act, repeated

    at_every_point(plant, prepared, TOGETHER)


def test_a_refusal_that_was_answered_is_in_the_log(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        board = plant.board()
        csr = board.csr(parts.nonce(board.unit))

        def act(store: CAStore) -> None:
            with pytest.raises(Refused):
                parts.service(store).enrol(parts.client("rig-z"), ORDER, csr)

        def logged(again: CAParts) -> None:
            before = len(list(again.administration.audit()))
            with suppress(Refused):
                again.ca.enrol(again.client("rig-z"), ORDER, csr)
            (row,) = list(again.administration.audit())[before:]
            assert row["finding"] == "ca.1.order-rig"
            again.enrol(csr)

        return act, logged

    at_every_point(plant, prepared)


def test_what_lapses_is_written_down_once(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        parts.certify_rigs()
        boards = plant.board(), plant.board()
        for board in boards:
            parts.born(board)
        parts.clock.forward(days=1)

        def repeated(again: CAParts) -> None:
            write_lapses(again.store, again.clock)
            assert write_lapses(again.store, again.clock) == 0
            for board in boards:
                with again.store.reading() as ledger:
                    acts = [entry for _, entry in ledger.entries_of_unit(board.unit) if b'"act":"lapse"' in entry]
                assert len(acts) == 1

        return lambda store: write_lapses(store, parts.clock), repeated

    at_every_point(plant, prepared)


def test_the_log_is_published_without_a_gap(place: Place) -> None:
    plant = Plant(place)

    def prepared(parts: CAParts) -> tuple[Act, After]:
        for _ in range(2):
            parts.born(plant.board())
        return lambda store: Log(store, ED25519_SIGNER).publish(), published

    def published(again: CAParts) -> None:
        size = Log(again.store, ED25519_SIGNER).publish()
        with again.store.reading() as ledger:
            assert ledger.log_size() == size
            assert_whole(ledger, size)

    at_every_point(plant, prepared)


def assert_whole(ledger: LedgerReader, size: int) -> None:
    """Every entry is in the tree that the latest checkpoint signs for."""
    note = ledger.checkpoint()
    assert note is not None
    head = open_checkpoint(note.encode(), (ED25519_SIGNER.verifier,)).head
    assert head.size == size
    verify_stream(ledger.entries(0, size), head)
    prove_inclusion(StoredTiles(ledger), size - 1, head)
