# SPDX-License-Identifier: Apache-2.0
"""What is found when the shift is over: by the reconciler, by the ledger's own check, and in the chips themselves."""

import json
from collections.abc import Iterable
from typing import Any

from birthmark.cli.exits import Exit
from support.labs import birthmark
from support.shopfloor.building import Factory
from support.shopfloor.shift import PASSED, Outcome

DELIVERIES = 5
Row = dict[str, Any]


def delivered(factory: Factory) -> None:
    """Let both rigs deliver what still waits. Nothing may have been parked: no MES has refused anything."""
    for config in factory.rig_configs.values():
        standing = json.loads(_done("line", "outbox", "list", "--config", config, "--json"))
        assert standing["parked"] == []
        for _ in range(DELIVERIES):
            said = json.loads(_done("line", "deliver", "--config", config, "--json").splitlines()[-1])
            if said["outbox"] == 0:
                break
        assert said == {"event": "deliver.end", "outbox": 0}


def reconciled(factory: Factory) -> tuple[list[Row], list[Row], str]:
    """Return what the reconciler found in each relation, the ledger's rows, and the table as people see it."""
    export = factory.home / "ledger.jsonl"
    export.write_text(_done("ca", "ledger", "export", "--config", factory.workers[0].config))
    configs = [part for path in factory.rig_configs.values() for part in ("--config", path)]
    asked = ("line", "reconcile", *configs, "--certificates", export, "--mes", factory.webhook.folder / "taken")
    table = birthmark(*asked)
    relations = json.loads(birthmark(*asked, "--json").stdout)["relations"]
    return relations, [json.loads(line) for line in export.read_text().splitlines()], table.stdout


def ledger_check(factory: Factory) -> str:
    """Return what the ledger's tables and its log say of each other."""
    return birthmark("ca", "ledger", "check", "--config", factory.workers[0].config).stdout


def chips_that_differ(ledger: Iterable[Row], outcomes: Iterable[Outcome]) -> list[str]:
    """
    Return the units whose chip does not hold what the ledger says, which is what the world is and no book.

    A unit that passed has one confirmed certificate, for its own chip, which holds it. One that did not has none.
    """
    confirmed: dict[str, list[tuple[str, str]]] = {}
    for row in ledger:
        if row["state"] == "confirmed":
            confirmed.setdefault(row["unit_serial"], []).append((row["chip_serial"], row["certificate_sha256"]))
    wrong = []
    for each in outcomes:
        passed = each.verdict in PASSED
        holds = [(each.board.chip_serial, each.certificate_sha256)] if passed else []
        if confirmed.get(each.board.unit, []) != holds or bool(each.certificate_sha256) is not passed:
            wrong.append(f"{each.board.unit}: {each.verdict}, holds {holds}, ledger {confirmed.get(each.board.unit)}")
    return wrong


def _done(*arguments: Any) -> str:
    done = birthmark(*arguments)
    assert done.returncode == Exit.OK, done.stderr
    return done.stdout
