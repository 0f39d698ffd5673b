# SPDX-License-Identifier: Apache-2.0
"""What the log says of a row: one digest for one row, another for each other one."""

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.issuance import Unit, UnitState
from birthmark.core.ledger_rows import KEYS, moment, row_digest, row_key, said, said_gone, unit_row, us
from support.ledger_values import AT, CHIP

UNIT = Unit(serial="BM-000001", chip=CHIP, state=UnitState.MADE, since=AT, order="order-1")
VALUES = st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text(st.characters(exclude_categories=["Cs"]))


def test_a_row_is_named_by_its_table_and_key() -> None:
    (name,) = said("unit", unit_row(UNIT))
    assert name == "unit/BM-000001"
    place = {"order_id": "order-1", "unit_serial": "BM-000001", "scrapped": 0, "reworked": 1}
    assert row_key("order_unit", place) == "order_unit/BM-000001/order-1"
    assert said_gone("denied_client", "rig:a") == {"denied_client/rig:a": ""}
    assert {"unit", "proposal", "configuration"} <= set(KEYS)


def test_the_digest_is_the_one_that_the_reference_describes() -> None:
    row = {"serial": "BM-000001", "since_us": us(AT), "chip": None, "document": b"bytes"}
    plain = {**row, "document": hashlib.sha256(b"bytes").hexdigest()}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert row_digest(row) == hashlib.sha256(text.encode()).hexdigest()


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, min_size=1), VALUES)
def test_another_value_gives_another_digest(row: dict[str, str | int | None], value: str | int | None) -> None:
    changed = {**row, next(iter(row)): value}
    assert (row_digest(changed) == row_digest(row)) == (changed == row)


def test_a_moment_comes_back_to_the_microsecond() -> None:
    assert moment(us(AT)) == AT
