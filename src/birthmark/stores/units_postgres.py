# SPDX-License-Identifier: Apache-2.0
"""What the rigs of a site know of their units, in one PostgreSQL database (`line.ports.UnitStore`)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from birthmark.core.attempts import Attempt, Cell, Ending, Grain, KeepUnits, Period
from birthmark.core.errors import ConfigError, StoreError
from birthmark.core.work import Transition, UnitChange, UnitWork
from birthmark.stores import attempts_rows
from birthmark.stores import units_rows as rows
from birthmark.stores.postgres_patience import Watch

CONNECTIONS_MAX: Final = 4
WAIT_TIMEOUT_S: Final = 2.0
"""How long a call waits for a connection: well below the lease of a unit."""
_SETTINGS: Final = (
    "-c statement_timeout=2000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=5000"
    " -c synchronous_commit=on"
    # As in the CA's ledger: plans that are made while the tables are empty must not read them whole for ever.
    " -c enable_seqscan=off -c jit=off"
)
SILENCE_S: Final = 3.0
"""After which a server is given up that stands still: one that works gives up a statement before."""
_CONNECTION: Final[dict[str, Any]] = {
    "connect_timeout": 2,
    "options": _SETTINGS,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 3_000,
}
_SCHEMA_LOCK: Final = 0x424D554E
_HISTORY_LOCK: Final = 0x424D4849
_PRUNE_LOCK: Final = 0x424D5052
_NUMBER: Final = "bigint generated always as identity primary key"
# Each version of the schema, behind the table by which it is known to be there.
_VERSIONS: Final = {
    "unit_work": (rows.UNIT_WORK, rows.UNIT_CHANGE.format(number=_NUMBER), *rows.INDEXES),
    "unit_attempt": (*rows.COUNTED, *(each.format(number=_NUMBER) for each in attempts_rows.SCHEMA)),
}


class UnitsPostgreSQL:
    """Calls may come from any thread. Makes its tables where there are none. Raises StoreError."""

    def __init__(self, dsn: str, silence_s: float = SILENCE_S) -> None:
        """
        Connect. `silence_s` is how long a server is waited for that stands still.

        Raises ConfigError, without showing it, for a connection string that is none; StoreError.
        """
        try:
            conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # Not chained: libpq quotes the string, and the password with it.
            raise ConfigError(
                "the connection string of the rigs' database is malformed", hint="mend units_dsn_file"
            ) from None
        self._watch = Watch(silence_s)
        try:
            # Without the pool, which would log its attempts and forget the reason.
            with _explained(), psycopg.connect(dsn, **_CONNECTION) as connection, self._watch.over(connection):
                _prepare(connection)
                connection.commit()
        except BaseException:
            self._watch.close()
            raise
        self._pool = ConnectionPool(dsn, min_size=0, max_size=CONNECTIONS_MAX, kwargs=_CONNECTION, open=True)

    def now(self) -> datetime:
        """Return the database's moment, which `change` gives too."""
        with self._transaction() as connection:
            return _moment(connection)

    def units(self, serials: Sequence[str]) -> tuple[UnitWork, ...]:
        """Return the records, in this order; of a unit that nobody has seen, a new one."""
        with self._transaction() as connection:
            found = connection.execute(_spoken(f"{rows.SELECT} where unit = any(?)"), (list(serials),)).fetchall()
        known = {work.unit: work for work in map(rows.work_of, found)}
        return tuple(known.get(serial) or UnitWork(serial) for serial in serials)

    def change(self, serial: str, transition: Transition) -> UnitWork:
        """Return the record as `transition` makes it of the present one; nobody else changes it in between."""
        with self._transaction() as connection:
            before = _locked(connection, serial)
            after = transition(before, _moment(connection))
            _put(connection, before, after)
        return after

    def sharing(self, chip_serial: str, key_sha256: str) -> tuple[UnitWork, ...]:
        """Return the units that were seen with this chip or this key. An empty value is shared by none."""
        with self._transaction() as connection:
            return tuple(
                map(rows.work_of, connection.execute(_spoken(rows.SHARING), (chip_serial, key_sha256)).fetchall())
            )

    def history(self, after: int, limit: int) -> tuple[UnitChange, ...]:
        """Return at most so many changes with higher numbers, in their order."""
        with self._transaction() as connection:
            return tuple(map(rows.change_of, connection.execute(_spoken(rows.HISTORY), (after, limit)).fetchall()))

    def history_of(self, serial: str) -> tuple[UnitChange, ...]:
        """Return all changes of one unit, in their order."""
        with self._transaction() as connection:
            return tuple(map(rows.change_of, connection.execute(_spoken(rows.HISTORY_OF), (serial,)).fetchall()))

    # --- attempts ---

    def end(self, serial: str, ending: Ending) -> Attempt:
        """Return the attempt as it counts; it and what becomes of its unit are kept in one transaction."""
        with self._transaction() as connection:
            before = _locked(connection, serial)
            after, attempt = ending(before, _moment(connection))
            if connection.execute(_spoken(attempts_rows.INSERT), attempts_rows.row_of(attempt)).rowcount:
                connection.execute(_spoken(attempts_rows.COUNT), attempts_rows.key_of(attempt))
                if after != before:
                    _put(connection, before, after)
            (row,) = _read(connection)(attempts_rows.FIND, *attempts_rows.key_of(attempt))
        return attempts_rows.attempt_of(row)

    def cells(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return what the attempts of a period came to."""
        with self._transaction() as connection:
            return attempts_rows.cells(_read(connection), period, grain)

    def unfinished(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return the first attempts of a period whose units are not good now."""
        with self._transaction() as connection:
            return attempts_rows.unfinished(_read(connection), period, grain)

    def last(self, rig: str, limit: int) -> tuple[Attempt, ...]:
        """Return the last attempts at a rig, newest first."""
        with self._transaction() as connection:
            return tuple(map(attempts_rows.attempt_of, _read(connection)(attempts_rows.LAST, rig, limit)))

    def attempts(self, period: Period, after: Attempt | None, limit: int) -> tuple[Attempt, ...]:
        """Return at most so many attempts of a period in the order of their ends, behind `after`."""
        with self._transaction() as connection:
            return attempts_rows.page(_read(connection), period, after, limit)

    def passed(self, order: str) -> int:
        """Return how many attempts passed under an order, as far as they are kept."""
        with self._transaction() as connection:
            return int(_read(connection)(attempts_rows.PASSED, order)[0][0])

    def prune(self, keep: KeepUnits) -> int:
        """Take away some of what need not be kept; return how many units and attempts went."""
        since = rows.us(keep.units_since)
        with self._transaction() as connection:
            # One rig at a time: another one that does it now does it for all.
            if connection.execute("select pg_try_advisory_xact_lock(%s)", (_PRUNE_LOCK,)).fetchone() != (True,):
                return 0
            units = connection.execute(_spoken(attempts_rows.PRUNE_UNITS), (since, since)).fetchall()
            connection.cursor().executemany(_spoken(attempts_rows.PRUNE_CHANGES), units)
            attempts = connection.execute(
                _spoken(attempts_rows.PRUNE_ATTEMPTS), (rows.us(keep.attempts_since),)
            ).rowcount
            connection.execute(_spoken(attempts_rows.PRUNE_TALLY), (attempts_rows.whole_hours_before(keep),))
        return len(units) + attempts

    # ---

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
        self._watch.close()

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        with (
            _explained(),
            self._pool.connection(WAIT_TIMEOUT_S) as connection,
            self._watch.over(connection),
            connection.transaction(),
        ):
            yield connection


def _prepare(connection: psycopg.Connection) -> None:
    connection.execute("select pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
    for table, statements in _VERSIONS.items():
        if connection.execute("select to_regclass(%s)", (table,)).fetchone() == (None,):
            for statement in statements:
                connection.execute(_spoken(statement))


def _locked(connection: psycopg.Connection, serial: str) -> UnitWork:
    """Return a unit's record, which is nobody else's to change until the transaction ends."""
    connection.execute(_spoken(rows.BLANK), rows.row_of(UnitWork(serial)))
    row = connection.execute(_spoken(f"{rows.SELECT} where unit = ? for update"), (serial,)).fetchone()
    return UnitWork(serial) if row is None else rows.work_of(row)


def _put(connection: psycopg.Connection, before: UnitWork, after: UnitWork) -> None:
    row = rows.row_of(after)
    connection.execute(_spoken(rows.SAVE), row)
    if not rows.lease_alone(before, after):
        # So that numbers are seen in their order: nobody is given one while a lower one is not committed.
        connection.execute("select pg_advisory_xact_lock(%s)", (_HISTORY_LOCK,))
        connection.execute(_spoken(rows.REMEMBER), row)


def _read(connection: psycopg.Connection) -> attempts_rows.Read:
    def read(query: str, *arguments: str | int) -> list[tuple[Any, ...]]:
        return connection.execute(_spoken(query), arguments).fetchall()

    return read


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what psycopg raises into StoreError."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
        raise StoreError(
            f"the rigs' database does not answer: {_first_line(error)}",
            hint="look at the database server, and at what units_dsn_file names",
            finding="store.unreachable",
        ) from error
    except psycopg.Error as error:
        raise StoreError(f"the rigs' database: {_first_line(error)}", finding="store.failed") from error


def _moment(connection: psycopg.Connection) -> datetime:
    # Asked once the row is ours: a wait for another rig lies before it.
    row = connection.execute("select clock_timestamp()").fetchone()
    if row is None:
        raise StoreError("the rigs' database does not tell the time", finding="store.failed")
    at: datetime = row[0]
    return at.astimezone(UTC)


def _spoken(statement: str) -> LiteralString:
    return statement.replace("?", "%s")


def _first_line(error: Exception) -> str:
    # The first line says what; the others may quote a row.
    return str(error).partition("\n")[0]
