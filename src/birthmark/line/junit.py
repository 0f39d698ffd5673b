# SPDX-License-Identifier: Apache-2.0
"""
A panel as JUnit XML, for whoever collects test results in that form: one suite, one case for each position.

The form is the one that Ant's JUnit task wrote first and that CI servers read; nobody has standardised it. Only what
all of them agree on is used: `testsuites`, `testsuite`, `testcase` with at most one of `failure`, `error` and
`skipped`, and `system-out`.
"""

import re
from collections import Counter
from datetime import datetime
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from birthmark.line.results import PanelResult, PanelState, PlaceResult

SUITE: Final = "birthmark"
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 §2.2 has no way to write."""


def junit_xml(panel: PanelResult, began: datetime) -> bytes:
    """
    Return the whole document, UTF-8.

    A `failure` is a board that must not go on. An `error` says nothing about the board: rig, CA, database, order or
    operator were its cause, or the panel stopped before this position had a verdict.
    """
    cases = [_case(place, panel) for place in panel.places] or [_case_of_no_panel(panel)]
    kinds = Counter(child.tag for case in cases for child in case)
    counts = {
        "tests": str(len(cases)),
        "failures": str(kinds["failure"]),
        "errors": str(kinds["error"]),
        "skipped": str(kinds["skipped"]),
        "time": f"{panel.panel_s:.3f}",
    }
    root = Element("testsuites", counts | {"name": SUITE})
    began_at = began.replace(tzinfo=None).isoformat(timespec="seconds")
    suite = SubElement(root, "testsuite", counts | {"name": SUITE, "timestamp": began_at})
    suite.extend(cases)
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _case(place: PlaceResult, panel: PanelResult) -> Element:
    name = place.unit or f"position {place.position}"
    case = _named_case(f"position-{place.position}", name, place.board_s)
    if place.skipped:
        SubElement(case, "skipped", message="marked bad, or nothing here")
    elif not place.verdict:
        _trouble(case, "error", panel.finding, panel.reason)
    elif place.finding:
        _trouble(case, "failure" if place.to_blame else "error", place.finding, place.reason)
    SubElement(case, "system-out").text = _clean(_details(place))
    return case


def _case_of_no_panel(panel: PanelResult) -> Element:
    """Return a case for a run that ended before anybody knew what was to be worked on."""
    case = _named_case("panel", "panel", 0.0)
    if panel.state is PanelState.STOPPED:
        _trouble(case, "error", panel.finding, panel.reason)
    return case


def _named_case(place: str, name: str, time_s: float) -> Element:
    return Element("testcase", classname=f"{SUITE}.{place}", name=_clean(name), time=f"{time_s:.3f}")


def _trouble(case: Element, kind: str, finding: str, reason: str) -> None:
    SubElement(case, kind, type=_clean(finding), message=_clean(reason)).text = _clean(f"{finding}: {reason}")


def _details(place: PlaceResult) -> str:
    told = [("verdict", place.verdict), ("certificate_sha256", place.certificate_sha256)]
    steps = [(f"{step}_ms", str(ms)) for step, ms in place.step_ms.items()]
    return "\n".join(f"{name}={value}" for name, value in (*told, *steps) if value)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
