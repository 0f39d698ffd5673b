# SPDX-License-Identifier: Apache-2.0
"""Acceptance 5: "The MES was down for two hours." The line goes on; afterwards every birth arrives, in order, once."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from birthmark.testing.lab.record import Lab
from support.labs import birthmark, one_board_panel, run_panel
from support.postgres import PostgreSQL, postgresql


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    with postgresql() as cluster:
        yield cluster


@pytest.fixture
def lab_with_mes(lab: Lab, database: PostgreSQL) -> Lab:
    """The lab, with rig-a delivering to the database as well."""
    config = Path(lab.rig_configs["rig-a"])
    dsn = config.parent / "mes.dsn"
    dsn.touch(mode=0o600)
    dsn.write_text(database.dsn + "\n")
    config.write_text(f'mes_postgres_dsn_file = "{dsn}"\ndeliver_wait_s = 2.0\n' + config.read_text())
    return lab


def units(database: PostgreSQL) -> list[str]:
    """Return the units in the MES table in the order of their arrival."""
    with psycopg.connect(database.dsn) as connection:
        rows = connection.execute("select record->>'unit_serial' from birth order by xmin::text::bigint").fetchall()
    return [unit for (unit,) in rows]


def test_births_wait_for_the_mes_in_their_order_while_the_line_goes_on(lab_with_mes: Lab, database: PostgreSQL) -> None:
    lab = lab_with_mes
    database.stop()
    try:
        for number, board in reversed(list(enumerate(lab.boards))):
            verdict = run_panel(lab, panel=one_board_panel(lab, number))[board.unit]
            assert verdict["verdict"] == "PASS", verdict
        waiting = birthmark("line", "deliver", "--config", lab.rig_configs["rig-a"])
        assert waiting.stdout.startswith(f"{5 * len(lab.boards)} records still wait")
    finally:
        database.start()
    for _ in range(2):
        delivered = birthmark("line", "deliver", "--config", lab.rig_configs["rig-a"])
        assert (delivered.returncode, delivered.stdout) == (0, "0 records still wait\n")
        assert units(database) == [board.unit for board in reversed(lab.boards)]
