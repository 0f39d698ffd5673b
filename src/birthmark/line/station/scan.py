# SPDX-License-Identifier: Apache-2.0
"""
What a scanner typed: a unit's label, an operator's badge, a command, or something that is refused and shown.

A scanner is a keyboard: it may send control characters, an AIM identifier (ISO/IEC 15424: `]` and two characters), and
whatever prefix and suffix it was set up with. A text is one of the known kinds as a whole or it is refused.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from birthmark.core import ids
from birthmark.core.errors import DecodeError
from birthmark.line.errors import ScanRefused
from birthmark.line.people import BADGE

SCAN_MAX_CHARACTERS: Final = 256
SHOWN_MAX_CHARACTERS: Final = 64
_AIM: Final = re.compile(r"\][A-Za-z][0-9A-Za-z]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]+")


class Command(Enum):
    """What can be said by a scan, so that gloves stay on. The value is what stands in the code on the wall."""

    START = "BM:START"
    CLEAR = "BM:CLEAR"
    BAD = "BM:BAD"
    """The next place holds a board that is marked bad."""
    LOGOUT = "BM:LOGOUT"


@dataclass(frozen=True, slots=True)
class UnitScan:
    """A unit's label."""

    unit: str


@dataclass(frozen=True, slots=True)
class BadgeScan:
    """The badge of a person. A badge says who; it proves nothing."""

    name: str


@dataclass(frozen=True, slots=True)
class CommandScan:
    """A command."""

    command: Command


Scan: TypeAlias = UnitScan | BadgeScan | CommandScan


@dataclass(frozen=True, slots=True)
class Scanner:
    """How the station's scanner was set up: what it puts before and behind a code, and how badges begin."""

    prefix: str = ""
    suffix: str = ""
    badge_prefix: str = "BM:OP:"


def read_scan(typed: str, scanner: Scanner) -> Scan:
    """
    Return what a scan means.

    Raises:
        ScanRefused: line.scan.too-long, line.scan.empty, line.scan.unknown; the message shows what was scanned.

    """
    if len(typed) > SCAN_MAX_CHARACTERS:
        raise ScanRefused(f"a scan of {len(typed)} characters: '{shown(typed)}'", finding="line.scan.too-long")
    code = _bare(typed, scanner)
    if not code:
        raise ScanRefused("the scan is empty", hint="scan again", finding="line.scan.empty")
    if code in {each.value for each in Command}:
        return CommandScan(Command(code))
    if code.startswith(scanner.badge_prefix) and BADGE.fullmatch(name := code.removeprefix(scanner.badge_prefix)):
        return BadgeScan(name)
    try:
        return UnitScan(ids.unit_serial(code))
    except DecodeError as error:
        raise ScanRefused(
            f"'{shown(typed)}' is no unit's label", hint="was the right code scanned?", finding="line.scan.unknown"
        ) from error


def _bare(typed: str, scanner: Scanner) -> str:
    code = _CONTROL.sub("", typed).strip()
    code = code.removeprefix(scanner.prefix).removesuffix(scanner.suffix).strip()
    return _AIM.sub("", code, count=1) if _AIM.match(code) else code


def shown(typed: str) -> str:
    """Return what was scanned as a person may read it, control characters visible, of bounded length."""
    visible = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in typed[:SHOWN_MAX_CHARACTERS])
    return visible if len(typed) <= SHOWN_MAX_CHARACTERS else f"{visible}…"
