# SPDX-License-Identifier: Apache-2.0
"""The reference of the ceremony says what the code says."""

import re
from pathlib import Path

import msgspec
import pytest

from birthmark.ca import ceremony
from birthmark.ca.ceremony import file, transcript

REFERENCE = (Path(__file__).parents[4] / "docs/reference/ceremony.md").read_text()
FINDING = re.compile(r'"(ceremony\.[a-z.-]+)"')
DEFAULTS = {"ceremony.failed", "ceremony.refused", "ceremony.transcript"}


def findings() -> set[str]:
    folder = Path(ceremony.__path__[0])
    return {finding for path in folder.glob("*.py") for finding in FINDING.findall(path.read_text())} - DEFAULTS


def test_every_finding_stands_in_the_reference() -> None:
    assert len(findings()) > 25
    families = {finding: f"`.{finding.rpartition('.')[2]}`" for finding in findings()}
    assert [
        name for name in sorted(findings()) if f"`{name}`" not in REFERENCE and families[name] not in REFERENCE
    ] == []


def test_the_reference_names_no_finding_that_is_not_there() -> None:
    assert set(re.findall(r"`(ceremony\.[a-z-]+)`", REFERENCE)) - findings() == set()


@pytest.mark.parametrize(
    "section",
    [
        file.CeremonyFile,
        file.Participant,
        file.TokenSection,
        file.RootSection,
        file.CASection,
        file.SignerSection,
        file.PresentSection,
        file.RolloverSection,
        file.BundleSection,
        file.FileKey,
        file.TokenKey,
        transcript.Transcript,
    ],
)
def test_every_key_stands_in_the_reference(section: type[msgspec.Struct]) -> None:
    named = [key for key in section.__struct_fields__ if f"`{key}`" not in REFERENCE and f"[[{key}]]" not in REFERENCE]
    assert named == []
