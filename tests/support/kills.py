# SPDX-License-Identifier: Apache-2.0
"""
Worker processes that are killed (SIGKILL) at the n-th point of what they do to their ledger.

Points are counted, not named: a statement that is added tomorrow is a point tomorrow.

SQLite: before every statement, commits among them, and after each that ends a transaction.
PostgreSQL: between worker and database stands a relay that reads the protocol. It kills the worker before a statement
of its is passed on (what it sent before has arrived: "failed, not done"), and when a transaction has ended and the
worker has not heard of it ("failed, but done").
"""

import os
import signal
import socket
import sqlite3
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from mmap import mmap
from pathlib import Path
from typing import Any, Protocol, TypeVar

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from birthmark.stores.ca_postgres import PostgresCAStore
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.stores.sqlite_file import SQLiteFile

HANG_S = 30
"""A worker that is neither killed nor done by then hangs, and fails the test."""
FAILED = 3


StoreT = TypeVar("StoreT")


class Place(Protocol[StoreT]):
    """Where a ledger, or another store, lives."""

    def open(self) -> StoreT: ...

    def open_killing(self, point: int) -> StoreT:
        """Open it in a process that is to be killed at this point, counted from 0."""
        ...


def killed(place: Place[StoreT], point: int, act: Callable[[StoreT], object]) -> bool:
    """
    Let a process of its own act, and kill it at this point; return False if it was done before it got there.

    Nothing of the ledger may be open in the calling process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _live(place, point, act)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"it ended by signal {os.WTERMSIG(status)} at point {point}"
        return True
    assert os.WEXITSTATUS(status) == 0, f"it failed on its way to point {point}"
    return False


def _live(place: Place[StoreT], point: int, act: Callable[[StoreT], object]) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(HANG_S)
    try:
        act(place.open_killing(point))
    except BaseException:  # noqa: BLE001 this process must not come back to pytest
        traceback.print_exc()
        os._exit(FAILED)
    os._exit(0)


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- SQLite ----------------------------------------------------------------------------------------------------


class SQLitePlace:
    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> SQLiteCAStore:
        return SQLiteCAStore(self._path)

    def open_killing(self, point: int) -> SQLiteCAStore:
        store = self.open()
        doom(store._file, point)
        return store


def doom(file: SQLiteFile, point: int) -> None:
    """Let this process be killed at the point, counted from 0, of what it does to the file from now on."""
    file._connection = _DoomedConnection(file._connection, point)  # type: ignore[assignment] # as far as it is used


class _DoomedConnection:
    """What `SQLiteFile` uses of a connection."""

    def __init__(self, connection: sqlite3.Connection, point: int) -> None:
        self._connection = connection
        self._left = point

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, statement: str, arguments: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        self._point()
        done = self._connection.execute(statement, arguments)
        if not self.in_transaction:
            self._point()
        return done

    def executemany(self, statement: str, arguments: Sequence[tuple[Any, ...]]) -> sqlite3.Cursor:
        self._point()
        return self._connection.executemany(statement, arguments)

    def _point(self) -> None:
        if self._left == 0:
            _kill_self()
        self._left -= 1


# --- PostgreSQL ------------------------------------------------------------------------------------------------


class PostgresPlace:
    def __init__(self, dsn: str, relay: "Relay") -> None:
        self._dsn = dsn
        self._relay = relay

    def open(self) -> PostgresCAStore:
        return PostgresCAStore(self._dsn)

    def open_killing(self, point: int) -> PostgresCAStore:
        self._relay.disarm()
        store = PostgresCAStore(make_conninfo(self._dsn, host=str(self._relay.folder)))
        self._relay.arm(point)
        return store


class Relay:
    """
    Passes on what workers and their PostgreSQL say to each other, message by message (protocol 3.0).

    Armed by the worker, through memory that both share, once it has its connections.
    """

    def __init__(self, folder: Path, dsn: str) -> None:
        database = conninfo_to_dict(dsn)
        port = database.get("port", "5432")
        self.folder = folder
        self._there = f"{database['host']}/.s.PGSQL.{port}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / f".s.PGSQL.{port}"))
        self._listener.listen()
        self._left = mmap(-1, 8)
        self._counting = threading.Lock()
        self.disarm()

    def arm(self, point: int) -> None:
        """Count from now on."""
        self._left[:] = struct.pack("q", point + 1)

    def disarm(self) -> None:
        self._left[:] = struct.pack("q", 0)

    def serve(self) -> None:
        """Serve until `close`."""
        with suppress(OSError):
            while True:
                worker, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(worker,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, worker: socket.socket) -> None:
        pid = struct.unpack("3i", worker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0]
        with worker, socket.socket(socket.AF_UNIX) as database:
            database.connect(self._there)
            back = threading.Thread(target=self._from_database, args=(worker, database, pid), daemon=True)
            back.start()
            self._from_worker(worker, database, pid)
            back.join()

    def _from_worker(self, worker: socket.socket, database: socket.socket, pid: int) -> None:
        """Kill before a statement is passed on: Query or Execute."""
        with _parting(worker, database), worker.makefile("rb") as said:
            database.sendall(_counted(said))  # the first message has no type
            while kind := said.read(1):
                message = kind + _counted(said)
                if kind in b"QE" and self._reached():
                    _kill(pid)
                    return
                database.sendall(message)

    def _from_database(self, worker: socket.socket, database: socket.socket, pid: int) -> None:
        """Kill when no transaction is open any more (ReadyForQuery, idle), and the worker does not know it yet."""
        with _parting(worker, database), database.makefile("rb") as said:
            while kind := said.read(1):
                message = kind + _counted(said)
                if kind == b"Z" and message.endswith(b"I") and self._reached():
                    _kill(pid)
                    return
                worker.sendall(message)

    def _reached(self) -> bool:
        with self._counting:
            (left,) = struct.unpack("q", self._left[:])
            if left > 0:
                self._left[:] = struct.pack("q", left - 1)
            return bool(left == 1)


@contextmanager
def relayed(folder: Path, dsn: str) -> Iterator[Relay]:
    relay = Relay(folder, dsn)
    thread = threading.Thread(target=relay.serve, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.close()
        thread.join()


@contextmanager
def _parting(*ends: socket.socket) -> Iterator[None]:
    """End the conversation for both when one of them leaves."""
    try:
        with suppress(OSError):
            yield
    finally:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _counted(said: Any) -> bytes:
    """Read a length of four bytes, and what it counts, itself among it."""
    head = said.read(4)
    if len(head) < 4:
        raise OSError("the connection ended within a message")
    return bytes(head + said.read(struct.unpack("!I", head)[0] - 4))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
