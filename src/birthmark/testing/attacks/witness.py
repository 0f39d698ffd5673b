# SPDX-License-Identifier: Apache-2.0
"""Who reads the CA's ledger and its log beside the attacks: what the CA refused must stand there."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from birthmark.ca.config import load_config
from birthmark.ca.ports import CAStore
from birthmark.ca.wiring import configured_store
from birthmark.core.audit import decode_row
from birthmark.testing.lab.record import Lab

PAGE = 500
"""Log entries that are read at a time."""
LINE_WITHIN_S = 5.0
LINE_POLL_S = 0.05
_FINDING = re.compile(rb"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+")


class Mark(NamedTuple):
    """How long both were at some moment: entries of the ledger's log, bytes of the service's."""

    entries: int
    told: int


class Witness:
    """Reads the ledger of one lab's CA, and the lines that the service writes."""

    def __init__(self, store: CAStore, told: Path | None = None) -> None:
        self._store = store
        self._told = told

    @classmethod
    @contextmanager
    def of(cls, lab: Lab) -> Iterator["Witness"]:
        """Open the log of a lab."""
        config = Path(lab.ca_config)
        with configured_store(load_config(config), config.parent) as store:
            yield cls(store, lab.path / "logs" / "ca.log")

    def mark(self) -> Mark:
        """Return how far both are."""
        with self._store.reading() as ledger:
            return Mark(ledger.log_size(), len(self._lines()))

    def saw(self, finding: str, since: Mark) -> bool:
        """Say whether one of the ledger's entries since then is a refusal with this finding."""
        at = since.entries
        with self._store.reading() as ledger:
            while entries := ledger.entries(at, PAGE):
                if any(decode_row(entry).finding == finding for entry in entries):
                    return True
                at += len(entries)
        return False

    def heard(self, findings: tuple[str, ...], since: Mark) -> bool:
        """Say whether the service has a line since then with one of these findings; it may come a moment later."""
        ends, wanted = time.monotonic() + LINE_WITHIN_S, {finding.encode() for finding in findings}
        while True:
            if wanted & set(_FINDING.findall(self._lines()[since.told :])):
                return True
            if time.monotonic() > ends:
                return False
            time.sleep(LINE_POLL_S)

    def _lines(self) -> bytes:
        return b"" if self._told is None else self._told.read_bytes()
