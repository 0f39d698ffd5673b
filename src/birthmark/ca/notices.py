# SPDX-License-Identifier: Apache-2.0
"""
What the ledger says that every worker acts on all the time: which clients are denied, which roots are retired.

A thread of each worker reads it again and again, so that no request waits for it. What was decided anywhere counts in
every worker within NOTICED_WITHIN_S while the ledger can be read. A worker that has not been able to read it for
AGE_MAX_S lets nobody in on what it remembers (503) until it can.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from birthmark.ca.ports import CAStore
from birthmark.core.clients import DeniedClient
from birthmark.core.errors import BirthmarkError, StoreError

READ_EVERY_S: Final = 0.5
NOTICED_WITHIN_S: Final = 1.0
AGE_MAX_S: Final = 10.0
STOP_TIME_S: Final = 10.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notices:
    """What was read at one moment."""

    denied: frozenset[DeniedClient]
    retired_roots: frozenset[str]
    """SHA-256 of each, in lower-case hexadecimal."""


class NoticeBoard:
    """One per worker. Calls may come from several threads; none of them waits for the ledger, but `read`."""

    def __init__(self, store: CAStore, now_s: Callable[[], float] = time.monotonic) -> None:
        """Read for the first time. `now_s` never goes back. Raises StoreError."""
        self._store = store
        self._now_s = now_s
        self._known = self._read()

    def read(self) -> None:
        """Read the notices anew. Raises StoreError; what was known stays known."""
        self._known = self._read()

    def latest(self) -> Notices:
        """Return what was read last, however long ago."""
        return self._known[0]

    def current(self) -> Notices:
        """Return what was read within AGE_MAX_S. Raises StoreError (store.unread) when that was not possible."""
        notices, read_s = self._known
        if self._now_s() - read_s > AGE_MAX_S:
            message = f"the ledger's notices could not be read for {AGE_MAX_S:g} s"
            raise StoreError(message, hint="look at the database", finding="store.unread")
        return notices

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Read every READ_EVERY_S as long as the block runs."""
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(ended,), name="notices", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(STOP_TIME_S)

    def _follow(self, ended: threading.Event) -> None:
        while not ended.wait(READ_EVERY_S):
            try:
                self.read()
            except BirthmarkError as error:
                _LOG.error("notices finding=%s: %s", error.finding, error.message)
            except Exception:  # noqa: BLE001 a defect here must not end the thread: it shows in the log at every turn
                _LOG.exception("the notices could not be read")

    def _read(self) -> tuple[Notices, float]:
        asked_s = self._now_s()
        with self._store.reading() as ledger:
            denied = frozenset(each.client for each in ledger.client_denials())
            return Notices(denied, ledger.retired_roots()), asked_s
