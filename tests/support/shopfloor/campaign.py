# SPDX-License-Identifier: Apache-2.0
"""The fault campaign: a shift with saboteurs, then what the books and the chips say. Returns figures; a test judges."""

import platform
import time
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from birthmark.testing.lab.record import RIGS
from support.shopfloor.building import Factory, factory
from support.shopfloor.delivery import Delivery, wanted
from support.shopfloor.faults import Floor, Saboteur, Services
from support.shopfloor.judgement import chips_that_differ, delivered, ledger_check, reconciled
from support.shopfloor.rigs import Rig
from support.shopfloor.shift import Shift

Figures = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How long a campaign is, and how hard."""

    boards: int
    seed: int
    latency: str
    with_mcu: int
    """Every so many-th board is reached over SMP."""
    strikes_per_panel: float
    """Of the services: the line waits for them, so that no campaign is an easy one."""


def fault_campaign(plan: Plan) -> Figures:
    """Run a campaign to its end and return what came of it."""
    began = time.monotonic()
    with (
        factory(plan.latency) as made,
        _delivery(made, plan) as coming,
        _rig(made, 0) as first,
        _rig(made, 1) as second,
    ):
        rigs = (first, second)
        shift = Shift(rigs, made.supplier, coming, Random(plan.seed))  # noqa: S311 no secret
        saboteurs = _saboteurs(made, shift, plan)
        # By the services alone: what is killed at the line needs a panel that runs.
        shift.may_begin = lambda panels: panels * plan.strikes_per_panel <= sum(saboteurs[0].struck.values())
        _work(shift, saboteurs)
        for rig in rigs:
            rig.end()
        worked_s = time.monotonic() - began
        return _figures(made, plan, shift, saboteurs) | {"worked_s": round(worked_s, 1)}


def _rig(made: Factory, number: int) -> Rig:
    name = RIGS[number]
    return Rig(name, made.rig_configs[name], made.places(name), made.home)


def _delivery(made: Factory, plan: Plan) -> Delivery:
    return Delivery(made.supplier, wanted(plan.boards, Random(plan.seed), plan.with_mcu))  # noqa: S311 no secret


def _saboteurs(made: Factory, shift: Shift, plan: Plan) -> tuple[Saboteur, ...]:
    # Each its own course of chance: their threads do not draw from one in an order that nobody knows.
    chances = [Random(f"{plan.seed}-{name}") for name in ("services", "floor")]  # noqa: S311 no secret
    decks = (Services(made, chances[0]).strikes(), Floor(shift, chances[1]).strikes())
    return tuple(
        Saboteur(name, deck, shift, chance)
        for name, deck, chance in zip(("services", "floor"), decks, chances, strict=True)
    )


def _work(shift: Shift, saboteurs: tuple[Saboteur, ...]) -> None:
    threads = shift.begin()
    for saboteur in saboteurs:
        saboteur.begin()
    try:
        for thread in threads:
            thread.join()
    except BaseException as problem:
        shift.problem = problem
        raise
    finally:
        for thread in (*threads, *saboteurs):
            thread.join()
    if shift.problem is not None:
        raise shift.problem


def _figures(made: Factory, plan: Plan, shift: Shift, saboteurs: tuple[Saboteur, ...]) -> Figures:
    delivered(made)
    relations, ledger, table = reconciled(made)
    outcomes = shift.outcomes.values()
    return {
        "seed": plan.seed,
        "boards": plan.boards,
        "latency": plan.latency,
        "machine": platform.machine(),
        "faults": dict(sum((each.struck for each in saboteurs), Counter[str]()) + shift.armed),
        "outcomes": dict(Counter(each.verdict for each in outcomes)),
        "kinds": dict(Counter(f"{each.board.kind} {each.verdict}" for each in outcomes)),
        "counts": dict(shift.counts),
        "starts": {rig.name: rig.starts for rig in shift.rigs},
        "panel_s": [round(each, 4) for each in shift.panel_s],
        "relations": [{**each, "found": len(each["found"])} for each in relations],
        "found": [each for relation in relations for each in relation["found"]],
        "table": table,
        "ledger_check": ledger_check(made),
        "certificates": dict(Counter(row["state"] for row in ledger)),
        "chips_that_differ": chips_that_differ(ledger, outcomes),
    }
