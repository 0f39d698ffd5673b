# SPDX-License-Identifier: Apache-2.0
"""
Acceptance 9: "First-pass yield fell after lunch: is it the fixture?"

Two real rigs, a bad contact at one place of one fixture, and everything else that a day brings. The numbers are
counted once more, by hand, from what the MES was told.
"""

import csv
import io
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from birthmark.silicon.simulator.armed import Fault
from birthmark.silicon.simulator.faults import BusFaults
from birthmark.testing.lab.record import RIGS, Board, Lab
from support.labs import birthmark, run_panel, running_lab
from support.stations import FULL_HD, PATIENCE_S, chromium, serving

PLACES = 4
PANELS = 6
BAD_PLACE = 3
BAD_PANELS = 3
FIXTURES = dict(zip(RIGS, ("fx-2", "fx-7"), strict=True))
FOREIGN_LABEL = "BM-000900"
MANY = 60_000
"""Blocks: more than a run makes."""
SHOTS = os.environ.get("BIRTHMARK_SCREENSHOTS")


@dataclass
class Day:
    """A day at the line. `boards` are those that nobody has taken yet."""

    lab: Lab
    boards: list[Board]
    lunch: str = ""
    found: Counter[str] = field(default_factory=Counter)

    def take(self, count: int) -> list[Board]:
        taken, self.boards = self.boards[:count], self.boards[count:]
        return taken

    def run(self, rig: str, *places: Board | None, labels: dict[int, str] | None = None) -> dict[str, str]:
        """Run boards at their places; None is a bad mark. Returns the findings of what did not pass."""
        lines = []
        for number, board in enumerate(places, 1):
            unit = (labels or {}).get(number, board.unit if board else "")
            told = f'unit = "{unit}"\nchip = "{board.chip}"' if board else "bad = true"
            lines.append(f"[[position]]\n{told}\n")
        panel = self.lab.path / "panel-nine.toml"
        panel.write_text("\n".join(lines))
        verdicts = run_panel(self.lab, rig, panel)
        self.found.update(str(each["verdict"]) for each in verdicts.values())
        return {unit: str(each["finding"]) for unit, each in verdicts.items() if each["finding"]}

    def begin_shift(self, operator: str) -> None:
        for rig, path in self.lab.rig_configs.items():
            text = Path(path).read_text().partition("\n[traceability]")[0]
            lines = [line for line in text.splitlines() if not line.startswith(("operator =", "shifts ="))]
            where = f'[traceability]\nsite = "plant"\nline = "smt-4"\nstation = "{rig}"\nfixture = "{FIXTURES[rig]}"\n'
            # By the rig's calendar the shift has begun an hour ago, and no other one begins while this is looked at.
            shifts = f'shifts = ["{datetime.now().astimezone() - timedelta(hours=1):%H}:00"]'
            Path(path).write_text("\n".join([f'operator = "{operator}"', shifts, *lines, "", where]))

    def with_a_bad_contact(self, board: Board, fault: Fault = Fault.BREAK_BLOCKS_FROM_CHIP, count: int = MANY) -> None:
        with BusFaults.at(_socket(board)) as faults:
            faults.arm(fault, count)

    def mended(self, board: Board) -> None:
        with BusFaults.at(_socket(board)) as faults:
            faults.clear()


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    with running_lab(tmp_path_factory.mktemp("nine") / "lab", boards=PLACES * PANELS) as lab:
        day = Day(lab, list(lab.boards))
        morning(day)
        day.lunch = datetime.now(UTC).isoformat()
        afternoon(day)
        yield day


def _socket(board: Board) -> Path:
    return Path(board.chip.removeprefix("apdu:unix=").partition(",")[0])


def morning(day: Day) -> None:
    """Everything passes; one contact needs a second look, one panel is run twice, one place has a bad mark."""
    day.begin_shift("ada")
    first, second = day.take(PLACES), day.take(PLACES - 1)
    day.with_a_bad_contact(first[0], Fault.DROP_AFTER_TRANSFERS, 6)
    assert day.run("rig-a", *first) == {}
    assert day.run("rig-b", *second[:1], None, *second[1:]) == {}
    assert day.run("rig-b", *first) == {}


def afternoon(day: Day) -> None:
    """The contact of place 3 in fixture fx-7 goes. One board that failed there passes at the other rig."""
    day.begin_shift("bob")
    assert day.run("rig-a", *day.take(PLACES)) == {}
    failed = []
    for _ in range(BAD_PANELS):
        panel = day.take(PLACES)
        bad = panel[BAD_PLACE - 1]
        day.with_a_bad_contact(bad)
        assert day.run("rig-b", *panel) == {bad.unit: "chip.communication"}
        day.mended(bad)
        failed.append(bad)
    assert day.run("rig-a", failed[0]) == {}
    (last,) = day.take(1)
    recipe = day.lab.path / "recipe.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace(day.lab.order, "order-past"))
    assert day.run("rig-a", last)[last.unit].startswith("ca.")
    recipe.write_text(text)
    assert day.run("rig-a", failed[0], labels={1: FOREIGN_LABEL}) == {FOREIGN_LABEL: "line.certificate.unit"}
    assert day.run("rig-a", last) == {}


