# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL for a benchmark: Debian's, as durable as it comes (fsync, synchronous commit), on cores of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# initdb and postgres refuse to run as root; Debian's package brings this user.
_AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")
_SETTINGS = ("listen_addresses=", "max_connections=40", "shared_buffers=128MB")


@contextmanager
def postgresql(cores: str) -> Iterator[str]:
    """Run a new cluster on these cores (a list as taskset has it); yield its connection string."""
    folder = Path(tempfile.mkdtemp(prefix="birthmark-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data, log = folder / "data", folder / "log"
    options = " ".join(f"-c {setting}" for setting in (*_SETTINGS, f"unix_socket_directories={folder}"))
    try:
        _run("initdb", folder, "--pgdata", data, "--username=postgres", "--auth=trust", "--locale=C", "--encoding=UTF8")
        _run("pg_ctl", folder, "--pgdata", data, "--log", log, "--wait", "--options", options, "start", cores=cores)
        try:
            yield f"host={folder} user=postgres dbname=postgres"
        finally:
            _run("pg_ctl", folder, "--pgdata", data, "--mode=immediate", "--wait", "stop")
    finally:
        shutil.rmtree(folder)


def _run(program: str, folder: Path, *arguments: str | Path, cores: str = "") -> None:
    newest = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    pinned = ("taskset", "--cpu-list", cores) if cores else ()
    command = [*pinned, *(_AS_POSTGRES if os.geteuid() == 0 else ()), str(newest / program), *map(str, arguments)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 a command of our own making
