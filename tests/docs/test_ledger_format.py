# SPDX-License-Identifier: Apache-2.0
"""docs/reference/ledger-format.md: its example verifies, and its limits and findings are the program's."""

import importlib
import re

import pytest

from birthmark.tlog.bundle import verify_bundle
from birthmark.tlog.errors import NoteRefused
from birthmark.tlog.keys import read_verifier_key
from support.documents import ROOT, section
from support.logs import ED25519_SIGNER, MemoryLog

PAGE = (ROOT / "docs/reference/ledger-format.md").read_text()
BUNDLE, KEY = re.findall(r"^```text\n(.*?)^```$", section(PAGE, "## Proof bundle"), re.MULTILINE | re.DOTALL)
ENTRIES = [b'{"event":"order.opened"}', b'{"event":"issued"}', b'{"event":"born"}']


def test_the_example_verifies_with_the_key_on_the_page() -> None:
    found = verify_bundle(BUNDLE.encode(), [read_verifier_key(KEY.strip())])
    assert [(each.index, each.entry) for each in found.entries] == [(1, ENTRIES[1])]
    with pytest.raises(NoteRefused):
        verify_bundle(BUNDLE.encode(), [])


def test_the_example_is_what_the_program_writes() -> None:
    log = MemoryLog()
    log.append(ENTRIES)
    assert log.bundle([1], ED25519_SIGNER).decode() == BUNDLE
    assert ED25519_SIGNER.verifier.text == KEY.strip()


def test_the_limits_are_the_program_s() -> None:
    told = re.findall(r"^\| `([\w.]+)` \| ([\d,]+) \|", section(PAGE, "## Limits"), re.MULTILINE)
    assert len(told) == 8
    for name, number in told:
        module, _, constant = name.rpartition(".")
        assert int(number.replace(",", "")) == getattr(importlib.import_module(f"birthmark.{module}"), constant), name


def test_the_findings_are_the_program_s() -> None:
    told = set(re.findall(r"`(tlog\.[a-z.-]+)`", section(PAGE, "## Findings")))
    sources = (ROOT / "src/birthmark/tlog").glob("*.py")
    raised = {finding for path in sources for finding in re.findall(r'finding ?= ?"(tlog[a-z.-]+)"', path.read_text())}
    # The roots of the tree are never raised bare; all their errors name a finding of their own.
    assert told == raised - {"tlog.failed", "tlog.entries", "tlog.tile", "tlog.note", "tlog.checkpoint"}
