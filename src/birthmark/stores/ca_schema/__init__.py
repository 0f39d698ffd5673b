# SPDX-License-Identifier: Apache-2.0
"""
The schema of the issuing authority's ledger, as the scripts that lead to it, one after the other.

They are written for PostgreSQL. A script that was released is never changed: the next one changes what it made.
"""

import functools
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number, from 1 on, and its statements."""

    number: int
    name: str
    sql: str


@functools.cache
def migrations() -> tuple[Migration, ...]:
    """Return all steps, the first one first."""
    scripts = sorted(entry.name for entry in files(__name__).iterdir() if entry.name.endswith(".sql"))
    return tuple(
        Migration(number, name, files(__name__).joinpath(name).read_text(encoding="utf-8"))
        for number, name in enumerate(scripts, start=1)
    )
