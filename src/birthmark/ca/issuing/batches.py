# SPDX-License-Identifier: Apache-2.0
"""
Requests that wait at the same time, settled together: what the first one waits for (a disk, an HSM) is shared.

One thread settles one batch after the other; meanwhile the event loop judges the requests of the next one.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from birthmark.ca.errors import CAError, NotNow
from birthmark.ca.issuing.jobs import Job, Outcome

BATCH_MAX = 64
WAITING_MAX = 1_024
"""Beyond it a request is turned away: it would wait longer than its client does."""
OVERLOAD_RETRY_S = 2


class Batches:
    """Belongs to the event loop of one worker."""

    def __init__(
        self,
        settle: Callable[[Sequence[Job]], list[Outcome]],
        seen: Callable[[int, int], None] | None = None,
    ) -> None:
        """`seen(batch, waiting)` is told how many are settled together now, and how many wait behind them."""
        self._settle = settle
        self._seen = seen
        self._waiting: list[tuple[Job, asyncio.Future[Outcome]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="settle")
        self._drain: asyncio.Task[None] | None = None

    async def run(self, job: Job) -> bytes:
        """
        Return what the job asked for.

        Raises:
            CAError: what `settle` gave instead; NotNow (ca.overload) when too many wait.

        """
        if len(self._waiting) >= WAITING_MAX:
            raise NotNow("ca.overload", "too many requests at once", retry_after_s=OVERLOAD_RETRY_S)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        if self._drain is None:
            self._drain = asyncio.create_task(self._settle_all())
        outcome = await future
        if isinstance(outcome, CAError):
            raise outcome
        return outcome

    async def _settle_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                if self._seen is not None:
                    self._seen(len(batch), len(self._waiting))
                try:
                    outcomes = await loop.run_in_executor(self._thread, self._settle, [job for job, _ in batch])
                except Exception as error:  # noqa: BLE001 whatever it is, each of them must be answered
                    for _, future in batch:
                        _fail(future, error)
                else:
                    for (_, future), outcome in zip(batch, outcomes, strict=True):
                        _finish(future, outcome)
        finally:
            self._drain = None


def _finish(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():  # its client may have left
        future.set_result(outcome)


def _fail(future: asyncio.Future[Outcome], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
