# SPDX-License-Identifier: Apache-2.0
"""The page of births: what it shows, what it escapes, whom it answers."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from starlette.applications import Starlette

from birthmark.web.births import HEADERS, NEWEST, UNIT_MAX_CHARACTERS, births_app, searched_unit
from support.asgi_client import Answer, get
from support.births import MOMENT, record
from support.colours import contrast

NASTY = "<script>alert(1)</script>\"'&$unit"
CONTRAST_AAA = 7.0
VOID = {"meta", "link", "input", "br"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "births.jsonl"


@pytest.fixture
def app(path: Path) -> Starlette:
    return births_app(path, lambda: MOMENT)


def write(path: Path, *units: str, **changes: object) -> None:
    records = [msgspec.structs.replace(record(unit), **changes) for unit in units]
    path.write_bytes(b"".join(msgspec.json.encode({"record": each}) + b"\n" for each in records))


class Tags(HTMLParser):
    """Collects elements and text, and fails on an element that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(answer: Answer) -> Tags:
    tags = Tags()
    tags.feed(answer.body)
    tags.close()
    assert not tags.open
    return tags


def test_the_newest_birth_stands_first_with_its_word(app: Starlette, path: Path) -> None:
    write(path, "BM-000001", "BM-000002")
    answer = get(app, "/")
    assert answer.status == 200
    page = parsed(answer)
    assert page.text.index("BM-000002") < page.text.index("BM-000001")
    assert "received by the MES, as of 2026-05-04 12:00:00 UTC" in page.text
    assert ("span", {"class": "word PASS"}) in page.seen


def test_the_page_says_that_it_shows_what_the_mes_received(app: Starlette, path: Path) -> None:
    write(path, "BM-000001")
    assert f"This page shows what the MES received, as it stands in {path}" in get(app, "/").body


def test_the_counts_are_there(app: Starlette, path: Path) -> None:
    write(path, *(f"BM-{number:06d}" for number in range(60)), outcome="RESUMED", rig="rig-b")
    text = " ".join(parsed(get(app, "/")).text.split())
    for count in ("60 births", "60 today (UTC)", "60 RESUMED", "60 rig-b", f"The newest {NEWEST} of 60"):
        assert count in text
    assert len(re.findall(r"<tr>", get(app, "/").body)) == NEWEST + 1


def test_the_list_renews_itself_and_the_search_stands_still(app: Starlette) -> None:
    assert 'http-equiv="refresh"' in get(app, "/").body
    assert 'http-equiv="refresh"' not in get(app, "/find").body


def test_a_search_shows_the_whole_record(app: Starlette, path: Path) -> None:
    write(path, "BM-000001", "BM-000002")
    text = parsed(get(app, "/find?unit=bm-000001")).text
    assert "1 of 2 births match BM-000001." in text
    for name in msgspec.structs.fields(record("X")):
        assert name.name.replace("_", " ") in text
    assert record("BM-000001").certificate_sha256 in text
    assert record("BM-000002").certificate_sha256 not in text


def test_a_search_that_finds_nothing_says_so(app: Starlette, path: Path) -> None:
    write(path, "BM-000001")
    assert "0 of 1 births match BM-000009." in get(app, "/find?unit=BM-000009").body


def test_a_search_with_many_hits_says_how_many_there_are(app: Starlette, path: Path) -> None:
    write(path, *(f"BM-{number:06d}" for number in range(60)))
    assert f"60 births match BM; the newest {NEWEST} are shown." in get(app, "/find?unit=BM").body


def test_the_box_is_empty_for_the_next_scan(app: Starlette) -> None:
    boxes = [attributes for tag, attributes in parsed(get(app, "/find?unit=BM-000001")).seen if tag == "input"]
    assert len(boxes) == 1
    assert "value" not in boxes[0]
    assert "autofocus" in boxes[0]


@pytest.mark.parametrize(
    ("typed", "searched"),
    [
        (" bm-000001\r\n", "BM-000001"),
        ("BM-\x1b000001\x00", "BM-000001"),
        ("", ""),
        ("\t\r\n", ""),
        ("X" * 100, "X" * UNIT_MAX_CHARACTERS),
    ],
)
def test_a_scanner_may_type_control_characters(typed: str, searched: str) -> None:
    assert searched_unit(typed) == searched


