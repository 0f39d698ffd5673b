# SPDX-License-Identifier: Apache-2.0
"""The MES file as it can be looked at: while rigs append to it, halved, replaced, or away."""

import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.delivery import Parcel
from birthmark.stores.mes_jsonl import MESFile
from birthmark.web.birth_file import LINE_MAX_BYTES, BirthFile, Births
from support import births
from support.births import MOMENT
from support.parcels import birth_parcel, parcel, started

ALL = 1_000
UNITS = [f"BM-{number:06d}" for number in range(1, 13)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "births.jsonl"


@pytest.fixture(scope="module")
def signed() -> list[Parcel]:
    rig = births.Births()
    return [birth_parcel(rig, unit, number) for number, unit in enumerate(UNITS, 1)]


@pytest.fixture
def mes(path: Path, signed: list[Parcel]) -> bytes:
    """The file as the rig's own destination writes it."""
    with closing(MESFile(path)) as file:
        for birth in signed:
            file.deliver(birth)
    return path.read_bytes()


def line(unit: str) -> bytes:
    """A line without the JWS: enough for the page."""
    return msgspec.json.encode({"record": births.record(unit)}) + b"\n"


def units(seen: Births) -> list[str]:
    return [record.unit_serial for record in seen.newest]


@pytest.mark.usefixtures("mes")
def test_the_newest_come_first_and_no_more_than_the_limit(path: Path) -> None:
    seen = BirthFile(path).look(MOMENT, 5)
    assert units(seen) == UNITS[:-6:-1]
    assert (seen.total, seen.found) == (12, 12)
    assert (seen.by_outcome, seen.by_rig) == ((("PASS", 12),), (("rig-a", 12),))
    assert (seen.unreadable, seen.unfinished, seen.problem) == (0, False, "")


@pytest.mark.usefixtures("mes")
def test_today_is_the_day_in_utc(path: Path) -> None:
    file = BirthFile(path)
    assert file.look(MOMENT, ALL).today == 12
    assert file.look(MOMENT + timedelta(days=1), ALL).today == 0


@pytest.mark.usefixtures("mes")
def test_a_part_of_the_serial_finds_its_units(path: Path) -> None:
    seen = BirthFile(path).look(MOMENT, 2, "00001")
    assert units(seen) == ["BM-000012", "BM-000011"]
    assert (seen.found, seen.total) == (4, 12)


@pytest.mark.usefixtures("mes")
def test_what_is_appended_between_two_looks_is_seen(path: Path) -> None:
    file = BirthFile(path)
    file.look(MOMENT, ALL)
    with path.open("ab") as appending:
        appending.write(line("BM-000100"))
    seen = file.look(MOMENT, 1)
    assert units(seen) == ["BM-000100"]
    assert seen.total == 13


def test_a_torn_last_line_is_told_and_read_once_it_is_whole(path: Path, mes: bytes) -> None:
    path.write_bytes(mes[:-700])
    file = BirthFile(path)
    torn = file.look(MOMENT, ALL)
    assert (torn.total, torn.unfinished, torn.unreadable) == (11, True, 0)
    path.write_bytes(mes)
    whole = file.look(MOMENT, ALL)
    assert (whole.total, whole.unfinished) == (12, False)


def test_a_torn_line_that_the_rig_cuts_off_and_writes_anew_counts_once(
    path: Path, mes: bytes, signed: list[Parcel]
) -> None:
    path.write_bytes(mes[:-700])
    file = BirthFile(path)
    file.look(MOMENT, ALL)
    with closing(MESFile(path)) as rig:
        rig.deliver(signed[-1])
    assert path.read_bytes() == mes
    assert file.look(MOMENT, ALL).total == 12


@given(cut=st.integers(0, 3_000))
def test_wherever_the_file_is_cut_the_whole_lines_are_read(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "births.jsonl"
    whole = b"".join(map(line, UNITS[:4]))
    path.write_bytes(whole[: len(whole) - min(cut, len(whole))])
    seen = BirthFile(path).look(MOMENT, ALL)
    assert seen.total == path.read_bytes().count(b"\n")
    assert (seen.unreadable, seen.problem) == (0, "")


def test_other_events_of_the_line_are_passed_over(path: Path, signed: list[Parcel]) -> None:
    with closing(MESFile(path)) as rig:
        rig.deliver(parcel(started("BM-000001")))
        rig.deliver(signed[0])
        rig.deliver(parcel(started("BM-000002"), 2))
    seen = BirthFile(path).look(MOMENT, ALL)
    assert units(seen) == ["BM-000001"]
    assert (seen.total, seen.unreadable) == (1, 0)


def test_a_file_that_is_away_is_told_and_seen_when_it_comes(path: Path) -> None:
    file = BirthFile(path)
    assert "not there yet" in file.look(MOMENT, ALL).problem
    path.write_bytes(line("BM-000001"))
    assert file.look(MOMENT, ALL).total == 1
    path.unlink()
    assert "not there yet" in file.look(MOMENT, ALL).problem


def test_a_path_that_is_no_file_is_told(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in BirthFile(tmp_path).look(MOMENT, ALL).problem


@pytest.mark.usefixtures("mes")
def test_another_file_under_the_same_name_is_read_from_its_beginning(path: Path) -> None:
    file = BirthFile(path)
    file.look(MOMENT, ALL)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(line("BM-000777"))
    fresh.replace(path)
    assert units(file.look(MOMENT, ALL)) == ["BM-000777"]


def test_a_file_that_was_emptied_is_read_from_its_beginning(path: Path) -> None:
    path.write_bytes(line("BM-000001") + line("BM-000002"))
    file = BirthFile(path)
    file.look(MOMENT, ALL)
    os.truncate(path, 0)
    assert file.look(MOMENT, ALL).total == 0


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(b"not JSON", id="not JSON"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="not text"),
        pytest.param(b'{"record": {"record": "birthmark.birth.v2"}}', id="a later version"),
        pytest.param(b'{"record": null}', id="no record"),
        pytest.param(b"[" * 50_000, id="deep"),
        pytest.param(b'"' + b"x" * LINE_MAX_BYTES + b'"', id="too long"),
        pytest.param(b"x" * (LINE_MAX_BYTES - 1), id="as long as is read"),
        pytest.param(b"x" * LINE_MAX_BYTES, id="one byte longer than is read"),
        pytest.param(b'{"record": "\\ud800"}', id="half a character"),
    ],
)
def test_a_line_that_is_no_birth_is_counted_and_hides_no_other(path: Path, foreign: bytes) -> None:
    path.write_bytes(line("BM-000001") + foreign + b"\n" + line("BM-000002"))
    seen = BirthFile(path).look(MOMENT, ALL)
    assert units(seen) == ["BM-000002", "BM-000001"]
    assert (seen.unreadable, seen.unfinished) == (1, False)


def test_an_endless_last_line_is_unfinished_and_not_a_birth(path: Path) -> None:
    path.write_bytes(line("BM-000001") + b"x" * (3 * LINE_MAX_BYTES))
    seen = BirthFile(path).look(MOMENT, ALL)
    assert (seen.total, seen.unfinished, seen.unreadable) == (1, True, 0)
