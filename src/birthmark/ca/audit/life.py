# SPDX-License-Identifier: Apache-2.0
"""What became of each certificate of a unit, as the log tells it. Nothing is judged here."""

from collections.abc import Iterator

from birthmark.ca.audit.case import BIRTH, Case, Entry, moment
from birthmark.ca.audit.findings import Life

_ENDING = ("end", "revoke", "lapse")
_HOLDING, _RELEASING = "hold", "release"
ALIVE = "alive"


def lives(case: Case) -> Iterator[Life]:
    """Yield the life of each certificate that was issued, the oldest first."""
    for entry in case.issued:
        about = [each for each in case.granted if each.row.certificate == entry.row.certificate]
        grounds = entry.row.grounds
        yield Life(
            serial=entry.row.certificate,
            issued_at=entry.row.at,
            order=entry.row.order,
            chip="" if grounds is None else f"{grounds.maker} {grounds.model} {entry.row.chip_serial}",
            policy="" if grounds is None else grounds.policy,
            birth=_birth(entry, about),
            state=_state(about),
        )


def _birth(issued: Entry, about: list[Entry]) -> str:
    births = [each for each in about if each.row.act == BIRTH]
    if births:
        return f"{births[0].row.who} {moment(births[0].row.at)}"
    return "renewal" if issued.row.act == "renew" else ""


def _state(about: list[Entry]) -> str:
    state = ALIVE
    for each in about:
        row = each.row
        if row.act in _ENDING:
            state = f"{row.act} {moment(row.at)} {row.detail}"
        elif row.act == _HOLDING:
            state = f"held {moment(row.at)} {row.detail}"
        elif row.act == _RELEASING:
            state = ALIVE
    return state
