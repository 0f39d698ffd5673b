# SPDX-License-Identifier: Apache-2.0
"""
Threads apart, for what many may ask for and what may have to wait for the ledger or a key.

Whatever happens in a lane, nothing outside of it waits: it has few threads, a queue with an end, and whoever asks waits
for a bounded time. The same question, asked while its answer is on the way, is answered together with the first.
"""

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from birthmark.ca.errors import NotNow

WAITING_MAX: Final = 64
"""Different questions under way or waiting; further ones are turned away."""
WAIT_MAX_S: Final = 2.0
RETRY_S: Final = 2

T = TypeVar("T")


class Lane:
    """Calls may come from several threads and event loops."""

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._asked: dict[Hashable, Future[Any]] = {}

    async def run(self, key: Hashable, act: Callable[[], T]) -> T:
        """
        Return what `act` returns, or what it is about to return to somebody else who asked under the same key.

        Raises:
            NotNow: ca.overload, too many questions wait; ca.slow, the answer did not come in time.
            Exception: what `act` raised.

        """
        answer = asyncio.wrap_future(self._asking(key, act))
        answer.add_done_callback(_heard)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), WAIT_MAX_S)
        except TimeoutError:
            raise NotNow("ca.slow", "what this needs does not answer in time", retry_after_s=RETRY_S) from None

    def _asking(self, key: Hashable, act: Callable[[], T]) -> "Future[T]":
        with self._lock:
            asked = self._asked.get(key)
            if asked is not None:
                return asked
            if len(self._asked) >= WAITING_MAX:
                raise NotNow("ca.overload", "too many requests at once", retry_after_s=RETRY_S)
            asked = self._asked[key] = self._threads.submit(act)
        asked.add_done_callback(lambda _: self._answered(key))
        return asked

    def _answered(self, key: Hashable) -> None:
        with self._lock:
            self._asked.pop(key, None)


def _heard(answer: "asyncio.Future[Any]") -> None:
    """Take note of an error, also when nobody waits for the answer any more."""
    if not answer.cancelled():
        answer.exception()