def by_hand(day: Day, *, since: str = "", until: str = "9") -> dict[str, int]:
    """Count what the MES was told, one verdict after the other, without a line of the program's."""
    lines = [json.loads(line) for line in Path(day.lab.births).read_text().splitlines()]
    told = sorted((line for line in lines if line["event"] == "unit.verdict"), key=lambda line: str(line["at"]))
    passed: set[str] = set()
    first: dict[str, bool] = {}
    count: Counter[str] = Counter()
    for line in told:
        unit, good = line["unit"], line["verdict"] in {"PASS", "RESUMED"}
        if line["verdict"] == "SKIP":
            continue
        if unit in passed:
            kind = "repeated"
        elif line["finding"].startswith("ca."):
            kind = "untried"
        else:
            kind = "attempts"
        if kind == "attempts" and since <= line["at"] < until:
            if unit not in first:
                count["units"] += 1
                count["first_passed"] += good
            count["passed"] += good
        if kind == "attempts":
            first.setdefault(unit, since <= line["at"] < until)
        count[kind] += since <= line["at"] < until
        if good:
            passed.add(unit)
    count["good"] = sum(within and unit in passed for unit, within in first.items())
    return dict(count)


def yields(day: Day, *arguments: str) -> dict[str, Any]:
    done = birthmark("line", "yields", "--config", day.lab.rig_configs["rig-a"], "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def counts(found: dict[str, Any], names: dict[str, int]) -> dict[str, int]:
    return {name: found["yields"][name] for name in names}


def test_the_day_was_as_it_was_meant(day: Day) -> None:
    verdicts = {"PASS": 21, "RESUMED": 1, "PASS-ALREADY": 4, "SKIP": 1, "FAIL": 4, "QUARANTINE": 1}
    assert day.found == Counter(verdicts)


def test_the_three_yields_agree_with_a_hand_count(day: Day) -> None:
    counted = by_hand(day)
    assert counted == {
        "units": 25,
        "first_passed": 21,
        "good": 22,
        "attempts": 26,
        "passed": 22,
        "untried": 1,
        "repeated": 4,
    }
    found = yields(day)
    assert counts(found, counted) == counted
    shares = {"first_pass": 21 / 25, "final": 22 / 25, "throughput": 22 / 26}
    assert {name: found["yields"][name] for name in shares} == {name: round(share, 6) for name, share in shares.items()}
    assert found["yields"]["faults"] >= 1


@pytest.mark.parametrize("half", ["morning", "afternoon"])
def test_they_agree_also_before_lunch_and_after_it(day: Day, half: str) -> None:
    before = half == "morning"
    counted = by_hand(day, until=day.lunch) if before else by_hand(day, since=day.lunch)
    found = yields(day, "--until", day.lunch) if before else yields(day, "--since", day.lunch)
    assert counts(found, counted) == counted
    assert (found["yields"]["first_pass"] == 1.0) is before


def test_it_is_the_place_in_the_fixture_and_nothing_else(day: Day) -> None:
    standing_out = {
        by: [tuple(group[name] for name in names) for group in yields(day, "--by", by)["by"][by] if group["stands_out"]]
        for by, names in {
            "position": ("rig", "fixture", "position"),
            "rig": ("rig",),
            "operator": ("operator",),
            "hour": ("hour",),
        }.items()
    }
    assert standing_out == {"position": [("rig-b", "fx-7", str(BAD_PLACE))], "rig": [], "operator": [], "hour": []}
    (bar, *others) = yields(day, "--by", "finding")["pareto"]["finding"]
    assert (bar["finding"], bar["attempts"], bar["untried"]) == ("chip.communication", BAD_PANELS, 0)
    assert [(each["attempts"], each["untried"]) for each in others] == [(1, 1), (1, 0)]
    steps = {bar["step"]: bar["attempts"] for bar in yields(day, "--by", "step")["pareto"]["step"]}
    assert sum(steps.values()) == BAD_PANELS + 2
    assert max(steps, key=lambda step: steps[step]) == "observe"


def test_both_rigs_say_the_same(day: Day) -> None:
    numbers = []
    for rig in RIGS:
        done = birthmark("line", "yields", "--config", day.lab.rig_configs[rig], "--by", "fixture", "--csv")
        numbers.append(done.stdout)
    assert numbers[0] == numbers[1]
    rows = {row["fixture"]: row for row in csv.DictReader(io.StringIO(numbers[0], newline=""))}
    assert {name: (row["units"], row["first_passed"]) for name, row in rows.items()} == {
        "fx-2": ("10", "9"),
        "fx-7": ("15", "12"),
    }


# --- the lead page ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(day: Day, browser: Browser) -> Iterator[Page]:
    """The lead page of a real station; its browser asks nobody else for anything."""
    with serving(Path(day.lab.rig_configs["rig-a"])) as station:
        context = browser.new_context(viewport=FULL_HD, reduced_motion="reduce", accept_downloads=True)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        asked: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(f"{station.url}/overview.html")
        expect(page.locator("body")).to_have_attribute("data-shown", "yes")
        yield page
        assert errors == []
        assert all(url.startswith(f"{station.url}/") for url in asked)
        context.close()


def test_the_lead_page_shows_the_bad_place_at_a_glance(page: Page) -> None:
    bad = page.locator("#places td.bad")
    expect(bad).to_have_count(1)
    expect(bad.locator("xpath=..").locator("th")).to_have_text("rig-b fx-7")
    assert bad.evaluate("cell => cell.cellIndex") == BAD_PLACE
    expect(bad.locator("b")).to_have_text("25.0%")
    expect(page.locator("#places td.good")).to_have_count(2 * PLACES - 2)
    for name, value, of in (
        ("first_pass", "84.0%", "21 of 25 units"),
        ("final", "88.0%", "22 of 25 units"),
        ("throughput", "84.6%", "22 of 26 attempts"),
    ):
        part = page.locator(f"[data-yield={name}]")
        expect(part.locator(".big")).to_have_text(value)
        expect(part.locator(".of")).to_have_text(of)
    expect(page.locator("#ca .chip")).to_have_text("can issue")
    expect(page.locator("#progress")).to_contain_text("22 of 200 units have their identity")
    expect(page.locator("#progress")).to_contain_text("22 passed at these rigs")
    expect(page.locator("#progress progress")).to_have_js_property("value", 22)
    expect(page.locator("#outbox tbody th, #outbox tbody td:first-child")).to_have_text(["ca", "mes-file"])
    expect(page.locator(".pareto[data-by=finding] tbody tr").first).to_contain_text("chip.communication")
    if SHOTS:
        page.set_viewport_size({"width": 1280, "height": 720})
        page.screenshot(path=Path(SHOTS) / "lead-page.png", full_page=True)
        page.set_viewport_size(FULL_HD)


def test_its_csv_is_the_same_as_the_command_s(page: Page, day: Day) -> None:
    with page.expect_download() as download:
        page.locator("a[data-csv=position]").click()
    text = Path(download.value.path()).read_text()
    done = birthmark("line", "yields", "--config", day.lab.rig_configs["rig-a"], "--since", "shift", "--csv")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert rows == list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert len(rows) == 2 * PLACES
    with page.expect_download() as download:
        page.locator("a[data-csv=attempts]").click()
    attempts = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(), newline="")))
    outcomes = Counter(row["outcome"] for row in attempts)
    assert outcomes == {"passed": 22, "failed": 4, "untried": 1, "repeated": 4}
    assert {(row["rig"], row["position"]) for row in attempts if row["finding"] == "chip.communication"} == {
        ("rig-b", "3")
    }


