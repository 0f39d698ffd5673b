# SPDX-License-Identifier: Apache-2.0
"""docs/reference/orders.md: the program reads the documents that the page shows, and they have the members it lists."""

import json
import re

import msgspec

from birthmark.ca.orders.acts import CloseTerms
from birthmark.core.proposals import ProposalDocument, RulingDocument, demand_authority, read_document, read_ruling
from birthmark.core.strict_json import decode
from support.documents import ROOT

PAGE = (ROOT / "docs/reference/orders.md").read_text()
PROPOSAL, RULING = (text.encode() for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))


def test_the_documents_on_the_page_are_read() -> None:
    proposal, ruling = read_document(PROPOSAL), read_ruling(RULING)
    assert decode(proposal.terms, CloseTerms).replaces
    assert (proposal.act, proposal.authority) == (ruling.act, ruling.authority)
    for each in (proposal, ruling):
        demand_authority(each, "example.com/device-ca")


def test_the_page_shows_and_lists_every_member_of_a_document() -> None:
    for shown, form in ((PROPOSAL, ProposalDocument), (RULING, RulingDocument)):
        names = [field.encode_name for field in msgspec.structs.fields(form)]
        assert list(json.loads(shown)) == names
        row = next(
            line for line in PAGE.splitlines() if line.startswith("|") and f"`{json.loads(shown)['record']}`" in line
        )
        assert [name for name in names if name != "record" and f"`{name}`" not in row] == []
