# SPDX-License-Identifier: Apache-2.0
"""
Acceptance 7: a scan reaches the rig wherever the focus is; what is wrong is refused, and shown as it was scanned.

And the rest of the station's screen, in Debian's Chromium before real processes: verdicts, a lead's override, a reload
in mid-panel, a rig that is started anew, two tabs, 64 positions.
"""

import json
import os
import pty
import signal
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from birthmark.testing.lab.files import LEAD, LEAD_PIN, OPERATOR
from birthmark.testing.lab.record import Lab
from support.labs import birthmark, births, running_lab
from support.stations import FULL_HD, GAP_MS, Screen, Station, chromium, serving, station_config

BOARDS = 7
ABSENT = "apdu:unix=/nonexistent/board.sock"
REST_GAPS = 3
"""So many gaps without a key come before a scan into a field (scanning.js)."""
BADGE = f"BM:OP:{OPERATOR}"
SHOTS = os.environ.get("BIRTHMARK_SCREENSHOTS")
"""A folder for the pictures of docs/reference/line-station.md; none are taken without it."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("screen") / "lab", boards=BOARDS) as lab:
        yield lab


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def config(lab: Lab, tmp_path: Path) -> Path:
    """A rig with the lab's boards in its fixture, and a last place where no board answers."""
    chips = [*(board.chip for board in lab.boards), ABSENT]
    return station_config(tmp_path, Path(lab.rig_configs["rig-a"]), chips)


@pytest.fixture
def station(config: Path) -> Iterator[Station]:
    with serving(config) as station:
        yield station


@contextmanager
def watching(browser: Browser, url: str, tabs: int = 1) -> Iterator[list[Screen]]:
    context = browser.new_context(viewport=FULL_HD, reduced_motion="reduce")
    screens = [Screen(context, url) for _ in range(tabs)]
    yield screens
    for screen in screens:
        assert screen.errors == []
    context.close()


@pytest.fixture
def screen(browser: Browser, station: Station) -> Iterator[Screen]:
    with watching(browser, station.url) as (screen,):
        yield screen