@pytest.mark.parametrize("target", ["/", "/find?unit=BM"])
@pytest.mark.parametrize("field", ["operator", "rig", "chip_serial", "finished", "product"])
def test_nothing_in_a_record_becomes_markup(app: Starlette, path: Path, target: str, field: str) -> None:
    write(path, "BM-000001", **{field: NASTY})
    page = parsed(get(app, target))
    assert "script" not in {tag for tag, _ in page.seen}


def test_no_serial_becomes_markup(app: Starlette, path: Path) -> None:
    write(path, "BM-" + NASTY)
    for target in ("/", "/find?unit=BM"):
        page = parsed(get(app, target))
        assert "script" not in {tag for tag, _ in page.seen}
        assert "BM-" + NASTY in page.text


def test_what_was_searched_does_not_become_markup(app: Starlette, path: Path) -> None:
    write(path, "BM-000001")
    page = parsed(get(app, "/find?unit=%3Cscript%3Ealert(1)%3C/script%3E"))
    assert "script" not in {tag for tag, _ in page.seen}
    assert "match <SCRIPT>ALERT(1)</SCRIPT>" in page.text


def test_a_name_that_is_not_utf8_can_be_shown(tmp_path: Path) -> None:
    app = births_app(tmp_path / "births-\udcff.jsonl", lambda: MOMENT)
    assert "births-\ufffd.jsonl" in get(app, "/").body


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "the file is not there yet"),
        (b'{"record"', "the last line of the file has no end"),
        (b"nonsense\n\n", "lines in the file that are no birth records: 2"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_in_words(
    app: Starlette, path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        path.write_bytes(content)
    answer = get(app, "/")
    assert answer.status == 200
    assert f"WARNING: {said}" in parsed(answer).text


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/", "GET", 200),
        ("/births.css", "GET", 200),
        ("/elsewhere", "GET", 404),
        ("/", "POST", 405),
    ],
)
def test_every_answer_carries_the_security_headers(app: Starlette, target: str, method: str, status: int) -> None:
    answer = get(app, target, method=method)
    assert answer.status == status
    assert HEADERS.items() <= answer.headers.items()


def test_the_policy_forbids_scripts_and_all_that_is_not_ours() -> None:
    policy = HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "script-src" not in policy


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:4711", "localhost:4711"])
def test_this_machine_is_answered(app: Starlette, host: str) -> None:
    assert get(app, "/", host=host).status == 200


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:4711", "127.0.0.1.evil.example", "[::1]"])
def test_a_web_site_that_points_its_name_at_us_is_refused(app: Starlette, path: Path, host: str) -> None:
    write(path, "BM-000001")
    answer = get(app, "/", host=host)
    assert answer.status == 421
    assert "BM-000001" not in answer.body
    assert HEADERS.items() <= answer.headers.items()


def test_the_page_needs_no_script_and_nothing_from_elsewhere(app: Starlette, path: Path) -> None:
    write(path, "BM-000001")
    for target in ("/", "/find?unit=BM"):
        page = parsed(get(app, target))
        assert {tag for tag, _ in page.seen}.isdisjoint({"script", "style", "img", "iframe"})
        for _, attributes in page.seen:
            assert "style" not in attributes
            assert not any(name.startswith("on") for name in attributes)
            assert all((attributes.get(name) or "/").startswith("/") for name in ("href", "src", "action"))


def test_every_colour_has_a_contrast_of_seven_to_one(app: Starlette) -> None:
    style = get(app, "/births.css").body
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", style))
    pairs = [
        ("ink", "paper"),
        ("quiet", "paper"),
        *(("on-colour", back) for back in ("ink", "pass", "resumed", "warning")),
    ]
    for front, back in pairs:
        assert contrast(colours[front], colours[back]) >= CONTRAST_AAA, (front, back)


def test_the_time_is_the_clock_s(path: Path) -> None:
    app = births_app(path, lambda: datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert "as of 2031-01-02 03:04:05 UTC" in get(app, "/").body
