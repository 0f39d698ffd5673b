# SPDX-License-Identifier: Apache-2.0
"""
Births for a MES that reads a PostgreSQL table: `birth (idempotency_key primary key, record jsonb, jws text)`.

Each delivery is one transaction of its own; a key that is there already changes nothing.
"""

from typing import LiteralString

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from birthmark.core.birth import read_birth
from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, SignedBirth
from birthmark.core.errors import ConfigError, DecodeError

CONNECT_TIMEOUT_S = 5
_TABLE: LiteralString = (
    "create table if not exists birth (idempotency_key text primary key, record jsonb not null, jws text not null)"
)
_INSERT: LiteralString = """
insert into birth (idempotency_key, record, jws) values (%s, %s::jsonb, %s) on conflict (idempotency_key) do nothing
"""


class MESPostgreSQL:
    """A destination (`line.ports.Destination`). Connects at the first delivery, and again after a lost connection."""

    def __init__(self, dsn: str) -> None:
        """Keep the connection string. Raises ConfigError, without showing it, when it is malformed."""
        try:
            conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # Not chained: libpq quotes the string, and the password with it.
            raise ConfigError(
                "the MES database's connection string is malformed", hint="mend mes_postgres_dsn_file"
            ) from None
        self._dsn = dsn
        self._connection: psycopg.Connection | None = None

    def deliver(self, birth: SignedBirth) -> None:
        """
        Insert the birth unless its key is in the table; return when it is committed.

        Raises:
            DeliveryDeferred: no connection, no table or no right to write it: all of that can be mended.
            DeliveryRefused: not a birth record, or one that the database cannot hold.

        """
        try:
            record = msgspec.json.encode(read_birth(birth.jws)).decode()
        except DecodeError as error:
            raise DeliveryRefused(error.message) from error
        try:
            (self._connection or self._connect()).execute(_INSERT, (birth.key, record, birth.jws))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise DeliveryRefused(f"the MES database refuses the record: {_first_line(error)}") from error
        except psycopg.Error as error:
            self.close()
            raise DeliveryDeferred(
                f"the MES database does not take births: {_first_line(error)}", hint="see its log; births wait here"
            ) from error

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
        try:
            if connection.execute("select to_regclass('birth')").fetchone() == (None,):
                connection.execute(_TABLE)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def close(self) -> None:
        """Close the connection; a later delivery opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _first_line(error: psycopg.Error) -> str:
    # The first line says what; the others may quote the whole record, and a DSN's password is in none of them.
    return str(error).partition("\n")[0]
