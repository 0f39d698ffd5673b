# SPDX-License-Identifier: Apache-2.0
"""A log that is read over HTTP as C2SP tlog-tiles says: its checkpoint, and its entries bundle by bundle."""

from collections.abc import Iterator
from dataclasses import dataclass

from birthmark.ca.audit.errors import AuditRefused
from birthmark.ca.transparency.http import LOG_PATH
from birthmark.net.transport import HTTPTransport
from birthmark.tlog.tiles import TILE_WIDTH, EntryBundle, decode_bundle

_OK = 200


@dataclass(frozen=True, slots=True)
class RemoteLog:
    """Implements `wholelog.EntrySource`. Nothing that comes is believed: it is verified against the checkpoint."""

    transport: HTTPTransport

    def checkpoint(self) -> bytes:
        """Return the newest checkpoint. Raises NetError, AuditRefused (audit.log.unavailable)."""
        return self._got("checkpoint")

    def entries(self, size: int) -> Iterator[bytes]:
        """Yield the first `size` entries. Raises NetError, AuditRefused, DecodeError."""
        for first in range(0, size, TILE_WIDTH):
            bundle = EntryBundle(first // TILE_WIDTH, min(TILE_WIDTH, size - first))
            yield from decode_bundle(self._got(bundle.path), bundle)

    def _got(self, path: str) -> bytes:
        answer = self.transport.request("GET", f"{LOG_PATH}/{path}")
        if answer.status != _OK:
            told = answer.body[:200].decode(errors="replace").strip()
            raise AuditRefused(f"{path}: {answer.status} {told}", finding="audit.log.unavailable")
        return answer.body
