# SPDX-License-Identifier: Apache-2.0
"""The way of a board as work, against the chip's own frames and the line's own steps."""

from pathlib import Path

import pytest

from birthmark.line.journal import Step
from birthmark.line.observation import look
from birthmark.line.plan.board import STEPS, board_way
from birthmark.line.plan.scenario import Scenario
from birthmark.silicon.port import SLOT_IDENTITY, Algorithm
from birthmark.silicon.timing import LATENCIES
from support.line_bench import Bench
from support.plans import scenario

MODEL = LATENCIES["optiga-trust-m"]
TOLERANCE = 0.02


def busy_s(planned: Scenario) -> dict[Step, float]:
    return {work.step: sum(call.busy_s for call in work.calls) for work in board_way(planned)}


class Counted:
    """The bytes of each step of a fresh board, addresses included, on the simulated chip's bus."""

    def __init__(self, bench: Bench, certificate_bytes: int) -> None:
        self._bench, self._count = bench, 0
        write, read = bench.bus.writeto, bench.bus.readfrom
        bench.bus.writeto = lambda address, data: self._add(len(data)) or write(address, data)  # type: ignore[method-assign]
        bench.bus.readfrom = lambda address, count: self._add(count) or read(address, count)  # type: ignore[method-assign]
        chip = bench.open()
        certificate = bytes((1,)) * certificate_bytes
        self.steps = {
            Step.OBSERVE: self._of(lambda: look(chip)),
            Step.GENERATE: self._of(lambda: chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)),
            Step.ATTEST: self._of(lambda: chip.attest(SLOT_IDENTITY, bytes(32))),
            Step.ENROL: self._of(lambda: chip.sign(SLOT_IDENTITY, bytes(32))),
            Step.IMPORT: self._of(
                lambda: (chip.import_certificate(SLOT_IDENTITY, certificate), chip.get_certificate(SLOT_IDENTITY))
            ),
            Step.PROVE: self._of(lambda: chip.sign(SLOT_IDENTITY, bytes(32))),
            Step.RECORD: 0,
        }

    def _add(self, count: int) -> None:
        self._count += 1 + count

    def _of(self, act) -> int:  # noqa: ANN001 any call to a chip
        self._count = 0
        act()
        return self._count


@pytest.mark.parametrize("certificate_bytes", [500, 1000, 1500, 1700])
def test_the_bus_carries_what_the_simulated_chips_bus_carries(certificate_bytes: int, tmp_path: Path) -> None:
    counted = Counted(Bench(tmp_path), certificate_bytes).steps
    for work in board_way(scenario(("chip", "certificate_bytes", certificate_bytes))):
        modelled_s = sum(call.out_s + call.back_s for call in work.calls)
        assert modelled_s == pytest.approx(MODEL.bus_s(counted[work.step]), rel=TOLERANCE), work.step


def test_the_chip_is_busy_as_published() -> None:
    assert {step: seconds * 1e3 for step, seconds in busy_s(scenario()).items()} == pytest.approx(
        {
            Step.OBSERVE: 0,
            Step.GENERATE: 55,
            Step.ATTEST: 65,
            Step.ENROL: 65,
            Step.IMPORT: 7 * 5,
            Step.PROVE: 65,
            Step.RECORD: 0,
        }
    )


def test_a_larger_algorithm_takes_the_factor_of_its_key_and_leaves_the_attestation() -> None:
    small, large = (busy_s(scenario(("chip", "algorithm", name))) for name in ("P-256", "P-384"))
    assert large[Step.GENERATE] == pytest.approx(3 * small[Step.GENERATE])
    assert large[Step.PROVE] == pytest.approx(3 * small[Step.PROVE])
    assert large[Step.ATTEST] == small[Step.ATTEST]


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_every_algorithm_has_a_way(algorithm: Algorithm) -> None:
    way = board_way(scenario(("chip", "algorithm", algorithm.value)))
    assert tuple(work.step for work in way) == STEPS


def test_the_planner_knows_every_step_of_the_line_but_power() -> None:
    assert set(STEPS) == set(Step) - {Step.POWER}
