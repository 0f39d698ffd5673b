# SPDX-License-Identifier: Apache-2.0
"""Any sequence of births, confirmations, rotations, revocations, crashes and waiting keeps the ledger's rules."""

from contextlib import suppress
from dataclasses import replace

from cryptography import x509
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from birthmark.ca.errors import Refused
from birthmark.est.messages import NonceRequest
from birthmark.pki.crl import read_crl
from birthmark.testing.forge import new_key
from support.ca_parts import DONE, NOT_DONE, ORDER, Board, CAParts, Crash, FaultyStore, order

QUANTITY = 2
BOARDS = st.integers(0, QUANTITY)
RIGS = st.sampled_from(["rig-a", "rig-b"])
FAULTS = st.sampled_from([(NOT_DONE,), (DONE,), (None, NOT_DONE), (None, DONE)])


class Life(RuleBasedStateMachine):
    """One board more than the order has room for."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = CAParts()
        self.parts.put_order(order(quantity=QUANTITY))
        self.boards = [self.parts.board(f"BM-{number:06d}") for number in range(QUANTITY + 1)]
        self.certificates: dict[int, x509.Certificate] = {}

    @rule(number=BOARDS, rig=RIGS)
    def enrols(self, number: int, rig: str) -> None:
        with suppress(Refused):
            self.certificates[number] = self.parts.born(self.boards[number], rig)

    @rule(number=BOARDS, rig=RIGS)
    def enrols_with_a_new_key(self, number: int, rig: str) -> None:
        board = replace(self.boards[number], key=new_key())
        with suppress(Refused):
            self.certificates[number] = self.parts.born(board, rig)
            self.boards[number] = board

    @rule(number=BOARDS, faults=FAULTS)
    def crashes_while_it_enrols(self, number: int, faults: tuple[str | None, ...]) -> None:
        worker = self.parts.service(FaultyStore(self.parts.store, faults))
        with suppress(Refused, Crash):
            csr = self.boards[number].csr(self.parts.nonce(self.boards[number].unit))
            worker.enrol(self.parts.client(), ORDER, csr)

    @rule(number=BOARDS)
    def is_confirmed(self, number: int) -> None:
        if number in self.certificates:
            with suppress(Refused):
                token = self.parts.birth(self.boards[number], self.certificates[number])
                self.parts.ca.take_birth(self.parts.client(), token)

    @rule(number=BOARDS)
    def renews(self, number: int) -> None:
        if number in self.certificates:
            with suppress(Refused):
                self._renew(number)

    def _renew(self, number: int) -> None:
        board, current = self.boards[number], self.certificates[number]
        device, key = self.parts.device(current), new_key()
        nonce = self.parts.ca.grant_nonce(device, None, NonceRequest()).nonce
        new = self.parts.ca.renew(device, board.renewal_csr(key, nonce, current))
        self.certificates[number] = x509.load_der_x509_certificate(new)
        self.boards[number] = Board(board.unit, board.chip, key)

    @rule(number=BOARDS)
    def is_revoked(self, number: int) -> None:
        if number in self.certificates:
            self.parts.administration.revoke(f"{self.certificates[number].serial_number:x}", "any reason")

    @rule(hours=st.integers(1, 24 * 8))
    def time_goes_by(self, hours: int) -> None:
        self.parts.clock.forward(hours=hours)

    @invariant()
    def no_chip_and_no_unit_has_two_open_ended_lives(self) -> None:
        for name in ("unit_serial", "chip_serial"):
            lives = [row[name] for row in self.parts.living() if row["dies"] == ""]
            assert len(set(lives)) == len(lives)

    @invariant()
    def a_chip_has_one_living_certificate_and_one_more_while_it_rotates(self) -> None:
        for board in self.boards:
            living = [row for row in self.parts.living() if row["chip_serial"] == board.chip.serial]
            assert len(living) <= (2 if any(row["dies"] == "" for row in living) else 1)
            assert {row["unit_serial"] for row in living} <= {board.unit}

    @invariant()
    def the_order_gives_no_more_units_than_it_has(self) -> None:
        rows = list(self.parts.administration.certificates())
        assert len({row["unit_serial"] for row in rows}) == self.parts.units_taken() <= QUANTITY

    @invariant()
    def the_revocation_list_holds_all_that_do_not_live_and_nothing_else(self) -> None:
        self.parts.clock.forward(seconds=1)
        listed = read_crl(self.parts.crl(), self.parts.forge.issuing.certificate, self.parts.clock())
        living = {row["serial"] for row in self.parts.living()}
        every = {row["serial"] for row in self.parts.administration.certificates()}
        assert {f"{serial:x}" for serial in listed.serials} == every - living


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
