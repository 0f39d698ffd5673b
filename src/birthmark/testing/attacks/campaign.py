# SPDX-License-Identifier: Apache-2.0
"""Runs the whole catalogue against one lab."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from birthmark.testing.attacks import (
    afterlife,
    algorithm,
    cloning,
    crowds,
    edge,
    extraction,
    history,
    insider,
    orders,
    transition,
    twin,
)
from birthmark.testing.attacks.catalogue import Attack, Result, carry_out
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.attacks.witness import Witness
from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.processes import is_running
from birthmark.testing.lab.record import Lab, load
from birthmark.testing.lab.start import lab_down, lab_up

CATALOGUE: tuple[Attack, ...] = (
    *cloning.ATTACKS,
    *extraction.ATTACKS,
    *algorithm.ATTACKS,
    *insider.ATTACKS,
    *history.ATTACKS,
    *orders.ATTACKS,
    *twin.ATTACKS,
    *transition.ATTACKS,
    *afterlife.ATTACKS,
    *edge.ATTACKS,
    *crowds.ATTACKS,
)


def run_campaign(directory: Path | None) -> Iterator[Result]:
    """Yield the result of each attack on the lab in `directory`, or on one that is started for this and ended."""
    if directory is not None:
        yield from attack_lab(_running(directory))
        return
    with _own_lab() as lab:
        yield from attack_lab(lab)


def attack_lab(lab: Lab) -> Iterator[Result]:
    """Yield the result of each attack on a running lab."""
    with Intruder(lab) as intruder, Witness.of(lab) as witness:
        for attack in CATALOGUE:
            yield carry_out(attack, intruder, witness)


def _running(directory: Path) -> Lab:
    lab = load(directory)
    ended = [process.name for process in lab.processes if not is_running(process)]
    if ended:
        raise LabError(
            f"the lab in {directory} does not run: {', '.join(ended)}", hint="start another: birthmark lab up"
        )
    return lab


@contextmanager
def _own_lab() -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="birthmark-") as directory:
        lab = lab_up(Path(directory), boards=1, chip="none", hsm=False)
        try:
            yield lab
        finally:
            lab_down(Path(directory))
