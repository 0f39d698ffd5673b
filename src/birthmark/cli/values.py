# SPDX-License-Identifier: Apache-2.0
"""
What may stand on a command line: each value is read before the command begins.

A value that is none ends the program with USAGE; no chip was touched, no service asked, no file written.
"""

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from birthmark.core.errors import BirthmarkError
from birthmark.core.ids import unit_serial

_SERIAL = re.compile(r"[0-9A-Fa-f]{1,40}")
_COMMAND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NONCE_BYTES = 32
_UNREADABLE = (BirthmarkError, msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


class Value(click.ParamType[Any]):
    """A value that `read` makes of its text. What `read` raises is the reason in the usage error."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return what the text stands for, or fail with the reason."""
        try:
            return self._read(value)
        except _UNREADABLE as error:
            self.fail(str(error), param, ctx)


def shown(text: str) -> str:
    """Return a text of somebody else's as a terminal may show it: what is not printable is escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _nonce(text: str) -> bytes:
    # The text is a secret of the request: no error shows it.
    try:
        nonce = base64.b64decode(text.rstrip("=") + "=", altchars=b"-_", validate=True)
    except ValueError:
        nonce = b""
    if len(nonce) != _NONCE_BYTES:
        raise ValueError(f"a nonce is {_NONCE_BYTES} bytes in base64url")
    return nonce


def _json_object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f"not a JSON object: {error}") from error


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:64]!r} is not a time like 2026-11-23T12:00:00Z") from error


def _certificate_serial(text: str) -> str:
    if _SERIAL.fullmatch(text.replace(":", "")) is None:
        raise ValueError(f"{text[:64]!r} is not a certificate's serial: hexadecimal digits, colons allowed")
    return text


def _command_name(text: str) -> str:
    if _COMMAND.fullmatch(text) is None:
        raise ValueError(f"{text[:64]!r} is not a command's name: letters, digits, dots, hyphens, at most 64")
    return text


def _output(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise ValueError(f"{path} is a directory")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is no directory")
    return path


UNIT = Value("unit", unit_serial)
NONCE = Value("nonce", _nonce)
JSON_OBJECT = Value("json", _json_object)
MOMENT = Value("time", _moment)
CERTIFICATE_SERIAL = Value("serial", _certificate_serial)
COMMAND_NAME = Value("name", _command_name)
OUTPUT = Value("file", _output)