@contextmanager
def frozen(lab: Lab, name: str) -> Iterator[None]:
    """One of the lab's processes says nothing as long as the block runs: a panel is under way for as long."""
    (pid,) = (process.pid for process in lab.processes if process.name == name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def unit(number: int) -> str:
    return f"BM-{number:06d}"


def picture(screen: Screen, name: str) -> None:
    if SHOTS:
        screen.page.screenshot(path=Path(SHOTS) / f"{name}.png")


def test_a_panel_is_scanned_from_anywhere_and_shows_pass_and_fail(screen: Screen, lab: Lab) -> None:
    screen.scan(BADGE, unit(1), unit(2))
    screen.page.locator("#mute").focus()
    screen.scan(unit(3), suffix="Tab")
    expect(screen.page.locator("#mute")).to_be_focused()
    screen.page.locator("#last-open").click()
    screen.scan(unit(4))
    screen.page.keyboard.press("Escape")
    screen.scan(*(unit(number) for number in range(5, BOARDS + 1)))
    expect(screen.page.locator("#mute")).to_have_attribute("aria-pressed", "false")
    screen.scan("BM-000999")
    screen.shows("shown")
    for number in range(1, BOARDS + 1):
        screen.place(number, "pass", unit(number))
    screen.place(BOARDS + 1, "fail", "BM-000999")
    expect(screen.page.locator("#todo .advice")).to_contain_text("No chip answers")
    expect(screen.page.locator("html")).to_have_attribute("data-sound", "fail")
    expect(screen.page.locator("#units")).to_have_text(str(BOARDS))
    expect(screen.page.locator("#outbox")).to_be_hidden()
    assert {birth["operator"] for birth in births(lab)} == {OPERATOR}
    screen.scan(unit(1))
    screen.place(BOARDS + 1, "empty")


def test_every_verdict_has_its_word_and_what_to_do(screen: Screen) -> None:
    screen.scan(BADGE, *(unit(number) for number in range(1, BOARDS)), "BM:START")
    screen.shows("shown")
    screen.scan(unit(1), unit(2), "BM:BAD", "BM-000888", unit(5), unit(6), unit(7), "BM-000998")
    screen.shows("shown")
    words = screen.page.locator("#places .word")
    expect(words).to_have_text(["PASS", "PASS", "SKIP", "QUARANTINE", "PASS", "PASS", "PASS", "FAIL"])
    expect(screen.page.locator("#todo .quarantine .advice")).to_contain_text("Is it the right label?")
    expect(screen.page.locator("#todo .fail .advice")).to_contain_text("No chip answers")
    expect(screen.page.locator("html")).to_have_attribute("data-sound", "quarantine")
    expect(screen.page.locator("#outbox")).to_be_hidden()
    picture(screen, "station")


def test_a_refused_scan_is_shown_as_it_was_scanned_and_what_to_do(screen: Screen) -> None:
    screen.scan(BADGE, "https://example.com/<b>")
    band = screen.page.locator("#band")
    expect(band).to_have_class("refused")
    expect(band.locator(".scanned")).to_have_text("https://example.com/<b>")
    expect(band.locator(".advice")).to_contain_text("no label of a unit")
    expect(screen.page.locator("html")).to_have_attribute("data-sound", "refused")
    screen.scan(unit(1))
    screen.scan(unit(1))
    expect(band.locator(".advice")).to_contain_text("scanned already")
    expect(screen.page.locator("#places [data-next] .number")).to_have_text("2")
    picture(screen, "station-refused")


def test_a_scan_into_a_field_reaches_the_rig_and_leaves_the_field_as_it_was(screen: Screen) -> None:
    open_the_lead_s_dialog(screen)
    reason = screen.page.locator("#lead-reason")
    reason.fill("the label was")
    reason.focus()
    screen.page.wait_for_timeout(REST_GAPS * GAP_MS)  # a scanner comes after a rest; whoever types has none
    screen.scan(unit(3))
    expect(reason).to_have_value("the label was")
    screen.page.keyboard.press("Escape")
    screen.place(1, "scanned", unit(3))


def open_the_lead_s_dialog(screen: Screen) -> None:
    """Quarantine the board in the first place, under a label that is not its own, and open the dialog for it."""
    screen.scan(BADGE, unit(1), "BM:START")
    screen.place(1, "pass", unit(1))
    screen.scan("BM-000777", "BM:START")
    screen.place(1, "quarantine", "BM-000777")
    screen.page.locator("#todo .quarantine .lead-open").click()
    expect(screen.page.locator("#lead .state")).to_contain_text("in quarantine")


def test_a_lead_overrides_with_pin_and_reason_and_it_stands_in_the_unit_s_history(screen: Screen, config: Path) -> None:
    open_the_lead_s_dialog(screen)
    page = screen.page
    page.locator("#lead-pin").fill("000000")
    page.locator("#lead-reason").fill("the label was wrong")
    page.locator("#lead .decide").click()
    expect(page.locator("#lead .refusal")).to_contain_text("Wrong PIN")
    page.locator("#lead-pin").fill(LEAD_PIN)
    picture(screen, "station-lead")
    page.locator("#lead .decide").click()
    expect(page.locator("#lead")).to_be_hidden()
    expect(page.locator("#todo .decided")).to_contain_text(LEAD)
    told = json.loads(birthmark("line", "unit", "show", "BM-000777", "--config", config, "--json").stdout)
    assert (told["state"], told["by"], told["reason"]) == ("open", LEAD, "the label was wrong")


def test_an_operator_cannot_override(screen: Screen, station: Station) -> None:
    open_the_lead_s_dialog(screen)
    expect(screen.page.locator("#lead-name option")).to_have_text([LEAD])
    body = {"lead": OPERATOR, "pin": LEAD_PIN, "reason": "in a hurry"}
    answer = screen.page.request.post(f"{station.url}/v1/units/BM-000777/override", data=body)
    assert (answer.status, answer.json()["finding"]) == (403, "line.lead.role")


def test_a_reload_in_mid_panel_and_a_second_tab_show_the_same(browser: Browser, station: Station, lab: Lab) -> None:
    with watching(browser, station.url, tabs=2) as (one, other):
        one.scan(BADGE)
        with frozen(lab, "chip-BM-000002"):
            one.scan(unit(1), unit(2), "BM:BAD", "BM:START")
            for screen in (one, other):
                screen.shows("running")
                screen.place(1, "pass", unit(1))
                screen.place(2, "working", unit(2))
            one.page.reload()
            one.shows("running")
            one.place(3, "skip")
            one.place(2, "working", unit(2))
        for screen in (one, other):
            screen.shows("shown")
            screen.place(1, "pass", unit(1))
            screen.place(3, "skip")
            expect(screen.page.locator("#operator")).to_contain_text(OPERATOR)


def test_while_the_ca_is_away_the_screen_says_why_the_line_waits(browser: Browser, lab: Lab, tmp_path: Path) -> None:
    rig = Path(lab.rig_configs["rig-a"])
    config = station_config(tmp_path, rig, [lab.boards[0].chip], extra="ca_timeout_s = 1.0\n")
    with serving(config) as station, watching(browser, station.url) as (screen,):
        screen.scan(BADGE)
        with frozen(lab, "ca"):
            screen.scan(unit(1))
            expect(screen.page.locator("#band")).to_have_class("held")
            expect(screen.page.locator("#band .advice")).to_contain_text("goes on by itself")
            picture(screen, "station-held")
        screen.shows("shown")
        screen.place(1, "pass", unit(1))


def test_a_rig_that_is_started_anew_under_the_page_is_found_again(
    browser: Browser, config: Path, station: Station
) -> None:
    with watching(browser, station.url) as (screen,):
        screen.scan(BADGE, unit(1))
        station.end()
        screen.shows("away")
        expect(screen.page.locator("#band .headline")).to_have_text("The rig is away")
        screen.page.keyboard.type(unit(2))
        screen.page.keyboard.press("Enter")
        expect(screen.page.locator("#band .scanned")).to_have_text(unit(2))
        with serving(config, station.port):
            screen.shows("ready")
            screen.place(1, "empty")
            screen.scan(BADGE, unit(1))
            screen.place(1, "scanned", unit(1))


def test_a_rig_that_is_ended_in_mid_panel_finishes_it(browser: Browser, config: Path, lab: Lab) -> None:
    with serving(config) as station, watching(browser, station.url) as (screen,):
        screen.scan(BADGE)
        with frozen(lab, "chip-BM-000001"):
            screen.scan(unit(1), "BM:START")
            screen.place(1, "working", unit(1))
            station.process.send_signal(signal.SIGTERM)
            screen.shows("away")
            assert station.process.poll() is None
        assert station.process.wait(60) == 0
        told = json.loads(birthmark("line", "unit", "show", unit(1), "--config", config, "--json").stdout)
        assert told["state"] == "done"


def test_the_page_speaks_german(browser: Browser, lab: Lab, tmp_path: Path) -> None:
    rig = Path(lab.rig_configs["rig-a"])
    config = station_config(tmp_path, rig, [lab.boards[0].chip], extra='language = "de"\n')
    with serving(config) as station, watching(browser, station.url) as (screen,):
        expect(screen.page.locator("html")).to_have_attribute("lang", "de")
        expect(screen.page.locator("#band .headline")).to_have_text("Ausweis scannen")
        screen.scan(BADGE, unit(1))
        screen.shows("shown")
        expect(screen.page.locator("#places .word")).to_have_text("GUT")


def test_a_scanner_at_the_rig_needs_no_page(browser: Browser, lab: Lab, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    config = station_config(tmp_path, Path(lab.rig_configs["rig-a"]), [lab.boards[0].chip])
    with config.open("a") as file:
        file.write(f'device = "{os.ttyname(theirs)}"\n')
    with serving(config) as station, watching(browser, station.url) as (screen,):
        os.write(ours, b"BM:OP:ada\rnonsense!\r")
        expect(screen.page.locator("#band .scanned")).to_have_text("nonsense!")
        os.write(ours, f"{unit(1)}\r\n".encode())
        screen.place(1, "pass", unit(1))
    os.close(ours)
    os.close(theirs)


def test_64_positions_fit_on_one_screen(browser: Browser, lab: Lab, tmp_path: Path) -> None:
    chips = [
        *(board.chip for board in lab.boards),
        *(f"apdu:unix=/nonexistent/{number}" for number in range(64 - BOARDS)),
    ]
    config = station_config(tmp_path, Path(lab.rig_configs["rig-a"]), chips)
    with serving(config) as station, watching(browser, station.url) as (screen,):
        for typed in (BADGE, *(unit(number) for number in range(1, 60)), "BM:BAD", "BM:BAD", "BM:START"):
            assert screen.page.request.post(f"{station.url}/v1/scan", data={"typed": typed}).status == 200
        screen.shows("shown")
        screen.place(BOARDS, "pass", unit(BOARDS))
        screen.place(59, "fail", unit(59))
        screen.place(64, "skip")
        tiles = screen.page.locator("#places > li").all()
        assert len(tiles) == 64
        for tile in tiles:
            box = tile.bounding_box()
            assert box is not None
            assert box["width"] > 100
            assert box["height"] > 60
            assert box["y"] + box["height"] <= FULL_HD["height"]
        fits = "each => [...each.querySelectorAll('.word, .unit')].every(part => part.scrollWidth <= each.clientWidth)"
        assert all(tile.evaluate(fits) for tile in tiles)
        picture(screen, "station-64")
