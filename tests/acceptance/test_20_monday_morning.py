# SPDX-License-Identifier: Apache-2.0
"""Acceptance 20: "New engineer, Monday morning, no hardware." The demo itself, in its forms."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.labs import birthmark

FORMS = [
    pytest.param((), id="simulated chips with datasheet timing"),
    pytest.param(("--chip", "tpm", "--hsm"), id="TPM 2.0 and PKCS#11"),
]


def demo(tmp_path: Path, *options: str) -> tuple[dict[str, Any], str]:
    report = tmp_path / "report.json"
    done = birthmark("demo", "--report", report, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(report.read_text()), done.stdout


@pytest.mark.parametrize("options", FORMS)
def test_the_whole_chain_holds(tmp_path: Path, options: tuple[str, ...]) -> None:
    report, shown = demo(tmp_path, *options)
    assert report["passed"] == report["boards"] == 8
    assert report["cloud"] == {"onboarded": 8, "telemetry": 8, "commands": 8}
    assert report["rotation"]["ok"]
    assert report["certificate_bytes"] <= 1_728
    assert report["not_held"] == []
    assert "EVERYTHING HELD" in shown


THREATS = {
    "device cloning",
    "key extraction",
    "old algorithms",
    "insider",
    "orders",
    "legacy door",
    "afterlife",
    "edge",
}


def test_every_attack_is_refused_with_a_dotted_finding_two_for_each_threat(tmp_path: Path) -> None:
    report, _ = demo(tmp_path, "--boards", "1", "--chip", "none")
    assert len(report["attacks"]) >= 10
    for row in report["attacks"]:
        assert row["refused"], row
        assert "." in row["finding"]
    threats = [row["threat"] for row in report["attacks"]]
    assert set(threats) == THREATS
    assert all(threats.count(threat) >= 2 for threat in threats)


def test_the_report_has_the_fields_that_it_documents(tmp_path: Path) -> None:
    report, _ = demo(tmp_path, "--boards", "1", "--chip", "none")
    documented = Path("docs/reference/report.md").read_text()
    assert all(f"`{name}`" in documented for name in report)
    assert set(report["steps"]) == {"power", "observe", "generate", "attest", "enrol", "import", "prove", "record"}
