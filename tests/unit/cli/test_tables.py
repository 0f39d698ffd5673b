# SPDX-License-Identifier: Apache-2.0
"""Tables of the command line: nothing is cut, whatever reads them."""

import pytest

from birthmark.cli.tables import table_lines

TITLES = ("destination", "waiting", "said last")
LONG = "delivery.deferred: /mnt/mes/births.jsonl: Permission denied; look at the file and its disk"


def test_titles_and_cells_are_whole_and_numbers_stand_to_the_right() -> None:
    lines = list(table_lines(TITLES, [("ca", "0", ""), ("mes-file", "1234567890", "no")], numbers=("waiting",)))
    assert lines == [
        "destination     waiting  said last",
        "ca                    0",
        "mes-file     1234567890  no",
    ]


def test_a_column_of_nothing_is_left_out_title_and_all() -> None:
    assert list(table_lines(("rig", ""), [("rig-a", ""), ("rig-b", "")])) == ["rig", "rig-a", "rig-b"]
    assert list(table_lines(("rig", ""), [("rig-a", ""), ("b", "stands out")])) == ["rig", "rig-a", "b      stands out"]


def test_a_file_gets_each_row_in_one_line() -> None:
    assert [line for line in table_lines(TITLES, [("ca", "1", LONG)]) if LONG in line]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_long_text_goes_on_below_its_own_beginning(width: int) -> None:
    head, first, *others = table_lines(TITLES, [("mes-file", "1", LONG)], width=width)
    column = head.index("said last")
    assert all(len(line) <= width for line in (first, *others))
    assert all(line[:column].isspace() for line in others)
    assert " ".join(line[column:] for line in (first, *others)) == LONG


def test_where_there_is_no_room_the_terminal_breaks_the_line() -> None:
    assert [line for line in table_lines(TITLES, [("mes-file", "1", LONG)], width=40) if LONG in line]


def test_characters_of_two_columns_count_as_two() -> None:
    assert list(table_lines(("who", "n"), [("李", "1"), ("ada", "2")])) == ["who  n", "李   1", "ada  2"]
