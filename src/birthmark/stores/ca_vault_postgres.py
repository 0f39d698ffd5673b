# SPDX-License-Identifier: Apache-2.0
"""
Copies of a ledger in PostgreSQL: pg_dump and pg_restore in their custom format. Both must be installed.

The connection string may hold a password: it travels to the programs in a file of mode 0600 that lives as long as they
run, never on a command line.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from birthmark.core.errors import ConfigError, StoreError
from birthmark.stores.ca_postgres import check_dsn, explained
from birthmark.stores.ca_schema import migrations
from birthmark.stores.ca_vault import StoreStatus, demand_magic, new_file
from birthmark.stores.postgres_patience import NETWORK

PROGRAM_TIMEOUT_S: Final = 6 * 3_600
"""For pg_dump and pg_restore."""
_MAGIC: Final = b"PGDMP"
_SERVICE: Final = "ledger"
_DATABASE: Final = f"--dbname=service={_SERVICE}"


class PostgresVault:
    """A ledger in a PostgreSQL database, in the first schema of its search path."""

    def __init__(self, dsn: str) -> None:
        """Raises ConfigError: the connection string is malformed; it is not shown."""
        check_dsn(dsn)
        self._dsn = dsn

    def status(self) -> StoreStatus:
        """Return what is there."""
        with _connected(self._dsn) as connection:
            version = 0
            if _one(connection, "SELECT to_regclass('schema_version') IS NOT NULL"):
                version = int(_one(connection, "SELECT coalesce(max(number), 0) FROM schema_version"))
            size = int(_one(connection, "SELECT pg_database_size(current_database())"))
        return StoreStatus("PostgreSQL", version, len(migrations()), size)

    def backup(self, target: Path) -> None:
        """Write a copy in pg_dump's custom format."""
        with new_file(target) as part, _service(self._dsn) as environment:
            _run(
                ("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={part}", _DATABASE),
                environment,
            )

    def restore(self, source: Path) -> None:
        """Make the ledger of a copy, in one transaction."""
        with _connected(self._dsn) as connection:
            if _tables(connection):
                raise StoreError(
                    "the database has tables already", hint="name an empty database", finding="store.not-empty"
                )
        demand_magic(source, _MAGIC)
        options = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges")
        with _service(self._dsn) as environment:
            _run(("pg_restore", *options, _DATABASE, str(source)), environment)

    def discard(self) -> None:
        """Drop all tables. They are those of the copy: without that, there were none."""
        with _connected(self._dsn) as connection:
            for table in _tables(connection):
                connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(table)))


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection]:
    with explained(), psycopg.connect(dsn, **NETWORK) as connection:
        yield connection


def _one(connection: psycopg.Connection, query: LiteralString) -> Any:
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]


def _tables(connection: psycopg.Connection) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
    return [name for (name,) in connection.execute(query)]


@contextmanager
def _service(dsn: str) -> Iterator[Mapping[str, str]]:
    """Lend an environment in which the service `ledger` is this database."""
    lines = [f"{key}={value}" for key, value in conninfo_to_dict(dsn).items() if value is not None]
    if any("\n" in line or "\r" in line for line in lines):
        raise ConfigError("the database's connection string has a line end in it", hint="mend database_dsn_file")
    with tempfile.TemporaryDirectory(prefix="birthmark-") as folder:  # mode 0700
        path = Path(folder, "service")
        path.write_text("\n".join([f"[{_SERVICE}]", *lines, ""]))
        yield os.environ | {"PGSERVICEFILE": str(path)}


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 our own words, and paths of the administrator's
            command, env=dict(environment), capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        hint = "install PostgreSQL's client programs (Debian: postgresql-client)"
        raise StoreError(f"there is no {command[0]}", hint=hint, finding="store.program") from error
    except subprocess.TimeoutExpired as error:
        raise StoreError(f"{command[0]} did not end in time", finding="store.program") from error
    if done.returncode:
        # The first line says what; the others may quote rows.
        said = done.stderr.strip().partition("\n")[0]
        raise StoreError(f"{command[0]}: {said}", hint="see the database's log", finding="store.program")
