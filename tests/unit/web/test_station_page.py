# SPDX-License-Identifier: Apache-2.0
"""The station's page as files: every language says everything, nothing inline, nothing from elsewhere, contrast."""

import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from birthmark.core.order_wire import OrderState
from birthmark.core.work import WorkState
from birthmark.line.journal import Result, Step
from birthmark.line.station.ca_watch import CAState
from birthmark.line.station.floor import Look
from birthmark.web.station.words import languages, words
from support.colours import contrast
from support.documents import ROOT

FOLDER = files("birthmark.web.station")
PAGES = {each.name: each.read_text() for each in FOLDER.iterdir() if each.name.endswith(".html")}
HTML = "\n".join(PAGES.values())
CSS = "\n".join((FOLDER / name).read_text() for name in ("station.css", "overview.css"))
SCRIPTS = {each.name: each.read_text() for each in FOLDER.iterdir() if each.name.endswith(".js")}
LINE_PAGES = [(ROOT / f"docs/reference/{name}.md").read_text() for name in ("line", "line-station", "yields")]
MADE = {
    "look": [look.value for look in Look],
    "verdict": [result.value for result in Result if result is not Result.SKIP],
    "step": [step.value for step in Step],
    "state": [state.value for state in WorkState],
    "order": [state.value for state in OrderState],
    "ca": [state.value for state in CAState],
}
"""Words whose keys are made of what the rig says."""
TEXT_CONTRAST = 7.0
EVENTS = {"panel.start", "deliver.end", "panel.end", "step.begin", "mes.behind", "interlock.assumed"}


def used() -> set[str]:
    """Every key that the page uses."""
    keys = set(re.findall(r'data-text="([^"]+)"', HTML))
    for script in SCRIPTS.values():
        keys |= set(re.findall(r'"((?:yields|pareto)\.[a-z-]+)"', script))  # titles of tables, in a list
        for said in re.findall(r"say\(((?:[^()]|\([^()]*\))*)\)", script):
            keys |= set(re.findall(r'"([a-z]+\.[a-z-]+)"', said))
    return keys | {f"{kind}.{value}" for kind, values in MADE.items() for value in values}


@pytest.mark.parametrize("language", languages())
def test_a_language_has_every_word_that_the_page_uses_and_no_other(language: str) -> None:
    assert set(words(language).words) == used()


@pytest.mark.parametrize("language", languages())
def test_all_languages_advise_on_the_same_findings_and_fill_in_the_same_names(language: str) -> None:
    english, other = words("en"), words(language)
    assert other.language == language
    assert other.advice.keys() == english.advice.keys()
    assert all(text.strip() for text in other.advice.values())
    for key, text in english.words.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", other.words[key])), key


def test_there_are_english_and_german() -> None:
    assert {"en", "de"} <= set(languages())


def documented(*, shown: bool) -> set[str]:
    """Every finding of the pages; `shown`: without those that only end a command with an exit code."""
    rows = [line.split("|") for page in LINE_PAGES for line in page.splitlines() if line.startswith("| `")]
    cells = [row[1] for row in rows if not (shown and row[2].strip().startswith("exit"))]
    return {name for cell in cells for name in re.findall(r"`([a-z0-9-]+(?:\.[a-z0-9*-]+)+)`", cell)} - EVENTS


def test_every_finding_of_the_line_has_advice_of_its_own_or_of_its_kind() -> None:
    known = words("en").advice
    findings = documented(shown=True)
    assert len(findings) > 30
    for finding in findings:
        parts = finding.removesuffix(".*").split(".")
        kinds = {".".join([*parts[:length], "*"]) for length in range(1, len(parts) + 1)}
        assert finding in known or kinds & known.keys(), finding


def test_advice_for_a_finding_of_the_line_is_for_one_that_is_documented() -> None:
    ours = {each for each in words("en").advice if each.startswith("line.") and not each.endswith("*")}
    assert ours - documented(shown=False) - {"line.board", "line.contradiction", "line.unit-in-work"} == set()


class Page(HTMLParser):
    """Collects the elements with their attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(HTML)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    for tag, attributes in Page().seen:
        assert tag not in {"style", "img", "iframe", "form"}
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
    assert not re.search(r"//\w+\.\w+|url\(|@import", CSS)
    for name, script in SCRIPTS.items():
        assert "innerHTML" not in script, name
        assert set(re.findall(r'from "([^"]+)"', script)) <= {f"/{other}" for other in SCRIPTS}, name


def test_the_page_has_no_words_of_its_own_beside_the_files() -> None:
    assert set(Page().text.split()) <= {"birthmark", "\N{EN DASH}", "p50", "p95", "ms", "0", "CSV"}


def test_every_text_has_a_contrast_of_seven_to_one() -> None:
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", CSS))
    pairs = [("ink", back) for back in ("ground", "panel", "pass", "fail", "working", "scanned", "away")]
    pairs += [("quiet", "ground"), ("quiet", "panel"), ("quarantine-ink", "quarantine"), ("held-ink", "held")]
    for front, back in pairs:
        assert contrast(colours[front], colours[back]) >= TEXT_CONTRAST, (front, back)


def test_who_wants_no_motion_has_none() -> None:
    assert "@media (prefers-reduced-motion: reduce)" in CSS
