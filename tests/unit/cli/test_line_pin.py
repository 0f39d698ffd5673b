# SPDX-License-Identifier: Apache-2.0
"""`birthmark line pin`: a PIN comes in by the keyboard, its hash goes out, and nothing else does."""

from click.testing import CliRunner

from birthmark.cli.main import birthmark as program
from birthmark.line.people import read_pin_hash

PIN = "135790"


def test_the_hash_of_a_pin_is_printed_alone() -> None:
    done = CliRunner().invoke(program, ["line", "pin"], input=f"{PIN}\n{PIN}\n")
    assert done.exit_code == 0
    assert read_pin_hash(done.stdout.strip()).fits(PIN)
    assert PIN not in done.output


def test_a_pin_that_is_too_short_is_refused_and_not_repeated() -> None:
    done = CliRunner().invoke(program, ["line", "pin"], input="123\n123\n")
    assert done.exit_code != 0
    assert done.stdout == ""
    assert "123" not in str(done.exception)
