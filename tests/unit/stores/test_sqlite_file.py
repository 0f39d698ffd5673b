# SPDX-License-Identifier: Apache-2.0
"""Whose file a database is: a service never writes its tables into another's."""

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from birthmark.core.errors import StoreError
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.stores.cloud_sqlite import CloudSQLite
from birthmark.stores.line_sqlite import LineSQLite

Store = SQLiteCAStore | CloudSQLite | LineSQLite
STORES: tuple[Callable[[Path], Store], ...] = (SQLiteCAStore, CloudSQLite, LineSQLite)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table somebody_elses (value integer)")
        connection.commit()


def text(path: Path) -> None:
    path.write_bytes(b"no database, and long enough to be looked at as one\n" * 100)


@pytest.mark.parametrize("opened", STORES)
def test_a_store_opens_its_own_file_again(opened: Callable[[Path], Store], tmp_path: Path) -> None:
    for _ in range(2):
        opened(tmp_path / "store.sqlite").close()


@pytest.mark.parametrize("opened", STORES)
def test_a_database_and_what_lies_beside_it_is_for_its_owner_alone(
    opened: Callable[[Path], Store], tmp_path: Path
) -> None:
    with closing(opened(tmp_path / "store.sqlite")):
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert len(modes) > 1
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("opened", STORES)
@pytest.mark.parametrize("make", [foreign, text])
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(
    opened: Callable[[Path], Store], make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "store.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreError) as refused:
        opened(path)
    assert refused.value.finding == "store.foreign"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("made", "opened"), list(itertools.permutations(STORES, 2)))
def test_no_service_takes_the_database_of_another(
    made: Callable[[Path], Store], opened: Callable[[Path], Store], tmp_path: Path
) -> None:
    made(tmp_path / "store.sqlite").close()
    with pytest.raises(StoreError, match="another program"):
        opened(tmp_path / "store.sqlite")
