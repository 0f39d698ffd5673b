# SPDX-License-Identifier: Apache-2.0
"""
The supply rail of a simulated board: a folder that the supply writes and the chip's process reads.

    on    present while the supply is on; says which period of power it is
    sag   millivolts to which the voltage falls once the board draws its full current: a bad contact, armed by a test
    load  present since the board drew that current; the supply folds back and stays there until it is switched off
"""

import secrets
from pathlib import Path
from typing import Final, Protocol

NOMINAL_V: Final = 5.0
DROPOUT_V: Final = 4.0
"""Below it the board's regulator lets go, and the chip with it."""
_PERIOD_BYTES = 8


class Supply(Protocol):
    """What feeds a simulated chip."""

    def period(self) -> str:
        """Return which period of power this is, or nothing when there is no power."""
        ...

    def carries_load(self) -> bool:
        """Draw the full current; return whether the voltage stays high enough."""
        ...


class AlwaysFed:
    """A supply that never fails."""

    def period(self) -> str:
        """There is one period only."""
        return "always"

    def carries_load(self) -> bool:
        """It does."""
        return True


ALWAYS_FED = AlwaysFed()


class Rail:
    """One rail. OSError from every call when its folder is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on(self) -> None:
        """Give power, in a new period if there was none."""
        if not self.period():
            fresh = self._folder / "on.new"
            fresh.write_text(secrets.token_hex(_PERIOD_BYTES))
            fresh.replace(self._folder / "on")

    def off(self) -> None:
        """Take the power away, and the load with it."""
        self._demand_there()
        for name in ("on", "load"):
            (self._folder / name).unlink(missing_ok=True)

    def arm_sag(self, volts: float) -> None:
        """Let the voltage fall to this under the full load, from now on."""
        (self._folder / "sag").write_text(str(round(volts * 1000)))

    def mend(self) -> None:
        """Let the voltage stay where it is again."""
        (self._folder / "sag").unlink(missing_ok=True)

    def volts(self) -> float:
        """Return the voltage now."""
        if not self.period():
            return 0.0
        return self._sag_v() if (self._folder / "load").exists() else NOMINAL_V

    def period(self) -> str:
        """Return which period of power this is, or nothing when there is no power."""
        self._demand_there()
        try:
            return (self._folder / "on").read_text()
        except FileNotFoundError:
            return ""

    def carries_load(self) -> bool:
        """Draw the full current; return whether the voltage stays high enough."""
        (self._folder / "load").touch()
        return self.volts() >= DROPOUT_V

    def _sag_v(self) -> float:
        try:
            return int((self._folder / "sag").read_text()) / 1000
        except FileNotFoundError:
            return NOMINAL_V

    def _demand_there(self) -> None:
        self._folder.stat()
