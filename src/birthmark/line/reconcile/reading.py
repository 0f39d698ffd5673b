# SPDX-License-Identifier: Apache-2.0
"""Reads rows of ledger exports, rigs and MES: bytes in, rows out. Members that are not compared are passed over."""

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from birthmark.core.errors import DecodeError
from birthmark.line.reconcile.books import Certificate, Told

T = TypeVar("T", Certificate, Told)
_CERTIFICATE: Final = msgspec.json.Decoder(Certificate)
_TOLD: Final = msgspec.json.Decoder(Told)


def read_certificates(lines: Iterable[bytes], source: str) -> tuple[Certificate, ...]:
    """Return what `birthmark ca ledger export` printed. Raises DecodeError, which names source and line."""
    return _read(lines, _CERTIFICATE, source)


def read_told(rows: Iterable[bytes], source: str) -> tuple[Told, ...]:
    """Return events as rigs keep and MES receive them. Raises DecodeError, which names source and row."""
    return _read(rows, _TOLD, source)


def _read(rows: Iterable[bytes], decoder: msgspec.json.Decoder[T], source: str) -> tuple[T, ...]:
    found = []
    for number, row in enumerate(rows, 1):
        try:
            found.append(decoder.decode(row))
        except msgspec.MsgspecError as error:
            raise DecodeError(f"{source}, row {number}: {error}", finding="reconcile.row") from error
    return tuple(found)
