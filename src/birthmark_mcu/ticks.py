# SPDX-License-Identifier: Apache-2.0
"""Milliseconds and short sleeps, the same on MicroPython (whose ticks wrap around) and on CPython."""

import time

_ON_MCU = hasattr(time, "ticks_ms")


def now_ms() -> int:
    """Return a count of milliseconds; only `elapsed_ms` gives it a meaning."""
    count: int = time.ticks_ms() if _ON_MCU else time.monotonic_ns() // 1_000_000  # type: ignore[attr-defined] # MCU
    return count


def elapsed_ms(since: int) -> int:
    """Return the milliseconds since `now_ms` gave `since`."""
    passed: int = time.ticks_diff(now_ms(), since) if _ON_MCU else now_ms() - since  # type: ignore[attr-defined] # MCU
    return passed


def pause_us(duration_us: int) -> None:
    """Sleep for at least this many microseconds; not at all for none."""
    if duration_us <= 0:
        return
    if _ON_MCU:
        time.sleep_us(duration_us)  # type: ignore[attr-defined] # only MicroPython has it
    else:
        time.sleep(duration_us / 1_000_000)
