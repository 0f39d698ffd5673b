# SPDX-License-Identifier: Apache-2.0
"""docs/reference/endorsements.md: its keys and calendars are the program's, and the program reads its example."""

import re

import msgspec
import pytest

from birthmark.core.config import read_file
from birthmark.evidence.endorsements import read_endorsements
from birthmark.evidence.policy import file
from birthmark.evidence.policy.calendars import shipped_calendars
from birthmark.pki.algorithms import KeyAlgorithm
from support.documents import ROOT

PAGE = (ROOT / "docs/reference/endorsements.md").read_text()
EXAMPLE = ROOT / "docs/reference/examples/endorsements.toml"
ENTRIES = [each for each in vars(file).values() if isinstance(each, type) and issubclass(each, file.Config)][1:]
TABLES = {"maker", "model", "certification", "delivery", "denied_chip", "calendar", "profile", "algorithm"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
def test_every_key_stands_on_the_page(entry: type[msgspec.Struct]) -> None:
    for key in entry.__struct_fields__:
        assert (f"[[{key}]]" if key in TABLES else f"`{key}`") in PAGE.replace("profile.", "").replace("calendar.", "")


def test_the_calendars_on_the_page_are_those_of_the_program() -> None:
    for calendar in shipped_calendars():
        days = {entry.name: entry.last_use.isoformat() if entry.last_use else "no end" for entry in calendar.algorithm}
        cells = [days.get(algorithm.value, "not listed") for algorithm in KeyAlgorithm]
        assert f"| `{calendar.name}` | {' | '.join(cells)} |" in PAGE


def test_the_example_on_the_page_is_the_file_and_the_program_reads_it() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert shown == EXAMPLE.read_text()
    endorsements = read_endorsements(EXAMPLE, read_file)
    (model,) = endorsements.models
    assert model.is_delivered("0123456789ABCDEF")
    assert not model.is_delivered("FEDCBA9876543210")
    assert endorsements.denied_chips == {("Example Silicon", "0123456789ABCDF0")}
    assert endorsements.notices == ()
