# SPDX-License-Identifier: Apache-2.0
"""The agent with everything real: chip process on its bus, CA and cloud over mutual TLS, signed by the chip."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.cloud.wiring import open_cloud
from birthmark.core.errors import BirthmarkError
from birthmark.device.errors import NoIdentity, RefusedByCloud
from birthmark.device.links import ChipLinks
from birthmark.device.ports import CommandTaken, Identity
from birthmark.device.wiring import open_agent
from birthmark.net.errors import Unreachable
from birthmark.silicon.address import open_chip
from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT, SlotState
from birthmark.testing.lab.record import Board, Lab, load

BOARDS = 7
TELEMETRY = {"temperature_c": 21.5}
KILLED_AFTER_S = (0.25, 0.4, 0.55, 0.7)
"""The agent takes some 0.2 s to start; with the times of a real chip its rotation takes half a second more."""


def birthmark(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "birthmark.cli", *map(str, arguments)], stdout=subprocess.DEVNULL, check=True)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with all boards but the last personalised."""
    folder = tmp_path_factory.mktemp("lab")
    birthmark("lab", "up", "--dir", folder, "--boards", str(BOARDS), "--chip", "optiga-trust-m")
    try:
        made = load(folder)
        panel = folder / "first.toml"
        boards = made.boards[:-1]
        panel.write_text("".join(f'[[position]]\nunit = "{b.unit}"\nchip = "{b.chip}"\n' for b in boards))
        birthmark("line", "run", "--config", made.rig_configs["rig-a"], "--panel", panel)
        yield made
    finally:
        birthmark("lab", "down", "--dir", folder)


def config(board: Board) -> Path:
    return Path(board.device_config)


def onboarded(lab: Lab, unit: str) -> dict[str, str]:
    with open_cloud(Path(lab.cloud_config)) as cloud:
        return next(row for row in cloud.devices() if row["unit"] == unit)


def test_a_personalised_unit_connects_publishes_and_takes_its_command(lab: Lab) -> None:
    board = lab.boards[0]
    with open_cloud(Path(lab.cloud_config)) as cloud:
        cloud.add_command(board.unit, "blink", {"times": 3})
    handled: list[CommandTaken] = []
    with open_agent(config(board)) as agent:
        assert agent.connect() == ("telemetry", "commands")
        agent.publish(TELEMETRY)
        assert agent.take_command(handled.append) is not None
        assert agent.take_command() is None
        status = agent.status()
    assert [(command.name, command.payload) for command in handled] == [("blink", {"times": 3})]
    with open_cloud(Path(lab.cloud_config)) as cloud:
        assert [json.loads(message["body"]) for message in cloud.telemetry(board.unit)] == [TELEMETRY]
    row = onboarded(lab, board.unit)
    assert row["chip_serial"] == board.chip_serial
    assert row["certificate_sha256"] == status["certificate_sha256"]


def test_a_command_whose_handling_fails_comes_again(lab: Lab) -> None:
    board = lab.boards[0]
    with open_cloud(Path(lab.cloud_config)) as cloud:
        cloud.add_command(board.unit, "open", {})

    def fail(_command: CommandTaken) -> None:
        raise BirthmarkError("the valve is stuck")

    with open_agent(config(board)) as agent:
        with pytest.raises(BirthmarkError, match="stuck"):
            agent.take_command(fail)
        again = agent.take_command()
    assert again is not None
    assert again.name == "open"


def test_a_rotation_puts_a_new_key_in_use_and_the_old_certificate_is_useless(lab: Lab) -> None:
    board = lab.boards[1]
    with open_agent(config(board)) as agent:
        agent.connect()
        before = agent.status()
        report = agent.rotate()
        after = agent.status()
        agent.publish(TELEMETRY)
    assert (before["active"], after["active"]) == (SLOT_IDENTITY, SLOT_NEXT)
    assert after["slots"] == {SLOT_IDENTITY: "empty", SLOT_NEXT: "certified"}
    assert report.old_fingerprint == before["certificate_sha256"] != report.new_fingerprint
    assert report.new_fingerprint == after["certificate_sha256"] == onboarded(lab, board.unit)["certificate_sha256"]
    assert 2_000 < report.bytes_up < 8_000
    assert 2_000 < report.bytes_down < 8_000


def test_the_superseded_certificate_is_refused_while_its_key_still_lives(lab: Lab) -> None:
    board = lab.boards[2]
    with open_agent(config(board)) as agent:
        agent.connect()
        old = agent._settled()
        # The cloud sees the next identity, then the power is cut: both keys are still in the chip.
        agent._chip.erase = lambda _slot: (_ for _ in ()).throw(BirthmarkError("power cut"))  # type: ignore[method-assign] # see above
        with pytest.raises(BirthmarkError, match="power cut"):
            agent.rotate()
    chip = open_chip(board.chip)
    assert chip.state(old.slot) is SlotState.CERTIFIED
    links = ChipLinks(chip, lab.cloud_url, lab.ca_url, Path(lab.trust).read_bytes(), 10.0)
    link = links.cloud(Identity(old.slot, old.certificate))
    with pytest.raises(RefusedByCloud) as caught:
        link.me()
    assert caught.value.finding == "cloud.superseded"
    link.close()
    chip.close()
    with open_agent(config(board)) as agent:
        assert agent.connect()
        assert agent.status()["slots"][old.slot] == "empty"


def killed_rotation(board: Board, after_s: float) -> bool:
    """Start a rotation and kill it after that time; return whether it was still running."""
    command = [sys.executable, "-m", "birthmark.cli", "device", "rotate", "--config", board.device_config]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() == -signal.SIGKILL


def test_an_agent_that_is_killed_in_its_rotation_works_afterwards(lab: Lab) -> None:
    board = lab.boards[3]
    killed = 0
    for after_s in KILLED_AFTER_S:
        killed += killed_rotation(board, after_s)
        with open_agent(config(board)) as agent:
            assert agent.connect()
            agent.publish(TELEMETRY)
    assert killed > 1
    with open_agent(config(board)) as agent:
        report = agent.rotate()
        after = agent.status()
    assert report.new_fingerprint == after["certificate_sha256"] != report.old_fingerprint
    assert sorted(after["slots"].values()) == ["certified", "empty"]


def test_a_cloud_that_is_away_is_unreachable_and_changes_nothing(lab: Lab) -> None:
    board = lab.boards[4]
    away = Path(board.device_config).with_name("away.toml")
    away.write_text(config(board).read_text().replace(lab.cloud_url, "https://127.0.0.1:1"))
    with open_agent(away) as agent, pytest.raises(Unreachable):
        agent.rotate()
    with open_agent(config(board)) as agent:
        waiting = agent.status()
        assert set(waiting["slots"].values()) == {"certified"}, "the new certificate waits for the cloud"
        agent.connect()
        assert agent.status()["certificate_sha256"] != waiting["certificate_sha256"]


def test_a_unit_that_is_not_personalised_says_so(lab: Lab) -> None:
    with open_agent(config(lab.boards[-1])) as agent, pytest.raises(NoIdentity) as caught:
        agent.connect()
    assert caught.value.finding == "device.no-identity"


def test_a_config_of_another_unit_does_not_speak_for_this_chip(lab: Lab) -> None:
    board = lab.boards[5]
    other = Path(board.device_config).with_name("other.toml")
    other.write_text(config(board).read_text().replace(board.unit, "BM-999999", 1))
    with open_agent(other) as agent, pytest.raises(NoIdentity) as caught:
        agent.connect()
    assert caught.value.finding == "device.unit-mismatch"
