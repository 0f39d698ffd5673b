# SPDX-License-Identifier: Apache-2.0
"""The reference pages say what the code says."""

import re
from pathlib import Path

import msgspec
import pytest

from birthmark import ca
from birthmark.ca.config import CAConfig, OCSPSection, ProfileSection, RigsSection, SoftwareKey, TokenKey
from birthmark.ca.orders.documents import OrderFile

REPOSITORY = Path(__file__).parents[3]
DEMANDS = REPOSITORY / "docs/reference/ca-demands.md"
CONFIG = REPOSITORY / "docs/reference/config.md"
FINDING = re.compile(r'"(ca\.[a-z0-9]+\.[a-z-]+|ca\.(?:store|signer|overload)|csr\.[a-z.]+)"')

_ELSEWHERE = {"ceremony", "audit", "upkeep", "operations"}
"""Rooms with a reference of their own."""


def findings() -> set[str]:
    folder = Path(ca.__path__[0])
    sources = [path for path in folder.rglob("*.py") if not _ELSEWHERE & set(path.parts)]
    return {finding for path in sources for finding in FINDING.findall(path.read_text())}


def test_every_finding_of_the_ca_stands_in_its_reference() -> None:
    assert len(findings()) > 35
    text = DEMANDS.read_text()
    assert [finding for finding in sorted(findings()) if f"`{finding}`" not in text] == []


def test_the_reference_names_no_finding_that_the_ca_does_not_have() -> None:
    named = set(re.findall(r"`(ca\.[a-z0-9]+\.[a-z-]+)`", DEMANDS.read_text()))
    assert named - findings() == set()


@pytest.mark.parametrize(
    "section", [CAConfig, OCSPSection, RigsSection, SoftwareKey, TokenKey, ProfileSection, OrderFile]
)
def test_every_key_of_the_configuration_stands_in_its_reference(section: type[msgspec.Struct]) -> None:
    text = CONFIG.read_text()
    assert [key for key in section.__struct_fields__ if f"{key}`" not in text and f"{key}]" not in text] == []
