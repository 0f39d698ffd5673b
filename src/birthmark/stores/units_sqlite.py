# SPDX-License-Identifier: Apache-2.0
"""What the rigs of one machine know of their units, in one SQLite file (`line.ports.UnitStore`)."""

from collections.abc import Sequence
from pathlib import Path

from birthmark.core.clock import Clock, system_clock
from birthmark.core.work import Transition, UnitChange, UnitWork
from birthmark.stores import units_rows as rows
from birthmark.stores.sqlite_file import SQLiteFile

_APPLICATION = b"BMUN"
_SCHEMA = ";\n".join(
    (rows.UNIT_WORK, rows.UNIT_CHANGE.format(number="integer primary key autoincrement"), *rows.INDEXES)
)


class UnitsSQLite:
    """Calls may come from any thread, and several processes may have the file open. Raises StoreError."""

    def __init__(self, path: Path, clock: Clock = system_clock) -> None:
        """Open or create the file. `clock` is this machine's, as for every process that opens it."""
        self._clock = clock
        self._file = SQLiteFile(path, (_SCHEMA,), _APPLICATION)

    def units(self, serials: Sequence[str]) -> tuple[UnitWork, ...]:
        """Return the records, in this order; of a unit that nobody has seen, a new one."""
        with self._file.snapshot():
            return tuple(self._unit(serial) for serial in serials)

    def change(self, serial: str, transition: Transition) -> UnitWork:
        """Return the record as `transition` makes it of the present one; nobody else changes it in between."""
        with self._file.transaction():
            before = self._unit(serial)
            after = transition(before, self._clock())
            self._file.write(rows.BLANK, *rows.row_of(before))
            self._file.write(rows.UPDATE, *rows.changed_row(after))
            if not rows.lease_alone(before, after):
                self._file.write(rows.REMEMBER, *rows.row_of(after))
        return after

    def sharing(self, chip_serial: str, key_sha256: str) -> tuple[UnitWork, ...]:
        """Return the units that were seen with this chip or this key. An empty value is shared by none."""
        return tuple(map(rows.work_of, self._file.read(rows.SHARING, chip_serial, key_sha256)))

    def history(self, after: int, limit: int) -> tuple[UnitChange, ...]:
        """Return at most so many changes with higher numbers, in their order."""
        return tuple(map(rows.change_of, self._file.read(rows.HISTORY, after, limit)))

    def history_of(self, serial: str) -> tuple[UnitChange, ...]:
        """Return all changes of one unit, in their order."""
        return tuple(map(rows.change_of, self._file.read(rows.HISTORY_OF, serial)))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _unit(self, serial: str) -> UnitWork:
        found = self._file.read(f"{rows.SELECT} where unit = ?", serial)
        return rows.work_of(found[0]) if found else UnitWork(serial)
