# SPDX-License-Identifier: Apache-2.0
"""Copies of the ledger, in both databases: consistent, private, restored only to where none is, and held to the log."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from birthmark.ca.upkeep import wiring
from birthmark.ca.upkeep.errors import LedgerRefused
from birthmark.cli.main import birthmark
from birthmark.core.audit import AuditRow, encode_row
from birthmark.core.errors import ConfigError, StoreError
from birthmark.stores.ca_vault_postgres import PostgresVault
from birthmark.tlog.errors import NoteRefused
from support.ca_parts import NOW, ORDER, order
from support.ledger_copies import Place, Places
from support.postgres import PostgreSQL, postgresql


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def places(request: pytest.FixtureRequest, tmp_path: Path, cluster: PostgreSQL) -> Places:
    return Places(tmp_path, cluster if request.param == "PostgreSQL" else None)


@pytest.fixture
def place(places: Places) -> Place:
    made = places.ledger()
    made.lived(5)
    return made


@pytest.fixture
def copy(place: Place, tmp_path: Path) -> Path:
    wiring.backup(place.config, tmp_path / "copy")
    return tmp_path / "copy"


def refused(finding: str) -> "pytest.RaisesExc[StoreError | LedgerRefused]":
    return pytest.raises((StoreError, LedgerRefused), check=lambda error: error.finding == finding)


def test_a_restored_copy_is_the_ledger(place: Place, places: Places, copy: Path) -> None:
    other = places.empty()
    wiring.restore(other.config, copy)
    assert (other.entries(), other.checkpoint()) == (place.entries(), place.checkpoint())


def test_a_copy_is_of_one_moment_and_the_ledger_goes_on(place: Place, places: Places, copy: Path) -> None:
    place.lived(3)
    other = places.empty()
    found = wiring.restore_verified(other.config, copy, None)
    assert (found.entries, found.signed_for) == (5, 5)
    assert other.entries() == place.entries()[:5]


def test_a_copy_is_made_while_somebody_writes(place: Place, places: Places, tmp_path: Path) -> None:
    row = AuditRow(at=NOW, who="rig:rig-a", act="enrol")
    with place.store() as store, store.writing() as ledger:
        ledger.append([row])
        wiring.backup(place.config, tmp_path / "copy")
    other = places.empty()
    wiring.restore(other.config, tmp_path / "copy")
    assert encode_row(row) not in other.entries()
    assert len(other.entries()) == 5


def test_a_copy_is_for_its_owner_alone(copy: Path) -> None:
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [each.name for each in copy.parent.glob("copy*")] == ["copy"]


def test_a_copy_replaces_nothing(place: Place, copy: Path) -> None:
    before = copy.read_bytes()
    with refused("store.exists"):
        wiring.backup(place.config, copy)
    assert copy.read_bytes() == before


def test_nothing_is_restored_over_a_ledger(place: Place, copy: Path) -> None:
    place.lived(1)
    before = place.entries()
    with refused("store.not-empty"):
        wiring.restore(place.config, copy)
    assert place.entries() == before


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"PGDMP", b"SQLite format 3\0" + bytes(5_000)])
def test_what_is_no_copy_is_not_restored(places: Places, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "copy"
    path.write_bytes(content)
    place = places.empty()
    with pytest.raises(StoreError) as error:
        wiring.restore(place.config, path)
    assert error.value.finding in ("store.foreign", "store.program")
    path.unlink()
    assert not list(tmp_path.glob("*.sqlite*"))


def test_a_cut_copy_leaves_nothing_behind(places: Places, copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    place = places.empty()
    with pytest.raises(StoreError):
        wiring.restore(place.config, copy)
    assert_nothing_is_there(place)


def test_a_copy_that_is_older_than_a_kept_checkpoint_is_refused(
    place: Place, places: Places, copy: Path, tmp_path: Path
) -> None:
    place.lived(2)
    (tmp_path / "kept").write_text(place.checkpoint())
    other = places.empty()
    with refused("ca.restore.old"):
        wiring.restore_verified(other.config, copy, tmp_path / "kept")
    assert_nothing_is_there(other)


def test_a_copy_goes_on_from_a_kept_checkpoint(place: Place, places: Places, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text(place.checkpoint())
    place.lived(400)
    wiring.backup(place.config, tmp_path / "copy")
    assert wiring.restore_verified(places.empty().config, tmp_path / "copy", tmp_path / "kept").entries == 405


def test_another_history_is_refused(place: Place, places: Places, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text(place.checkpoint())
    invented = places.ledger()
    invented.lived(9, "rig:rig-b")
    wiring.backup(invented.config, tmp_path / "copy")
    other = places.empty()
    with refused("ca.restore.history"):
        wiring.restore_verified(other.config, tmp_path / "copy", tmp_path / "kept")
    assert_nothing_is_there(other)


def test_entries_that_nobody_signed_for_are_refused(place: Place, places: Places, tmp_path: Path) -> None:
    with place.store() as store, store.writing() as ledger:
        # Numbered on from the fifth; the checkpoint of six entries then stands for another one.
        ledger.append([AuditRow(at=NOW, who="rig:rig-a", act="enrol")])
    twin = places.ledger()
    twin.lived(6)
    with place.store() as store, store.writing() as ledger:
        ledger.put_checkpoint(6, twin.checkpoint())
    wiring.backup(place.config, tmp_path / "copy")
    with refused("ca.restore.log"):
        wiring.restore_verified(places.empty().config, tmp_path / "copy", None)


def test_a_ledger_without_a_checkpoint_is_not_verified(places: Places, tmp_path: Path) -> None:
    place = places.schema()
    with place.store() as store, store.writing() as ledger:
        ledger.append([AuditRow(at=NOW, who="rig:rig-a", act="enrol")])
    wiring.backup(place.config, tmp_path / "copy")
    with refused("ca.restore.unsigned"):
        wiring.restore_verified(places.empty().config, tmp_path / "copy", None)


def test_tables_that_say_something_else_than_the_log_are_refused(place: Place, places: Places, tmp_path: Path) -> None:
    with place.store() as store, store.writing() as ledger:
        ledger.put_order(order())
        ledger.take_quota([(ORDER, "BM-000001")])
    wiring.backup(place.config, tmp_path / "copy")
    other = places.empty()
    with refused("ca.restore.tables"):
        wiring.restore_verified(other.config, tmp_path / "copy", None)
    assert_nothing_is_there(other)


def test_a_checkpoint_of_somebody_else_is_no_witness(places: Places, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Places(tmp_path / "other", None).ledger()
    (tmp_path / "kept").write_text(stranger.checkpoint())
    other = places.empty()
    with pytest.raises(NoteRefused):
        wiring.restore_verified(other.config, copy, tmp_path / "kept")
    assert_nothing_is_there(other)


def test_the_status_says_what_is_there(place: Place) -> None:
    found = wiring.status(place.config)
    assert (found.store.version, found.entries) == (found.store.wanted, 5)
    assert found.checkpoint == place.checkpoint()


def test_the_commands_say_what_they_did(place: Place, places: Places, tmp_path: Path) -> None:
    other, run = places.empty(), CliRunner().invoke
    made = run(birthmark, ["ca", "store", "backup", "--config", str(place.config), str(tmp_path / "copy")])
    back = run(birthmark, ["ca", "store", "restore", "--config", str(other.config), str(tmp_path / "copy"), "--verify"])
    told = run(birthmark, ["ca", "store", "status", "--config", str(other.config)])
    assert (made.exit_code, back.exit_code, told.exit_code) == (0, 0, 0)
    assert "5 entries, 5 of them signed for" in back.output
    assert "checkpoint_entries: 5" in told.output


def test_a_password_is_on_no_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = tmp_path / "shown"
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$@" > {shown}\nenv >> {shown}\nexit 1\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with refused("store.program"):
        PostgresVault("host=/nowhere user=a password=hunter2").backup(tmp_path / "copy")
    assert "PGSERVICEFILE" in shown.read_text()
    assert "hunter2" not in shown.read_text()


def test_without_the_programs_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("store.program") as error:
        PostgresVault("host=/nowhere").backup(tmp_path / "copy")
    assert "postgresql-client" in error.value.hint


def test_a_malformed_connection_string_is_not_shown() -> None:
    with pytest.raises(ConfigError) as error:
        PostgresVault("password=hunter2 host")
    assert "hunter2" not in str(error.value)


def assert_nothing_is_there(place: Place) -> None:
    """A new ledger is made there, or, in PostgreSQL, none is found."""
    try:
        found = wiring.status(place.config)
    except StoreError:
        return
    assert found.store.version == 0
