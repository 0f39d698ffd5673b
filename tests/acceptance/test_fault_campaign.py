# SPDX-License-Identifier: Apache-2.0
"""
Boards at two rigs at once, while rigs, CA, HSM, MES, links and power are killed at random: nothing is lost or doubled.

Everything is a process of its own: two stations over one store of units (PostgreSQL), two CA workers over one ledger
(PostgreSQL) with their issuing key in an HSM, three MES, a chip for each board. Afterwards the reconciler must find
that the ledger, both journals and every MES agree row by row, and the chips must hold what the books say.
"""

from support.campaign import keep, rounds, seed
from support.shopfloor.campaign import Plan, fault_campaign

SEED = 20261123
BOARDS = rounds(short=20, campaign=2000)
# The short series waits until everything was struck; the long one is not held up by how long a CA takes to start.
STRIKES_PER_PANEL = rounds(short=0.7, campaign=0.35)
WITH_MCU = rounds(short=3, campaign=8)
KINDS = {
    "CA worker killed",
    "HSM killed",
    "MES file away",
    "MES webhook killed",
    "MES database closed",
    "PostgreSQL killed",
    "rig killed",
    "rig ended (SIGTERM)",
    "chip's link killed",
    "board's MCU killed",
    "power off",
    "voltage sags",
}


def test_two_rigs_lose_nothing_and_double_nothing_whatever_is_killed() -> None:
    plan = Plan(BOARDS, seed(SEED), "optiga-trust-m", WITH_MCU, STRIKES_PER_PANEL)
    figures = fault_campaign(plan)
    keep("fault-campaign", figures)
    what = f"seed {plan.seed}: "
    assert figures["found"] == [], what + figures["table"]
    assert all(each["compared"] > 0 for each in figures["relations"]), what + figures["table"]
    assert figures["chips_that_differ"] == [], what
    assert figures["ledger_check"] == "the tables and the log agree\n", what
    # A good board passes in the end, and no other one does.
    assert {kind.rpartition(" ")[0] for kind in figures["kinds"] if kind.endswith("PASS")} == {"good"}, what
    good = sum(count for kind, count in figures["kinds"].items() if kind.startswith("good "))
    assert good == figures["certificates"]["confirmed"], what
    assert {kind for kind in figures["kinds"] if not kind.startswith("good ")} == {
        "broken FAIL",
        "debuggable QUARANTINE",
    }, what
    assert set(figures["faults"]) >= KINDS, what + str(figures["faults"])
    assert figures["counts"]["panels cut short"] > 0, what
