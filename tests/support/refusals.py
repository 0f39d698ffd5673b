# SPDX-License-Identifier: Apache-2.0
"""Programs that are given bad input: how they must end, and what they must leave as it was."""

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from birthmark.cli.exits import Exit, exit_for
from birthmark.testing.lab.record import Lab
from support.labs import PROGRAM

T = TypeVar("T")
Arguments = tuple[str | Path, ...]
TIMEOUT_S = 30
_LINE = re.compile(r"birthmark: (?P<finding>[a-z0-9-]+(?:\.[a-z0-9-]+)+): (?P<what>.+?); (?P<hint>.+)")
_LIMITED = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); "
_LIMITED += "os.execv(sys.argv[2], sys.argv[2:])"
_NOT_OURS = ("logs", "__pycache__")


@dataclass(frozen=True)
class Refusal:
    """The one line that a failed program has printed."""

    finding: str
    what: str
    hint: str


def attempt(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    output: Path | None = None,
    file_limit_bytes: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """
    Run the program as a user would.

    `output` takes the place of stdout. With `file_limit_bytes` no file can grow beyond that: a full disk for whoever
    does not look at the size of the disk first (EFBIG instead of ENOSPC).
    """
    limited = [] if file_limit_bytes is None else [sys.executable, "-c", _LIMITED, str(file_limit_bytes)]
    with (output or Path(os.devnull)).open("w") as stream:
        return subprocess.run(
            [*limited, *PROGRAM, *map(str, arguments)],
            stdout=stream if output else subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=TIMEOUT_S,
            env={**os.environ, **(env or {})},
            check=False,
        )


def attempts(
    cases: Iterable[T], command: Callable[[T], Arguments]
) -> Iterator[tuple[T, subprocess.CompletedProcess[str]]]:
    """Run the program for each case, several at a time, and return what became of each."""
    cases = list(cases)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return zip(cases, list(threads.map(lambda case: attempt(*command(case)), cases)), strict=True)


def refusal(done: subprocess.CompletedProcess[str], code: Exit) -> Refusal:
    """Return the one line of a program that failed as it should: finding, what and where, what to do; no traceback."""
    assert "Traceback" not in (done.stdout or "") + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("birthmark: ")]
    assert len(lines) == 1, done.stderr
    told = _LINE.fullmatch(lines[0])
    assert told, lines[0]
    assert exit_for(told["finding"]) == done.returncode == code, lines[0]
    return Refusal(**told.groupdict())


# What a running CA writes without being asked: hashes and checkpoints of its log, lists, the row that health writes.
_UNASKED = {"tile", "checkpoint", "published", "probe"}


def with_key(config: Path | str, key: str, value: str) -> Path:
    """
    Write a variant of a TOML file beside it, with another value (TOML) of one key, and return its path.

    A key `table.name` is one of a table on one line, whose value is a text now.
    """
    config = Path(config)
    table, _, name = key.rpartition(".")
    if table:
        text, found = re.subn(rf'(?m)^({table} = .*\b{name} = )"[^"]*"', rf"\g<1>{value}", config.read_text())
    else:
        text, found = re.subn(rf"(?m)^{key} = .*$", lambda _: f"{key} = {value}", config.read_text())
    variant = config.with_name(f"{config.stem}-{hashlib.sha256(f'{key}{value}'.encode()).hexdigest()[:8]}.toml")
    variant.write_text(text if found else f"{key} = {value}\n{text}")
    variant.chmod(config.stat().st_mode)  # secrets stay secrets
    return variant


def world(lab: Lab) -> dict[str, object]:
    """Return everything that a command may change: files by digest, chips by their memory, databases by their rows."""
    files: dict[str, object] = {}
    for path in sorted(lab.path.rglob("*")):
        name = str(path.relative_to(lab.path))
        if not path.is_file() or name.startswith(_NOT_OURS) or path.suffix in {".sqlite-wal", ".sqlite-shm"}:
            continue
        files[name] = _rows(path) if path.suffix == ".sqlite" else hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def rows(database: Path | str, query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query over a lab's database, which may be in use."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def intact(database: Path | str) -> bool:
    """Whether SQLite finds the file whole, references included."""
    return rows(database, "pragma integrity_check") == [("ok",)] and not rows(database, "pragma foreign_key_check")


def _rows(database: Path) -> dict[str, list[tuple[object, ...]]]:
    tables = rows(database, "select name from sqlite_master where type = 'table' order by name")
    kept = [str(name) for (name,) in tables if name not in _UNASKED]
    return {name: rows(database, f'select * from "{name}"') for name in kept}  # noqa: S608 names of tables