@contextmanager
def frozen(day: Day, name: str) -> Iterator[None]:
    (pid,) = (process.pid for process in day.lab.processes if process.name == name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_it_says_when_the_ca_does_not_answer(page: Page, day: Day) -> None:
    time.sleep(4)  # longer than the last answer is remembered
    with frozen(day, "ca"):
        page.locator("#period").select_option("24h")
        expect(page.locator("#ca .chip")).to_have_text("does not answer")


# --- the station's page ----------------------------------------------------------------------------------------


def test_a_station_that_is_started_anew_knows_what_the_rig_did_before(day: Day, browser: Browser) -> None:
    config = Path(day.lab.rig_configs["rig-b"])
    with serving(config) as station:
        floor = json.load(urlopen(f"{station.url}/v1/floor"))  # noqa: S310 our own station
        assert floor["units_last_hour"] == 3 + 4 + BAD_PANELS * (PLACES - 1)
        assert [board["finding"] for board in floor["last"]].count("chip.communication") == BAD_PANELS
        assert len(floor["last"]) == 3 + 4 + BAD_PANELS * PLACES
        assert floor["steps"]["observe"]["count"] > 10
        page = browser.new_context(viewport=FULL_HD, reduced_motion="reduce").new_page()
        page.goto(station.url)
        expect(page.locator("#yields [data-yield=first_pass]")).to_have_text("80.0%")
        expect(page.locator("#yields .bars li").first).to_contain_text("chip.communication")
        expect(page.locator("#units")).to_have_text(str(floor["units_last_hour"]))
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / "station-started.png")
        station.end()


def test_in_german_too(day: Day, browser: Browser) -> None:
    rig = Path(day.lab.rig_configs["rig-b"])
    config = rig.with_name("rig-de.toml")
    config.touch(0o600)
    config.write_text(f'language = "de"\n{rig.read_text()}')
    with serving(config) as station:
        page = browser.new_context(viewport=FULL_HD, reduced_motion="reduce").new_page()
        page.goto(f"{station.url}/overview.html")
        expect(page.locator("body")).to_have_attribute("data-shown", "yes")
        expect(page.locator("#places h2")).to_have_text("Erstausbeute nach Platz")
        expect(page.locator("[data-yield=first_pass] .big")).to_have_text("84,0\N{NO-BREAK SPACE}%")
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / "lead-page-de.png", full_page=True)
