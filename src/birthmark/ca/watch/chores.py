# SPDX-License-Identifier: Apache-2.0
"""What a worker does without being asked: a thread that repeats a few acts, each of which may be repeated at will."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from birthmark.core.errors import BirthmarkError

TICK_S = 0.25
STOP_TIME_S = 10.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """An act, and how often it is due. What it raises is logged, and it is tried again."""

    name: str
    every_s: float
    act: Callable[[], object]


@contextmanager
def doing(chores: Sequence[Chore]) -> Iterator[None]:
    """Do the chores, one after the other, as long as the block runs."""
    ended = threading.Event()
    thread = threading.Thread(target=_run, args=(chores, ended), name="chores", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(STOP_TIME_S)


def _run(chores: Sequence[Chore], ended: threading.Event) -> None:
    due = dict.fromkeys(chores, 0.0)
    while not ended.wait(TICK_S):
        for chore in chores:
            if time.monotonic() >= due[chore] and not ended.is_set():
                _do(chore)
                due[chore] = time.monotonic() + chore.every_s


def _do(chore: Chore) -> None:
    try:
        chore.act()
    except BirthmarkError as error:
        _LOG.error("%s finding=%s: %s", chore.name, error.finding, error.message)
    except Exception:  # noqa: BLE001 a defect in one chore must not end the others; it shows in the log at every turn
        _LOG.exception("%s failed", chore.name)
