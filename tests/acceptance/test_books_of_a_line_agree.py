# SPDX-License-Identifier: Apache-2.0
"""`birthmark line reconcile` over a real line: its books agree, until somebody takes a row away."""

import json
from pathlib import Path

import pytest

from birthmark.cli.exits import Exit
from birthmark.testing.lab.record import Lab
from support.labs import birthmark, run_panel


@pytest.fixture
def export(lab: Lab) -> Path:
    """A panel was made; what the ledger then has is in this file."""
    assert {each["verdict"] for each in run_panel(lab).values()} == {"PASS"}
    run_panel(lab, "rig-b")
    path = lab.path / "ledger.jsonl"
    done = birthmark("ca", "ledger", "export", "--config", lab.ca_config)
    assert done.returncode == Exit.OK, done.stderr
    path.write_text(done.stdout)
    return path


def reconcile(lab: Lab, export: Path, *more: str) -> tuple[int, str]:
    configs = [part for path in lab.rig_configs.values() for part in ("--config", path)]
    done = birthmark("line", "reconcile", *configs, "--certificates", export, *more)
    assert done.returncode in {Exit.OK, Exit.NOT_HELD}, done.stderr
    return done.returncode, done.stdout


def test_the_books_agree_and_a_table_says_so(lab: Lab, export: Path) -> None:
    code, text = reconcile(lab, export)
    assert (code, text.splitlines()[-1]) == (Exit.OK, "The books agree.")
    told = json.loads(reconcile(lab, export, "--json")[1])["relations"]
    assert all(each["compared"] > 0 and each["found"] == [] for each in told)


def test_a_row_that_is_missing_at_the_mes_is_told_with_its_unit(lab: Lab, export: Path) -> None:
    births = Path(lab.births)
    kept = [line for line in births.read_text().splitlines() if json.loads(line)["event"] != "unit.born"]
    births.write_text("".join(f"{line}\n" for line in kept))
    code, text = reconcile(lab, export)
    assert code == Exit.NOT_HELD
    assert text.count("reconcile.mes.gap") == 1 + len(lab.boards)
    assert all(board.unit in text for board in lab.boards)


def test_a_row_that_is_missing_in_the_ledger_is_a_lost_birth(lab: Lab, export: Path) -> None:
    first, *others = export.read_text().splitlines()
    export.write_text("\n".join((*others, "")))
    code, text = reconcile(lab, export, "--json")
    assert code == Exit.NOT_HELD
    lost = {
        found["unit"]
        for relation in json.loads(text)["relations"]
        for found in relation["found"]
        if found["finding"] == "reconcile.birth.lost"
    }
    assert lost == {json.loads(first)["unit_serial"]}


@pytest.mark.parametrize("content", ["{}\n", "nothing\n", None])
def test_an_export_that_is_none_is_one_clear_error(lab: Lab, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ledger.jsonl"
    if content is not None:
        path.write_text(content)
    done = birthmark("line", "reconcile", "--config", lab.rig_configs["rig-a"], "--certificates", path)
    assert done.returncode in {Exit.INPUT, Exit.NOT_HELD}
    assert len(done.stderr.splitlines()) == 1
    assert str(path) in done.stderr
