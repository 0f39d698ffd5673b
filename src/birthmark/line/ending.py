# SPDX-License-Identifier: Apache-2.0
"""What SIGTERM does to a run: it ends as by Ctrl-C, with the boards' power off, and the process dies of the signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class _Terminated(BaseException):
    """SIGTERM has come. No `except Exception` may take it for a board's failure."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the block, and then end the process as it always does. For the main thread alone."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    # A second one must not break into the clean-up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated
