# SPDX-License-Identifier: Apache-2.0
"""
Decisions and certificates as a terminal shows them: a head line that tells most, and indented lines for the rest.

No line is wider than WIDTH, so long lists stay readable in a plain terminal and are printed as they are read. What
`grep` is likely to look for (unit, act, outcome, serial, state) is on the head line.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from birthmark.cli.values import shown

WIDTH: Final = 80
_INDENT: Final = "  "
_LABEL: Final = 12


def decision_block(row: Mapping[str, str]) -> str:
    """Return a decision of the log (`Administration.audit`)."""
    outcome = f"refused: {row['finding']}" if row["finding"] else "granted"
    return _block(
        (row["at"], row["unit"], row["act"], outcome),
        {
            "who": row["who"],
            "fingerprint": row["fingerprint"],
            "order": row["order"],
            "chip": row["chip"],
            "certificate": row["certificate"],
            "about": row["about"],
            "detail": row["detail"],
        },
    )


def certificate_block(row: Mapping[str, str]) -> str:
    """Return a certificate (`Administration.certificates`)."""
    return _block(
        (row["unit_serial"], row["serial"], row["state"]),
        {
            "chip": f"{row['chip_serial']} of {row['chip_maker']}, {row['chip_model']}",
            "order": row["order"],
            "issued": row["issued"],
            "confirmed": row["confirmed"],
            "dies": row["dies"],
            "sha256": row["certificate_sha256"],
        },
    )


def _block(head: Iterable[str], members: Mapping[str, str]) -> str:
    return "\n".join(
        (*_wrapped("  ".join(part for part in head if part), "", _INDENT), *_members(members)),
    )


def _members(members: Mapping[str, str]) -> Iterator[str]:
    for label, value in members.items():
        if value:
            yield from _wrapped(value, f"{_INDENT}{label:<{_LABEL}}", " " * (len(_INDENT) + _LABEL))


def _wrapped(text: str, first: str, others: str) -> list[str]:
    """Return the lines of a text. What is not printable is escaped: names in it may be those of strangers."""
    return textwrap.wrap(shown(text), WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
