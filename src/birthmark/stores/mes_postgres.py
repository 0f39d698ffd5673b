# SPDX-License-Identifier: Apache-2.0
"""
Events for a MES that reads PostgreSQL.

`event (idempotency_key primary key, rig, journal, sequence, event, unit, at, mes_hold, body jsonb)` has every event,
`birth (idempotency_key primary key, record jsonb, jws text)` the birth records. A birth is in both, by one transaction;
each delivery is one of its own, and a key that is there already changes nothing.
"""

from collections.abc import Iterator
from typing import Final, LiteralString

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from birthmark.core.birth import read_birth
from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, Parcel
from birthmark.core.errors import ConfigError, StoreError
from birthmark.core.line_events import LineEvent, UnitBorn, encode_event
from birthmark.stores.postgres_patience import NETWORK, Watch

STATEMENT_TIMEOUT_MS: Final = 10_000
SILENCE_S: Final = 12.0
"""A server that works gives up a statement before."""
_TABLES: Final[dict[str, LiteralString]] = {
    "birth": """
create table if not exists birth (idempotency_key text primary key, record jsonb not null, jws text not null)
""",
    "event": """
create table if not exists event (
    idempotency_key text primary key,
    rig text not null,
    journal text not null,
    sequence bigint not null,
    event text not null,
    unit text not null,
    at timestamptz not null,
    mes_hold boolean not null,
    body jsonb not null
)
""",
}
_BIRTH: Final[LiteralString] = """
insert into birth (idempotency_key, record, jws) values (%s, %s::jsonb, %s) on conflict (idempotency_key) do nothing
"""
_EVENT: Final[LiteralString] = """
insert into event (idempotency_key, rig, journal, sequence, event, unit, at, mes_hold, body)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb) on conflict (idempotency_key) do nothing
"""


class MESPostgreSQL:
    """A destination (`line.ports.Destination`). Connects at the first delivery, and again after a lost connection."""

    def __init__(self, dsn: str, silence_s: float = SILENCE_S) -> None:
        """
        Keep the connection string. A server that stands still is given up after `silence_s`.

        Raises ConfigError, without showing it, when the string is malformed.
        """
        try:
            conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # Not chained: libpq quotes the string, and the password with it.
            raise ConfigError(
                "the MES database's connection string is malformed", hint="mend mes_postgres_dsn_file"
            ) from None
        self._dsn = dsn
        self._connection: psycopg.Connection | None = None
        self._watch = Watch(silence_s)

    def deliver(self, parcel: Parcel) -> None:
        """
        Insert the event unless its key is in the table; return when it is committed.

        Raises:
            DeliveryDeferred: no connection, no table or no right to write it: all of that can be mended.
            DeliveryRefused: an event that the database cannot hold.
            DecodeError: not an event, or not a birth record in it.

        """
        event = parcel.event()
        statements = _statements(event)
        try:
            connection = self._connection or self._connect()
            with self._watch.over(connection), connection.transaction():
                for statement, values in statements:
                    connection.execute(statement, values)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise DeliveryRefused(f"the MES database refuses the event: {_first_line(error)}") from error
        except psycopg.Error as error:
            self._disconnect()
            raise DeliveryDeferred(
                f"the MES database does not take events: {_first_line(error)}", hint="see its log; events wait here"
            ) from error

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(self._dsn, autocommit=True, **NETWORK)
        try:
            with self._watch.over(connection):
                _prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def close(self) -> None:
        """Close the connection. Nothing is delivered any more."""
        self._watch.close()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def kept_in_database(dsn: str) -> Iterator[bytes]:
    """Yield the events that a MES database has, journal by journal, in their order. Raises StoreError."""
    try:
        with psycopg.connect(dsn, **NETWORK) as connection:
            if connection.execute("select to_regclass('event')").fetchone() == (None,):
                return
            # As text: what a receiver has in `body` is the event, whatever order jsonb gives its members.
            with connection.cursor("kept") as rows:
                for (body,) in rows.execute("select body::text from event order by journal, sequence"):
                    yield body.encode()
    except psycopg.Error as error:
        raise StoreError(f"the MES database: {_first_line(error)}", finding="store.unreachable") from error


def _prepare(connection: psycopg.Connection) -> None:
    connection.execute("select set_config('statement_timeout', %s, false)", (str(STATEMENT_TIMEOUT_MS),))
    for name, table in _TABLES.items():
        # Looked for first: a role that may only insert need not be allowed to create.
        if connection.execute("select to_regclass(%s)", (name,)).fetchone() == (None,):
            connection.execute(table)


def _statements(event: LineEvent) -> list[tuple[LiteralString, tuple[object, ...]]]:
    row = (event.rig, event.journal, event.sequence, event.kind, event.about, event.at, event.mes_hold)
    statements: list[tuple[LiteralString, tuple[object, ...]]] = [
        (_EVENT, (event.idempotency_key, *row, encode_event(event).decode()))
    ]
    if isinstance(event, UnitBorn):
        record = msgspec.json.encode(read_birth(event.jws)).decode()
        statements.append((_BIRTH, (event.idempotency_key, record, event.jws)))
    return statements


def _first_line(error: psycopg.Error) -> str:
    # The first line says what; the others may quote the whole record, and a DSN's password is in none of them.
    return str(error).partition("\n")[0]
