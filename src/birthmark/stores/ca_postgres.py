# SPDX-License-Identifier: Apache-2.0
"""
The issuing authority's ledger in PostgreSQL: for several workers on several machines.

One advisory lock serialises the writing transactions of all of them. Statements of one step travel in one round trip
(pipeline mode); rows are added in bulk. Connections that have broken, or on which the server has not answered in time
(postgres_patience), are replaced; a transaction that was under way has then failed, and its caller repeats it.
"""

import functools
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from birthmark.core.errors import ConfigError, StoreError
from birthmark.core.ledger_rows import Value
from birthmark.stores.ca_database import Argument, Query
from birthmark.stores.ca_rows import Row, Table
from birthmark.stores.ca_schema import migrations
from birthmark.stores.ca_sql import SQLLedger
from birthmark.stores.postgres_arrays import array_of, register
from birthmark.stores.postgres_patience import NETWORK, READING, Lease, Patience, Watch

WAIT_TIMEOUT_S: Final = 5.0
"""How long a call waits for a connection before it fails with store.unreachable."""
AWAY_S: Final = 5.0
BRIEFLY_S: Final = 0.05
"""How long it waits when another one has waited in vain within the last AWAY_S. The pool connects meanwhile."""
SEND_TIMEOUT_S: Final = 1.0
"""How long one look at the socket lasts while rows are sent."""
POOL_MAX_CONNECTIONS: Final = 4
_WRITERS_LOCK: Final = 0x424D4C47  # "BMLG"
_LOCK_WRITERS: LiteralString = f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})"
_READ_ONE_STATE: LiteralString = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_VERSION_TABLE: LiteralString = (
    "CREATE TABLE IF NOT EXISTS schema_version (number BIGINT PRIMARY KEY, name TEXT NOT NULL)"
)
RECONNECT_S: Final = 4.0
"""How long one series of attempts to connect lasts; the next call begins a new one. A longer one would pause longer."""
_SETTINGS: Final = {
    "timezone": "UTC",
    # Under a stricter level, which a role or a database may have as its default, what is read after the wait for the
    # other writers would be what held before it.
    "default_transaction_isolation": "read\\ committed",
    "default_transaction_read_only": "off",
    # What a transaction has ended with must survive the server's death, whatever the role's default.
    "synchronous_commit": "on",
    # Every statement in the path of an issuance finds its rows by an index. A plan that is prepared while the ledger is
    # empty reads whole tables, and is kept until the next ANALYZE: each enrolment would cost more than the last.
    "enable_seqscan": "off",
    # Where a whole table must be read none the less, that now looks dear enough to be compiled, which it is not.
    "jit": "off",
}
_PREPARE_FROM: Final = 2
"""From how many executions on a statement is prepared."""


class PostgresCAStore:
    """Implements ca.ports.CAStore on a database whose schema `migrate` has brought up to date."""

    def __init__(self, dsn: str, patience: Patience = READING) -> None:
        """
        Connect.

        Args:
            dsn: libpq's connection string.
            patience: how long an answer is waited for.

        Raises:
            ConfigError: the connection string is malformed; it is not shown.
            StoreError: store.unreachable, or store.version when the schema is not this program's.

        """
        check_dsn(dsn)
        self._away_until_s = 0.0
        self._watch = Watch(patience.silence_s)
        self._pool = ConnectionPool(
            dsn,
            min_size=1,
            max_size=POOL_MAX_CONNECTIONS,
            kwargs=_connection(patience),
            reconnect_timeout=RECONNECT_S,
            configure=register,
            open=True,
        )
        try:
            self._require_version()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[SQLLedger]:
        """Open a consistent view."""
        with self._begun(_READ_ONE_STATE) as database:
            yield SQLLedger(database)

    @contextmanager
    def writing(self) -> Iterator[SQLLedger]:
        """Open a transaction that no other writer, on any machine, can come between."""
        with self._begun(_LOCK_WRITERS) as database:
            yield SQLLedger(database)
            database.commit()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
        self._watch.close()

    @contextmanager
    def _begun(self, first: LiteralString) -> Iterator["_Postgres"]:
        """Lend a connection in pipeline mode, in a transaction that the statement begins."""
        with (
            explained(),
            self._lent() as lease,
            lease.connection.pipeline() as pipeline,
        ):
            lease.connection.execute(first)
            yield _Postgres(lease, pipeline)

    @contextmanager
    def _lent(self) -> Iterator[Lease]:
        """
        Lend a connection. Only one caller waits for a server that is away, and as few as may be for one that is stuck.

        Raises:
            StoreError: store.unreachable, the server was silent for too long.

        """
        known_away = time.monotonic() < self._away_until_s
        try:
            connection = self._pool.getconn(BRIEFLY_S if known_away else WAIT_TIMEOUT_S)
        except PoolTimeout:
            self._away_until_s = time.monotonic() + AWAY_S
            raise
        lease = None
        try:
            with self._watch.over(connection) as lease, connection:
                yield lease
        except psycopg.Error as error:
            if lease is not None and lease.ended:
                raise _silent() from error
            raise
        finally:
            self._pool.putconn(connection)
            if lease is not None and lease.ended:
                # The others are as stuck: whoever was lent one would find out as slowly.
                self._away_until_s = time.monotonic() + AWAY_S
                self._pool.drain()

    def _require_version(self) -> None:
        wanted = len(migrations())
        with explained(), self._lent() as lease:
            found = _version(lease.connection)
        if found != wanted:
            raise StoreError(
                f"the database has schema version {found}, this program needs {wanted}",
                hint="birthmark ca store migrate" if found < wanted else "use the release that wrote it",
                finding="store.version",
            )


