# SPDX-License-Identifier: Apache-2.0
"""What somebody else has written is shown on a terminal as text, and does nothing to it."""

import pytest

from birthmark.cli.values import shown


@pytest.mark.parametrize(
    ("text", "on_the_terminal"),
    [
        pytest.param("batch [7], für Köln", "batch [7], für Köln", id="text"),
        pytest.param("ok\x1b[2Jforged", "ok\\x1b[2Jforged", id="an escape sequence"),
        pytest.param("one\ntwo\r", "one\\ntwo\\r", id="line ends"),
        pytest.param("a\u202eb", "a\\u202eb", id="text that runs backwards"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, on_the_terminal: str) -> None:
    assert shown(text) == on_the_terminal
