# SPDX-License-Identifier: Apache-2.0
"""What persons have signed, read again: it must be there as they signed it, and for this authority."""

from collections.abc import Iterator

from birthmark.ca.people import signed
from birthmark.ca.ports import LedgerReader
from birthmark.ca.transparency.discrepancy import Discrepancy, rows_of
from birthmark.core.errors import DecodeError
from birthmark.core.proposals import Proposal, State


def check_signed(ledger: LedgerReader, authority: str) -> Iterator[Discrepancy]:
    """Yield every proposal that is not signed as it lies there; `authority` is the log's origin. Raises StoreError."""
    for row in rows_of(ledger, "proposal"):
        try:
            proposal = ledger.proposal(str(row["id"]))
        except (ValueError, OverflowError):
            continue  # a state or a moment that no program writes: it is not what the log says, and told so
        if proposal is not None:
            yield from check_documents(proposal, authority)


def check_documents(proposal: Proposal, authority: str) -> Iterator[Discrepancy]:
    """Yield what is wrong with the documents of one proposal. Whether their signers may sign is not judged. Pure."""
    try:
        signed.proposed(proposal, authority)
    except DecodeError as error:
        yield _not_signed("ledger.proposal", proposal, error)
    ruling = proposal.ruling
    if ruling is None or ruling.state is State.EXPIRED:
        return
    try:
        signed.ruled(proposal, ruling, authority)
    except DecodeError as error:
        yield _not_signed("ledger.ruling", proposal, error)


def _not_signed(what: str, proposal: Proposal, error: DecodeError) -> Discrepancy:
    foreign = error.finding == "proposal.authority"
    return Discrepancy(f"{what}.authority" if foreign else f"{what}.document", proposal.id, error.message)
