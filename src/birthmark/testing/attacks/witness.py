# SPDX-License-Identifier: Apache-2.0
"""Who reads the CA's log beside the attacks: what the CA refused must stand there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from birthmark.ca.config import load_config
from birthmark.ca.ports import CAStore
from birthmark.ca.wiring import configured_store
from birthmark.core.audit import decode_row
from birthmark.testing.lab.record import Lab

PAGE = 500
"""Log entries that are read at a time."""


class Witness:
    """Reads the log of one lab's CA."""

    def __init__(self, store: CAStore) -> None:
        self._store = store

    @classmethod
    @contextmanager
    def of(cls, lab: Lab) -> Iterator["Witness"]:
        """Open the log of a lab."""
        config = Path(lab.ca_config)
        with configured_store(load_config(config), config.parent) as store:
            yield cls(store)

    def size(self) -> int:
        """Return how many entries the log has."""
        with self._store.reading() as ledger:
            return ledger.log_size()

    def saw(self, finding: str, since: int) -> bool:
        """Say whether one of the entries from number `since` on is a refusal with this finding."""
        with self._store.reading() as ledger:
            while entries := ledger.entries(since, PAGE):
                if any(decode_row(entry).finding == finding for entry in entries):
                    return True
                since += len(entries)
        return False
