# SPDX-License-Identifier: Apache-2.0
"""Acceptance 18: "It came back, we changed the board, same customer serial." """

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from birthmark.core.roles import Role
from birthmark.testing.lab.ceremony import MAKER
from birthmark.testing.lab.files import LOG_ORIGIN
from birthmark.testing.lab.record import Lab
from support.labs import birthmark, births, certificates, run_panel

DARK_WITHIN_S = 10.0
UNIT = "BM-000001"
REFUSED = ("FAIL", "QUARANTINE")


def officer(lab: Lab, role: Role) -> list[str]:
    return [
        *("--url", lab.ca_url, "--trust", lab.trust, "--certificate", lab.officer_certificates[role.value]),
        *("--key", lab.officer_keys[role.value], "--passphrase-file", lab.officer_passphrase_file),
        *("--authority", LOG_ORIGIN),
    ]


def unit_says(lab: Lab, word: str, reason: str = "RMA 4711") -> None:
    done = birthmark("ca", "unit", word, UNIT, "--config", lab.ca_config, "--reason", reason)
    assert done.returncode == 0, done.stderr


def shown(lab: Lab) -> dict[str, object]:
    return dict(json.loads(birthmark("ca", "unit", "show", UNIT, "--config", lab.ca_config, "--json").stdout))


def connect(config: str) -> str:
    done = birthmark("device", "connect", "--config", config)
    return "ok" if done.returncode == 0 else done.stderr


def eventually(seen: Callable[[], str], wanted: str) -> float:
    """Return after how many seconds the wanted word was seen."""
    begun = time.monotonic()
    while wanted not in (last := seen()):
        assert time.monotonic() < begun + DARK_WITHIN_S, last
    return time.monotonic() - begun


def repaired_panel(lab: Lab, chip: str, unit: str = UNIT) -> Path:
    panel = lab.path / "panel-rma.toml"
    panel.write_text(f'[[position]]\nunit = "{unit}"\nchip = "{chip}"\n')
    return panel


def new_agent(lab: Lab) -> str:
    """Return the configuration of the agent on the new board: the same unit, the spare's chip."""
    config = Path(lab.boards[0].device_config)
    new = config.with_name("BM-000001-new.toml")
    new.write_text(config.read_text().replace(lab.boards[0].chip, lab.spare.chip))
    return str(new)


def propose(lab: Lab, role: Role = Role.LINE_LEAD) -> str:
    done = birthmark(
        *("ca", "unit", "replace", UNIT, "--reason", "RMA 4711: water in the housing"),
        *("--old-chip", MAKER, lab.boards[0].chip_serial, "--new-chip", MAKER, lab.spare.chip_serial),
        *officer(lab, role),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def approve(lab: Lab, proposal: str, role: Role) -> str:
    done = birthmark("ca", "proposal", "approve", proposal, "--yes", "--reason", "seen", *officer(lab, role))
    return "ok" if done.returncode == 0 else done.stderr


@pytest.fixture
def returned(lab: Lab) -> Lab:
    """A lab whose first board was in the field, and has come back."""
    assert all(verdict["verdict"] == "PASS" for verdict in run_panel(lab).values())
    unit_says(lab, "ship")
    old = lab.boards[0].device_config
    assert connect(old) == "ok"
    assert birthmark("device", "rotate", "--config", old).returncode == 0
    assert shown(lab)["state"] == "active"
    unit_says(lab, "return")
    return lab


def test_the_unit_lives_on_with_its_new_board_and_the_old_one_is_worth_nothing(returned: Lab) -> None:
    lab, old = returned, returned.boards[0].device_config
    eventually(lambda: connect(old), "cloud.revoked")
    other_unit = repaired_panel(lab, lab.spare.chip)
    refused = run_panel(lab, panel=other_unit)[UNIT]  # nobody has decided on another chip yet
    assert refused["verdict"] in REFUSED, refused
    proposal = propose(lab)
    assert "ca.1.role" in approve(lab, proposal, Role.LINE_LEAD)
    assert shown(lab)["state"] == "returned"
    assert approve(lab, proposal, Role.APPROVER) == "ok"
    told = shown(lab)
    assert (told["state"], told["chip_serial"]) == ("reworked", lab.spare.chip_serial)

    # The rigs remember the old chip, and want a lead's word as well.
    decided = ("--by", "lead", "--reason", "RMA 4711", "--config", lab.rig_configs["rig-a"])
    assert birthmark("line", "unit", "override", UNIT, *decided).returncode == 0
    passed = run_panel(lab, panel=repaired_panel(lab, lab.spare.chip))[UNIT]
    assert passed["verdict"] in ("PASS", "RESUMED"), passed
    assert shown(lab)["state"] == "made"
    told = [json.loads(line) for line in Path(lab.births).read_text().splitlines()]
    (overridden,) = (event for event in told if event["event"] == "unit.overridden")
    assert (overridden["unit"], overridden["by"], overridden["reason"]) == (UNIT, "lead", "RMA 4711")
    assert connect(new_agent(lab)) == "ok"
    assert [each["chip_serial"] for each in births(lab) if each["unit_serial"] == UNIT] == [
        lab.boards[0].chip_serial,
        lab.spare.chip_serial,
    ]

    # The old board was repaired and sold: its certificates, its chip and its keys are worth nothing.
    assert "cloud.revoked" in connect(old)
    rotated = birthmark("device", "rotate", "--config", old)
    assert rotated.returncode != 0
    assert "ca.re.revoked" in rotated.stderr
    for unit in (UNIT, "BM-000999"):
        refused = run_panel(lab, panel=repaired_panel(lab, lab.boards[0].chip, unit))[unit]
        assert refused["verdict"] in REFUSED, refused
    living = [each for each in certificates(lab) if each["unit_serial"] == UNIT and each["state"] == "confirmed"]
    assert [each["chip_serial"] for each in living] == [lab.spare.chip_serial]
    assert birthmark("ca", "ledger", "check", "--config", lab.ca_config).returncode == 0


def test_a_board_that_was_only_suspended_comes_back_by_two_persons(lab: Lab) -> None:
    assert run_panel(lab)[UNIT]["verdict"] == "PASS"
    old = lab.boards[0].device_config
    assert connect(old) == "ok"
    unit_says(lab, "suspend")
    eventually(lambda: connect(old), "cloud.revoked")
    since = str(shown(lab)["since"])
    done = birthmark("ca", "unit", "resume", UNIT, "--since", since, "--reason", "found", *officer(lab, Role.LINE_LEAD))
    assert done.returncode == 0, done.stderr
    assert approve(lab, done.stdout.split()[0], Role.SECURITY_OFFICER) == "ok"
    eventually(lambda: connect(old), "ok")
