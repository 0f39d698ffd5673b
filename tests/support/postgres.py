# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL for one test session: a new cluster in a temporary folder, reached through a Unix socket."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

START_TIMEOUT_S = 30
# initdb and postgres refuse to run as root; Debian's package brings this user.
_AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")
# A cluster that lives for one test: nothing in it must survive a power cut.
_SETTINGS = ("listen_addresses=", "fsync=off", "max_connections=60", "shared_buffers=8MB")


class PostgreSQL:
    """One cluster. It can be stopped and started again in place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._numbers = itertools.count()
        self.dsn = f"host={folder} user=postgres dbname=postgres"

    def create(self) -> None:
        self._run(
            "initdb",
            "--pgdata",
            self._data,
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--locale=C",
            "--encoding=UTF8",
        )

    def start(self) -> None:
        options = " ".join(f"-c {setting}" for setting in (*_SETTINGS, f"unix_socket_directories={self._folder}"))
        log = self._folder / "log"
        self._run("pg_ctl", "--pgdata", self._data, "--log", log, "--wait", "--options", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "--pgdata", self._data, "--mode=immediate", "--wait", "stop")

    def suspend(self) -> None:
        """Stop every process of the cluster where it is, as a machine that hangs does: connections stay as they are."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> Iterator[int]:
        """Yield the postmaster, and then its children: once it stands still it makes no more of them."""
        postmaster = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        yield postmaster
        yield from (pid for pid, parent in _processes() if parent == postmaster)

    def new_database(self) -> str:
        """Make an empty database; return its connection string."""
        name = f"db{next(self._numbers)}"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"host={self._folder} user=postgres dbname={name}"

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [*(_AS_POSTGRES if os.geteuid() == 0 else ()), str(_programs() / program), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _processes() -> Iterator[tuple[int, int]]:
    """Yield every process with its parent."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            yield int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    # Not below pytest's folder: that is closed to the user postgres, and its name may be too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="birthmark-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    cluster = PostgreSQL(folder)
    try:
        cluster.create()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