def migrate(dsn: str) -> tuple[str, ...]:
    """
    Bring a database's schema up to date, in one transaction; return the names of the steps that were taken.

    Raises:
        ConfigError: the connection string is malformed. StoreError: it cannot be done; nothing has changed.

    """
    check_dsn(dsn)
    with explained(), psycopg.connect(dsn, **NETWORK) as connection:
        connection.execute(_LOCK_WRITERS)
        connection.execute(_VERSION_TABLE)
        missing = migrations()[_version(connection) :]
        for step in missing:
            connection.execute(step.sql)
            connection.execute("INSERT INTO schema_version VALUES (%s, %s)", (step.number, step.name))
    return tuple(step.name for step in missing)


class _Postgres:
    """Implements Database in pipeline mode: what is written is sent along with the next read or the commit."""

    def __init__(self, lease: Lease, pipeline: psycopg.Pipeline) -> None:
        self._lease = lease
        self._connection = lease.connection
        self._pipeline = pipeline

    def commit(self) -> None:
        """Commit; the last writes travel along."""
        self._lease.renew()
        self._connection.commit()

    def read(self, query: str, *arguments: Argument) -> list[Row]:
        self._lease.renew()
        return self._connection.execute(_spoken(query), _bound(arguments), binary=True).fetchall()

    def read_all(self, queries: Sequence[Query]) -> list[list[Row]]:
        self._lease.renew()
        cursors = [
            self._connection.execute(_spoken(query), _bound(arguments), binary=True) for query, arguments in queries
        ]
        return [cursor.fetchall() for cursor in cursors]

    def write(self, statement: str, *arguments: Argument) -> None:
        self._connection.execute(_spoken(statement), _bound(arguments))

    def change(self, statement: str, *arguments: Argument) -> int:
        self._lease.renew()
        cursor = self._connection.execute(_spoken(statement), _bound(arguments))
        self._pipeline.sync()
        return cursor.rowcount

    def write_each(self, statement: str, arguments: Sequence[tuple[Argument, ...]]) -> None:
        for each in arguments:
            self._connection.execute(_spoken(statement), each)

    def insert(self, table: Table, values: Sequence[tuple[Value, ...]], *, or_ignore: bool = False) -> None:
        if values:
            self._lease.renew()
            columns = [*map(array_of, table.types, zip(*values, strict=True))]
            self._connection.execute(_insert(table, or_ignore=or_ignore), columns)
            self._send_all()

    def _send_all(self) -> None:
        """
        Wait until the server has taken what was written.

        In pipeline mode psycopg waits for answers without sending the rest of what filled the socket's buffer: both
        sides would wait for each other for ever, and the writers' lock would stay taken.
        """
        server = self._connection.pgconn
        while server.flush():
            readable, _, _ = select.select([server.socket], [server.socket], [], SEND_TIMEOUT_S)
            if readable:
                server.consume_input()


@contextmanager
def explained() -> Iterator[None]:
    """Turn what psycopg raises into StoreError. Not chained where libpq might quote the connection string."""
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise StoreError(f"the database is full: {_first_line(error)}", finding="store.full") from error
    except psycopg.IntegrityError as error:
        raise StoreError(f"the database refuses the row: {_first_line(error)}", finding="store.conflict") from error
    except (psycopg.OperationalError, PoolTimeout, psycopg.InterfaceError) as error:
        raise StoreError(
            f"the database does not answer: {_first_line(error)}",
            hint="see its log; the request may be repeated",
            finding="store.unreachable",
        ) from error
    except psycopg.Error as error:
        raise StoreError(f"the database: {_first_line(error)}", finding="store.failed") from error


def check_dsn(dsn: str) -> None:
    """Raises ConfigError: the connection string is malformed; it is not shown."""
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # Not chained: libpq quotes the string, and the password with it.
        raise ConfigError("the database's connection string is malformed", hint="mend database_dsn_file") from None


def _connection(patience: Patience) -> dict[str, Any]:
    settings = {**_SETTINGS, **patience.settings}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {**NETWORK, "options": options, "prepare_threshold": _PREPARE_FROM}


def _silent() -> StoreError:
    return StoreError(
        "the database has stopped answering",
        hint="see its log; the request may be repeated",
        finding="store.unreachable",
    )


def _version(connection: psycopg.Connection) -> int:
    if connection.execute("SELECT to_regclass('schema_version')").fetchone() == (None,):
        return 0
    row = connection.execute("SELECT coalesce(max(number), 0) FROM schema_version").fetchone()
    return 0 if row is None else int(row[0])


def _bound(arguments: Sequence[Argument]) -> list[object]:
    return [each if isinstance(each, str | bytes | int | None) else array_of("text", each) for each in arguments]


@functools.cache
def _spoken(statement: str) -> LiteralString:
    return statement.replace("IN LIST", "= ANY(%b)").replace("?", "%s")


@functools.cache
def _insert(table: Table, *, or_ignore: bool) -> LiteralString:
    names = ", ".join(table.columns)
    arrays = ", ".join("%b" for _ in table.types)
    ignored = " ON CONFLICT DO NOTHING" if or_ignore else ""
    if table.first_number is None:
        return f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}){ignored}"  # noqa: S608 constant text
    last = f"(SELECT coalesce(max(number), {table.first_number - 1}) FROM {table.name})"  # noqa: S608 constant text
    return (
        f"INSERT INTO {table.name} (number, {names}) SELECT {last} + ordinal, {names}"  # noqa: S608 constant text
        f" FROM unnest({arrays}) WITH ORDINALITY AS added ({names}, ordinal){ignored}"
    )


def _first_line(error: Exception) -> str:
    # The first line says what; the others may quote a whole row.
    return str(error).partition("\n")[0]
