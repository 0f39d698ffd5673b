# SPDX-License-Identifier: Apache-2.0
"""What the rigs of one machine know of their units, in one SQLite file (`line.ports.UnitStore`)."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from birthmark.core.attempts import Attempt, Cell, Ending, Grain, KeepUnits, Period
from birthmark.core.clock import Clock, system_clock
from birthmark.core.errors import StoreError
from birthmark.core.work import Transition, UnitChange, UnitWork
from birthmark.stores import attempts_rows
from birthmark.stores import units_rows as rows
from birthmark.stores.group_commit import GroupCommit
from birthmark.stores.sqlite_file import SQLiteFile

T = TypeVar("T")

_APPLICATION = b"BMUN"
_NUMBER = "integer primary key autoincrement"
_V1 = ";\n".join((rows.UNIT_WORK, rows.UNIT_CHANGE.format(number=_NUMBER), *rows.INDEXES))
_V2 = ";\n".join((*rows.COUNTED, *(each.format(number=_NUMBER) for each in attempts_rows.SCHEMA)))


class UnitsSQLite:
    """Calls may come from any thread, and several processes may have the file open. Raises StoreError."""

    def __init__(self, path: Path, clock: Clock = system_clock) -> None:
        """Open or create the file. `clock` is this machine's, as for every process that opens it."""
        self._clock = clock
        self._file = SQLiteFile(path, (_V1, _V2), _APPLICATION)
        self._commits = GroupCommit(self._file)

    def now(self) -> datetime:
        """Return this machine's moment, which `change` gives too."""
        return self._clock()

    def units(self, serials: Sequence[str]) -> tuple[UnitWork, ...]:
        """Return the records, in this order; of a unit that nobody has seen, a new one."""
        with self._file.snapshot():
            return tuple(self._unit(serial) for serial in serials)

    def change(self, serial: str, transition: Transition) -> UnitWork:
        """Return the record as `transition` makes it of the present one; nobody else changes it in between."""
        return self._together(lambda: self._changed(serial, transition))

    def sharing(self, chip_serial: str, key_sha256: str) -> tuple[UnitWork, ...]:
        """Return the units that were seen with this chip or this key. An empty value is shared by none."""
        return tuple(map(rows.work_of, self._file.read(rows.SHARING, chip_serial, key_sha256)))

    def history(self, after: int, limit: int) -> tuple[UnitChange, ...]:
        """Return at most so many changes with higher numbers, in their order."""
        return tuple(map(rows.change_of, self._file.read(rows.HISTORY, after, limit)))

    def history_of(self, serial: str) -> tuple[UnitChange, ...]:
        """Return all changes of one unit, in their order."""
        return tuple(map(rows.change_of, self._file.read(rows.HISTORY_OF, serial)))

    # --- attempts ---

    def end(self, serial: str, ending: Ending) -> Attempt:
        """Return the attempt as it counts; it and what becomes of its unit are kept in one transaction."""
        return self._together(lambda: self._ended(serial, ending))

    def cells(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return what the attempts of a period came to."""
        return attempts_rows.cells(self._file.read, period, grain)

    def unfinished(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return the first attempts of a period whose units are not good now."""
        return attempts_rows.unfinished(self._file.read, period, grain)

    def last(self, rig: str, limit: int) -> tuple[Attempt, ...]:
        """Return the last attempts at a rig, newest first."""
        return tuple(map(attempts_rows.attempt_of, self._file.read(attempts_rows.LAST, rig, limit)))

    def attempts(self, period: Period, after: Attempt | None, limit: int) -> tuple[Attempt, ...]:
        """Return at most so many attempts of a period in the order of their ends, behind `after`."""
        return attempts_rows.page(self._file.read, period, after, limit)

    def passed(self, order: str) -> int:
        """Return how many attempts passed under an order, as far as they are kept."""
        return int(self._file.read(attempts_rows.PASSED, order)[0][0])

    def prune(self, keep: KeepUnits) -> int:
        """Take away some of what need not be kept; return how many units and attempts went."""
        since = rows.us(keep.units_since)
        with self._file.transaction():
            units = self._file.write(attempts_rows.PRUNE_UNITS, since, since).fetchall()
            self._file.write_each(attempts_rows.PRUNE_CHANGES, units)
            attempts = self._file.write(attempts_rows.PRUNE_ATTEMPTS, rows.us(keep.attempts_since)).rowcount
            self._file.write(attempts_rows.PRUNE_TALLY, attempts_rows.whole_hours_before(keep))
        return len(units) + attempts

    # ---

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _together(self, change: Callable[[], T]) -> T:
        """Run a change in a transaction that others may share, and return what it returns; a refusal is its own."""
        done: list[T] = []
        refused: list[Exception] = []

        def attempt() -> None:
            try:
                done.append(change())
            except StoreError:
                raise
            except Exception as refusal:  # noqa: BLE001 passed on below: nothing was written before it
                refused.append(refusal)

        self._commits.write(attempt)
        if refused:
            raise refused[0]
        return done[0]

    def _changed(self, serial: str, transition: Transition) -> UnitWork:
        before = self._unit(serial)
        after = transition(before, self._clock())
        self._put(before, after)
        return after

    def _ended(self, serial: str, ending: Ending) -> Attempt:
        before = self._unit(serial)
        after, attempt = ending(before, self._clock())
        if self._file.write(attempts_rows.INSERT, *attempts_rows.row_of(attempt)).rowcount:
            self._file.write(attempts_rows.COUNT, *attempts_rows.key_of(attempt))
            if after != before:
                self._put(before, after)
        (row,) = self._file.read(attempts_rows.FIND, *attempts_rows.key_of(attempt))
        return attempts_rows.attempt_of(row)

    def _put(self, before: UnitWork, after: UnitWork) -> None:
        row = rows.row_of(after)
        self._file.write(rows.SAVE, *row)
        if not rows.lease_alone(before, after):
            self._file.write(rows.REMEMBER, *row)

    def _unit(self, serial: str) -> UnitWork:
        found = self._file.read(f"{rows.SELECT} where unit = ?", serial)
        return rows.work_of(found[0]) if found else UnitWork(serial)
