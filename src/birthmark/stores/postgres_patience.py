# SPDX-License-Identifier: Apache-2.0
"""
How long a PostgreSQL is waited for, on its side and on ours.

The server gives up by itself what takes too long, and a machine that died is noticed by TCP. Neither helps against a
server that is stopped and not dead: its kernel goes on acknowledging what nobody will read. So a connection that was
lent out and on which nothing has come to an end for `silence_s` is cut from our side: whoever waits for it fails.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg

CONNECT_TIMEOUT_S: Final = 5
KEEPALIVE_IDLE_S: Final = 5
KEEPALIVE_EVERY_S: Final = 2
KEEPALIVE_COUNT: Final = 3
UNACKNOWLEDGED_S: Final = 10
"""How long what was sent may stay without an acknowledgement, on either side, before the connection counts as lost."""
LOOK_EVERY_S: Final = 0.25
"""How often connections that are lent out are looked at."""
STOP_TIME_S: Final = 2.0

NETWORK: Final[Mapping[str, Any]] = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": KEEPALIVE_IDLE_S,
    "keepalives_interval": KEEPALIVE_EVERY_S,
    "keepalives_count": KEEPALIVE_COUNT,
    "tcp_user_timeout": UNACKNOWLEDGED_S * 1_000,
}
"""libpq's words for it, of every connection."""


@dataclass(frozen=True, slots=True)
class Patience:
    """
    Limits in seconds: for a statement, for the wait for a lock, for a transaction that does nothing; and `silence_s`.

    The last is ours, and longer than the first two: a server that works says itself that its time is over.
    """

    statement_s: int
    lock_s: int
    idle_s: int
    silence_s: float

    @property
    def settings(self) -> Mapping[str, str]:
        """The server's part of it, as settings of a session."""
        return {
            "statement_timeout": f"{self.statement_s}s",
            "lock_timeout": f"{self.lock_s}s",
            # A client whose machine died within a transaction holds up others no longer than this.
            "idle_in_transaction_session_timeout": f"{self.idle_s}s",
            "tcp_keepalives_idle": str(KEEPALIVE_IDLE_S),
            "tcp_keepalives_interval": str(KEEPALIVE_EVERY_S),
            "tcp_keepalives_count": str(KEEPALIVE_COUNT),
            "tcp_user_timeout": f"{UNACKNOWLEDGED_S}s",
        }


ISSUING: Final = Patience(statement_s=5, lock_s=5, idle_s=5, silence_s=6.0)
"""For transactions of a few rows: a client that waits for one gives up after 10 s (`ca_timeout_s` of a rig)."""
READING: Final = Patience(statement_s=30, lock_s=10, idle_s=10, silence_s=33.0)
"""For those that may read the whole ledger."""


class Lease:
    """A connection while it is lent out."""

    __slots__ = ("_silence_s", "connection", "ended", "until_s")

    def __init__(self, connection: psycopg.Connection, silence_s: float) -> None:
        self.connection = connection
        self._silence_s = silence_s
        self.ended = False
        """Whether it was cut."""
        self.renew()

    def renew(self) -> None:
        """Begin another wait: what was waited for before has come."""
        self.until_s = time.monotonic() + self._silence_s


class Watch:
    """Cuts what is silent for too long, from a thread of its own. Thread-safe."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._lock = threading.Lock()
        self._lent: set[Lease] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="postgres-watch", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def over(self, connection: psycopg.Connection) -> Iterator[Lease]:
        """Watch a connection for as long as the block runs. Once that has ended it is not cut any more."""
        lease = Lease(connection, self._silence_s)
        with self._lock:
            self._lent.add(lease)
        try:
            yield lease
        finally:
            with self._lock:
                self._lent.discard(lease)

    def close(self) -> None:
        """End the watch."""
        self._over.set()
        self._thread.join(STOP_TIME_S)

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            with self._lock:
                now = time.monotonic()
                for lease in self._lent:
                    if not lease.ended and now >= lease.until_s:
                        lease.ended = True
                        _cut(lease.connection)


def _cut(connection: psycopg.Connection) -> None:
    """End both directions of the connection's socket, which wakes whoever waits for it; libpq closes it itself."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)
