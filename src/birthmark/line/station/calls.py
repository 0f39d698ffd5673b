# SPDX-License-Identifier: Apache-2.0
"""
Panels that programs run at a station, each under a key that the program chose: asked twice, it is run once.

A station remembers the newest calls while it is on. One that was started anew knows none: a program that asks again
then has its boards looked at again, and what was done stays done (PASS-ALREADY, RESUMED). No I/O and no clock.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from birthmark.line import results
from birthmark.line.errors import CallRefused
from birthmark.line.results import PanelResult, PanelState

CALLS_MAX: Final = 256
"""So many are remembered, the newest."""
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class PanelCall:
    """
    What a program asks for: `units` in the order of the fixture's places, None for one that is not worked on.

    `operator` is a badge, "" for the one who is logged in.
    """

    key: str
    units: tuple[str | None, ...]
    operator: str = ""


@dataclass(frozen=True, slots=True)
class CalledPanel:
    """A call, when it was taken, and how far its panel is."""

    call: PanelCall
    began: datetime
    result: PanelResult

    @property
    def running(self) -> bool:
        """Whether there is more to come."""
        return self.result.state is PanelState.RUNNING


class Calls:
    """The calls of one station. Used under the station's lock."""

    def __init__(self) -> None:
        self._called: dict[str, CalledPanel] = {}
        self._current = ""

    def known(self, call: PanelCall) -> CalledPanel | None:
        """Return the panel of a call that was taken already. Raises CallRefused: the key is that of another one."""
        if _KEY.fullmatch(call.key) is None:
            raise CallRefused(
                f"{call.key[:64]!r} is no key", hint="1 to 64 letters, digits and . _ -", finding="line.station.form"
            )
        called = self._called.get(call.key)
        if called is not None and called.call != call:
            raise CallRefused(
                f"key {call.key} is that of another panel",
                hint="choose a key for each panel",
                finding="line.station.key",
            )
        return called

    def begin(self, call: PanelCall, places: int, at: datetime) -> CalledPanel:
        """Return the panel of a call that is taken now; it is the one that runs."""
        while len(self._called) >= CALLS_MAX:
            del self._called[next(iter(self._called))]
        units = [unit or "" for unit in call.units]
        called = CalledPanel(call, at, results.begun([*units, *[""] * (places - len(units))]))
        self._called[call.key], self._current = called, call.key
        return called

    def panel(self, key: str) -> CalledPanel:
        """Return the panel of a key. Raises CallRefused: line.station.unknown."""
        try:
            return self._called[key]
        except KeyError:
            hint = "a station that was started anew knows no earlier one: post it again, what was done stays done"
            raise CallRefused(f"there is no panel {key[:64]!r}", hint=hint, finding="line.station.unknown") from None

    def heard(self, event: Mapping[str, Any]) -> None:
        """Take an event of the run: it belongs to the call that runs, if one does."""
        if self._current:
            self._put(results.heard(self._called[self._current].result, event))

    def stopped(self, finding: str, reason: str) -> None:
        """Take the end of a run without verdicts."""
        if self._current:
            self._put(results.stopped(self._called[self._current].result, finding, reason))

    def _put(self, result: PanelResult) -> None:
        called = replace(self._called[self._current], result=result)
        self._called[self._current] = called
        if not called.running:
            self._current = ""
