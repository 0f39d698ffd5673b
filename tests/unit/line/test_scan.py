# SPDX-License-Identifier: Apache-2.0
"""What a scanner typed, and what the station's screen makes of it (acceptance 7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.line.errors import ScanRefused
from birthmark.line.station.floor import (
    NOTHING,
    Floor,
    Look,
    Phase,
    Told,
    backlog_is,
    decided,
    empty,
    happened,
    reader_is,
    refused,
    scanned,
    stopped,
)
from birthmark.line.station.scan import BadgeScan, Command, CommandScan, Scan, Scanner, UnitScan, read_scan

PLAIN = Scanner()
WRAPPED = Scanner(prefix="<", suffix=">", badge_prefix="OP-")
UNIT = UnitScan("BM-000001")
TOLD_MAX = 400


@pytest.mark.parametrize(
    ("typed", "scanner", "meant"),
    [
        ("BM-000001", PLAIN, UNIT),
        ("BM-000001\r\n", PLAIN, UNIT),
        ("\x02BM-000001\x03", PLAIN, UNIT),
        ("]C1BM-000001", PLAIN, UNIT),
        ("<BM-000001>", WRAPPED, UNIT),
        ("<]d2BM-000001>\n", WRAPPED, UNIT),
        ("  BM-000001 ", PLAIN, UNIT),
        ("BM:OP:ada", PLAIN, BadgeScan("ada")),
        ("OP-ada", WRAPPED, BadgeScan("ada")),
        ("BM:START", PLAIN, CommandScan(Command.START)),
    ],
)
def test_a_scan_is_what_is_left_of_what_the_scanner_adds(typed: str, scanner: Scanner, meant: Scan) -> None:
    assert read_scan(typed, scanner) == meant


@pytest.mark.parametrize(
    ("typed", "finding", "shown"),
    [
        ("", "line.scan.empty", "empty"),
        ("\r\n", "line.scan.empty", "empty"),
        ("https://example.com/?q=1", "line.scan.unknown", "https://example.com"),
        ("bm 000001", "line.scan.unknown", "bm 000001"),
        ("BM\x1d000001 x", "line.scan.unknown", r"BM\\x1d000001"),
        ("BM:OP:", "line.scan.unknown", "BM:OP:"),
        ("BM:STOP", "line.scan.unknown", "BM:STOP"),
        ("x" * 257, "line.scan.too-long", "257 characters"),
    ],
)
def test_what_is_no_scan_of_ours_is_refused_and_shown(typed: str, finding: str, shown: str) -> None:
    with pytest.raises(ScanRefused, match=shown) as error:
        read_scan(typed, PLAIN)
    assert error.value.finding == finding


@given(st.text())
def test_any_text_is_a_scan_or_refused_and_what_is_shown_is_short_and_printable(typed: str) -> None:
    told = ""
    try:
        read_scan(typed, PLAIN)
    except ScanRefused as error:
        told = str(error)
    assert told.isprintable()
    assert len(told) < TOLD_MAX


# --- the floor -------------------------------------------------------------------------------------------------

ADA = BadgeScan("ada")
START, CLEAR, BAD, LOGOUT = (CommandScan(each) for each in (Command.START, Command.CLEAR, Command.BAD, Command.LOGOUT))


def after(*scans: Scan, positions: int = 3) -> Floor:
    floor = empty(positions)
    for scan in scans:
        floor = scanned(floor, scan)
    return floor


def units(*numbers: int) -> tuple[UnitScan, ...]:
    return tuple(UnitScan(f"BM-{number:06d}") for number in numbers)


def test_labels_fill_the_places_in_order_and_the_last_one_starts_the_panel() -> None:
    two = after(ADA, *units(1, 2))
    assert (two.phase, [place.look for place in two.places]) == (Phase.READY, [Look.SCANNED, Look.SCANNED, Look.EMPTY])
    full = scanned(two, *units(3))
    assert (full.phase, full.panel, full.operator) == (Phase.RUNNING, 1, "ada")
    assert [place.unit for place in full.places] == ["BM-000001", "BM-000002", "BM-000003"]


def test_a_bad_mark_is_a_place_that_is_skipped() -> None:
    floor = after(ADA, *units(1), BAD, *units(3))
    assert [place.look for place in floor.places] == [Look.SCANNED, Look.SKIP, Look.SCANNED]
    assert floor.phase is Phase.RUNNING


def test_start_runs_what_is_there_and_skips_the_rest() -> None:
    floor = after(ADA, *units(1), START)
    assert (floor.phase, [place.word for place in floor.places]) == (Phase.RUNNING, ["", "SKIP", "SKIP"])


RUNNING = after(ADA, *units(1, 2, 3))
ENDED = {"event": "panel.end", "panel_s": 1.5, "outbox": 2, "parked": 1}
SHOWN = happened(RUNNING, ENDED)


@pytest.mark.parametrize(
    ("floor", "scan", "finding"),
    [
        (empty(3), UNIT, "line.scan.nobody"),
        (empty(3), BAD, "line.scan.nobody"),
        (after(ADA, UNIT), UNIT, "line.scan.twice"),
        (after(ADA), START, "line.scan.nothing"),
        (after(ADA, UNIT, LOGOUT), START, "line.scan.nobody"),
        (after(ADA, BAD), START, "line.scan.nothing"),
        (after(ADA, BAD, BAD, BAD), UNIT, "line.scan.full"),
        (RUNNING, UNIT, "line.scan.running"),
        (RUNNING, START, "line.scan.running"),
        (RUNNING, CLEAR, "line.scan.running"),
        (RUNNING, LOGOUT, "line.scan.running"),
        (SHOWN, START, "line.scan.nothing"),
    ],
)
def test_a_scan_that_does_not_fit_is_refused(floor: Floor, scan: Scan, finding: str) -> None:
    with pytest.raises(ScanRefused) as error:
        scanned(floor, scan)
    assert error.value.finding == finding


def test_verdicts_stay_until_the_next_scan() -> None:
    assert (SHOWN.phase, SHOWN.panel_s, SHOWN.outbox, SHOWN.parked) == (Phase.SHOWN, 1.5, 2, 1)
    following = scanned(SHOWN, *units(9))
    assert (following.phase, following.places[0].unit) == (Phase.READY, "BM-000009")
    assert following.places[1].look is Look.EMPTY
    assert scanned(SHOWN, ADA).places == SHOWN.places
    assert scanned(SHOWN, CLEAR).places == empty(3).places


VERDICT = {"event": "verdict", "position": 2, "unit": "BM-000002", "reason": "see it", "board_s": 1.2}


@pytest.mark.parametrize(
    ("verdict", "finding", "look"),
    [
        ("PASS", "", Look.PASS),
        ("PASS-ALREADY", "", Look.PASS),
        ("RESUMED", "", Look.PASS),
        ("FAIL", "chip.absent", Look.FAIL),
        ("QUARANTINE", "line.unit.twin", Look.QUARANTINE),
        ("SKIP", "", Look.SKIP),
    ],
)
def test_events_move_their_place_alone(verdict: str, finding: str, look: Look) -> None:
    working = happened(RUNNING, {"event": "step.begin", "position": 2, "unit": "BM-000002", "step": "attest"})
    assert (working.places[1].look, working.places[1].word) == (Look.WORKING, "attest")
    told = happened(working, {**VERDICT, "verdict": verdict, "finding": finding})
    place = told.places[1]
    assert (place.look, place.word, place.finding, place.board_s) == (look, verdict, finding, 1.2)
    assert (told.places[0], told.places[2]) == (RUNNING.places[0], RUNNING.places[2])


def test_a_hold_says_why_until_it_ends() -> None:
    held = happened(RUNNING, {"event": "hold", "what": "the CA is away", "hint": "see that it runs", "finding": "f"})
    assert held.held == Told("the CA is away; see that it runs", "f")
    assert happened(held, {"event": "resume", "unit": ""}).held == NOTHING


def test_a_factory_that_is_behind_is_told_until_the_next_panel() -> None:
    behind = happened(RUNNING, {"event": "mes.behind", "destination": "mes", "what": "500 events wait", "hint": ""})
    assert behind.behind == "500 events wait"
    assert scanned(happened(behind, ENDED), units(9)[0]).behind == "500 events wait"
    assert after(ADA, *units(1, 2, 3)).behind == ""


def test_a_panel_that_could_not_run_shows_why_and_no_verdict() -> None:
    working = happened(RUNNING, {"event": "step.begin", "position": 1, "unit": "BM-000001", "step": "power"})
    floor = stopped(working, "the disk is full", "line.disk")
    assert (floor.phase, floor.told) == (Phase.SHOWN, Told("the disk is full", "line.disk"))
    assert {place.look for place in floor.places} == {Look.SCANNED}


def test_a_refused_scan_is_shown_and_a_second_one_is_told_from_the_first() -> None:
    error = ScanRefused("no label", finding="line.scan.unknown")
    once = refused(SHOWN, error, "xyz")
    assert (once.told.scanned, once.told.finding, once.places) == ("xyz", "line.scan.unknown", SHOWN.places)
    assert refused(once, error, "xyz").told.number > once.told.number > 0
    assert scanned(once, ADA).told == NOTHING


def test_a_leads_decision_stands_at_the_unit_s_place() -> None:
    floor = decided(SHOWN, "BM-000002", "override: grace")
    assert [place.decided for place in floor.places] == ["", "override: grace", ""]


def test_what_waits_and_what_is_wrong_with_the_scanner_is_a_new_version_only_when_it_changes() -> None:
    changed = backlog_is(SHOWN, 0, 1)
    assert (changed.outbox, changed.parked, changed.version) == (0, 1, SHOWN.version + 1)
    assert backlog_is(changed, 0, 1) is changed
    assert reader_is(SHOWN, "pulled out").reader == "pulled out"


@given(st.lists(st.sampled_from([ADA, START, CLEAR, BAD, LOGOUT, *units(1, 2, 3, 4)]), max_size=20))
def test_no_scan_leads_to_a_floor_that_runs_nothing_or_holds_a_unit_twice(scans: list[Scan]) -> None:
    floor = empty(3)
    for scan in scans:
        before = floor
        try:
            floor = scanned(floor, scan)
        except ScanRefused:
            floor = before
        named = [place.unit for place in floor.places if place.unit]
        assert len(named) == len(set(named))
        assert (floor.phase is Phase.RUNNING) <= (floor.workable and bool(floor.operator))
