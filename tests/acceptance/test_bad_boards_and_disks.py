# SPDX-License-Identifier: Apache-2.0
"""Acceptance: bad input. No chip, one that NAKs or sends bad CRC; a wrong order; a full disk. Nothing is halved."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.cli.exits import Exit
from birthmark.silicon.address import open_chip
from birthmark.silicon.port import SLOT_IDENTITY, SlotState
from birthmark.silicon.simulator.commands import Instruction
from birthmark.silicon.simulator.faults import BusFaults, Fault
from birthmark.testing.lab.record import Board, Lab
from support.labs import births, certificates, one_board_panel, run_panel, running_lab
from support.refusals import attempt, attempts, intact, refusal, rows, with_key, world

FOR_EVER = 65_535
_VERDICT = re.compile(r" +\d+  (?P<unit>\S+)  (?P<verdict>[A-Z-]+)  [\d.]+ s(  (?P<finding>[a-z0-9.-]+): (?P<why>.+))?")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab"), boards=len(FAULTS) + 4) as lab:
        yield lab


def verdicts(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """Return the one line of each board on a panel, as a person sees it; no traceback beside them."""
    assert "Traceback" not in done.stdout + done.stderr
    *lines, total = done.stdout.splitlines()
    assert total.startswith("panel: ")
    told = [_VERDICT.fullmatch(line) for line in lines]
    assert all(told), lines
    found = {line["unit"]: line.groupdict() for line in told if line}
    assert len(found) == len(lines)
    return found


def faults(board: Board) -> BusFaults:
    return BusFaults.at(Path(board.chip.removeprefix("apdu:unix=")))


def identity_state(board: Board) -> SlotState:
    chip = open_chip(board.chip)
    try:
        return chip.state(SLOT_IDENTITY)
    finally:
        chip.close()


def issued(lab: Lab, *units: str) -> list[object]:
    return [row["state"] for row in certificates(lab) if row["unit_serial"] in units]


def line_run(lab: Lab, panel: Path | str, config: Path | None = None) -> tuple[str | Path, ...]:
    return ("line", "run", "--config", config or lab.rig_configs["rig-a"], "--panel", panel)


# --- chips -----------------------------------------------------------------------------------------------------

FAULTS = {
    "nothing acknowledges the address": (Fault.NAK_TRANSFERS, 0, "chip.absent"),
    "every block from the chip has a bad CRC": (Fault.BREAK_BLOCKS_FROM_CHIP, 0, "chip.communication"),
    "every block to the chip has a bad CRC": (Fault.BREAK_BLOCKS_TO_CHIP, 0, "chip.communication"),
    "the chip fails inside": (Fault.REFUSE_COMMANDS, 0x6F00, "chip.refused"),
    "the chip has no room": (Fault.REFUSE_COMMANDS, 0x6A84, "chip.full"),
}


def test_each_board_with_a_bad_chip_has_one_line_and_its_neighbour_passes(lab: Lab, tmp_path: Path) -> None:
    boards = dict(zip(lab.boards, FAULTS.values(), strict=False))
    good, absent = lab.boards[len(FAULTS)], "BM-999999"
    panel = tmp_path / "panel.toml"
    places = [(board.unit, board.chip) for board in (*boards, good)] + [(absent, f"apdu:unix={tmp_path}/no.sock")]
    panel.write_text("".join(f'[[position]]\nunit = "{unit}"\nchip = "{chip}"\n' for unit, chip in places))
    for board, (fault, status, _) in boards.items():
        with faults(board) as bus:
            bus.arm(fault, FOR_EVER, argument=status)
    done = attempt(*line_run(lab, panel))
    for board in boards:
        with faults(board) as bus:
            bus.clear()

    assert done.returncode == Exit.NOT_HELD
    told = verdicts(done)
    assert (told[good.unit]["verdict"], told[good.unit]["finding"]) == ("PASS", None)
    assert (told[absent]["verdict"], told[absent]["finding"]) == ("FAIL", "chip.absent")
    for board, (_, _, finding) in boards.items():
        assert (told[board.unit]["verdict"], told[board.unit]["finding"]) == ("FAIL", finding)
        assert "; " in told[board.unit]["why"]
        assert identity_state(board) is SlotState.EMPTY
        last = f"select event, verdict, finding from journal where unit = '{board.unit}' order by id desc limit 1"  # noqa: S608 a unit of ours
        assert rows(lab.rig_journals["rig-a"], last) == [("verdict", "FAIL", finding)]
    assert issued(lab, *(board.unit for board in boards)) == []
    assert intact(lab.rig_journals["rig-a"])


@pytest.mark.parametrize(("fault", "status", "finding"), FAULTS.values(), ids=FAULTS)
def test_a_request_of_a_bad_chip_is_not_written(
    lab: Lab, tmp_path: Path, fault: Fault, status: int, finding: str
) -> None:
    board = lab.boards[0]
    with faults(board) as bus:
        bus.arm(fault, FOR_EVER, argument=status)
    done = attempt("device", "csr", "--chip", board.chip, "--unit", board.unit, "--out", tmp_path / "out.b64")
    with faults(board) as bus:
        bus.clear()
    assert refusal(done, Exit.CHIP).finding == finding
    assert not list(tmp_path.iterdir())


ABSENT = {
    "apdu:unix=/nowhere.sock": "/nowhere.sock: No such file",
    "tpm:swtpm:path=/nowhere.sock": "no TPM at swtpm:path=/nowhere.sock",
    "tpm:device:/dev/nowhere": "no TPM at device:/dev/nowhere",
}


def test_no_chip_on_the_bus_is_told_with_its_address(tmp_path: Path) -> None:
    out = tmp_path / "out.b64"
    for chip, done in attempts(
        ABSENT, lambda chip: ("device", "csr", "--chip", chip, "--unit", "BM-000001", "--out", out)
    ):
        told = refusal(done, Exit.CHIP)
        assert (told.finding, ABSENT[chip] in told.what) == ("chip.absent", True)
    assert not out.exists()


def test_a_chip_that_fails_at_the_import_keeps_its_key_and_gets_the_same_certificate_later(lab: Lab) -> None:
    board, panel = lab.boards[1], one_board_panel(lab, 1)
    with faults(board) as bus:
        bus.arm(Fault.REFUSE_COMMANDS, FOR_EVER, argument=0x6F00, instruction=Instruction.PUT_CERTIFICATE)
    done = attempt(*line_run(lab, panel))
    with faults(board) as bus:
        bus.clear()
    assert (done.returncode, verdicts(done)[board.unit]["finding"]) == (Exit.NOT_HELD, "chip.refused")
    assert identity_state(board) is SlotState.KEYED
    assert issued(lab, board.unit) == ["issued"]
    assert run_panel(lab, panel=panel)[board.unit]["verdict"] == "RESUMED"
    assert issued(lab, board.unit) == ["confirmed"]


# --- orders ----------------------------------------------------------------------------------------------------

WRONG_ORDERS = {
    "order-unknown": "ca.8.unknown",
    "order-of-rig-b": "ca.1.order-rig",
    "order-past": "ca.8.window",
    "order-2016": "ca.9.profile",
    "order-of-one": "ca.8.quota",
}


def with_order(rig: str, order: str) -> Path:
    """Write a rig.toml whose recipe names another order."""
    recipe = with_key(Path(rig).with_name("recipe.toml"), "order", f'"{order}"')
    return with_key(rig, "recipe", f'"{recipe.name}"')


def test_a_wrong_order_issues_nothing_and_the_right_one_goes_on(lab: Lab) -> None:
    first, number = len(FAULTS) + 1, len(FAULTS) + 2
    unit, rig = lab.boards[number].unit, lab.rig_configs["rig-a"]
    used = attempt(*line_run(lab, one_board_panel(lab, first), with_order(rig, "order-of-one")))
    assert used.returncode == Exit.OK, used.stdout
    panel = one_board_panel(lab, number)
    for order, finding in WRONG_ORDERS.items():
        done = attempt(*line_run(lab, panel, with_order(rig, order)))
        told = verdicts(done)[unit]
        assert (done.returncode, told["verdict"], told["finding"]) == (Exit.NOT_HELD, "FAIL", finding)
        assert "; put it right" in told["why"]
    assert issued(lab, unit) == []
    assert identity_state(lab.boards[number]) is not SlotState.CERTIFIED
    assert attempt(*line_run(lab, panel)).returncode == Exit.OK
    assert issued(lab, unit) == ["confirmed"]


# --- disks -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet_lab(lab: Lab) -> Lab:
    """The lab, with the rig's database made."""
    assert attempt("line", "deliver", "--config", lab.rig_configs["rig-a"]).returncode == 0
    return lab


def test_a_rig_on_the_database_of_another_one_does_nothing(quiet_lab: Lab) -> None:
    run_panel(quiet_lab, panel=one_board_panel(quiet_lab, 0))
    renamed = with_key(quiet_lab.rig_configs["rig-a"], "rig", '"rig-c"')
    before = world(quiet_lab)
    told = refusal(attempt(*line_run(quiet_lab, one_board_panel(quiet_lab, 0), renamed)), Exit.INPUT)
    assert "rig-a.sqlite is the journal of rig-a, not of rig-c" in told.what
    assert world(quiet_lab) == before


def test_commands_on_a_full_disk_write_nothing(quiet_lab: Lab, tmp_path: Path) -> None:
    lab, board = quiet_lab, quiet_lab.boards[0]
    run_panel(lab, panel=one_board_panel(lab, 0))  # so that the request below changes nothing in the chip
    (serial,) = (str(row["serial"]) for row in certificates(lab) if row["unit_serial"] == board.unit)
    commands = {
        "line.disk": line_run(lab, lab.panel),
        "store.full": ("ca", "revoke", "--config", lab.ca_config, "--certificate", serial, "--reason", "scrapped"),
        "disk.unwritable": ("device", "csr", "--chip", board.chip, "--unit", board.unit, "--out", tmp_path / "out"),
    }
    before = world(lab)
    for finding, command in commands.items():
        told = refusal(attempt(*command, file_limit_bytes=0), Exit.DISK)
        assert told.finding == finding
    assert world(lab) == before
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_in_the_middle_fails_the_board_and_the_next_run_makes_it_whole(quiet_lab: Lab) -> None:
    lab, number = quiet_lab, len(FAULTS) + 3
    unit, panel = lab.boards[number].unit, one_board_panel(lab, number)
    # Room for the database and the first pages of its log, not for a board's whole journal.
    done = attempt(*line_run(lab, panel), file_limit_bytes=Path(lab.rig_journals["rig-a"]).stat().st_size)
    assert done.returncode == Exit.NOT_HELD, done.stderr
    assert verdicts(done)[unit]["finding"] == "line.disk"
    assert unit not in [birth["unit_serial"] for birth in births(lab)]
    assert run_panel(lab, panel=panel)[unit]["verdict"] in {"PASS", "RESUMED"}
    assert issued(lab, unit) == ["confirmed"]
    assert [birth["unit_serial"] for birth in births(lab)].count(unit) == 1
    assert intact(lab.rig_journals["rig-a"])


def test_an_output_that_is_full_is_told_on_stderr(quiet_lab: Lab) -> None:
    commands = (
        ("ca", "audit", "--config", quiet_lab.ca_config),
        ("lab", "show", "--dir", quiet_lab.path),
        ("ca", "serve", "--config", with_key(quiet_lab.ca_config, "port", "0")),
    )
    for command in commands:
        told = refusal(attempt(*command, output=Path("/dev/full")), Exit.DISK)
        assert (told.finding, told.what) == ("disk.unwritable", "the output: No space left on device")


def running_commands() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            yield path.read_bytes().decode(errors="replace")


@pytest.mark.parametrize("limit_bytes", [0, 16_384], ids=["from the start", "when the database is made"])
def test_a_lab_on_a_full_disk_leaves_no_process_and_nothing_but_logs(tmp_path: Path, limit_bytes: int) -> None:
    home = tmp_path / "lab"
    told = refusal(attempt("lab", "up", "--dir", home, "--boards", "1", file_limit_bytes=limit_bytes), Exit.DISK)
    assert str(home) in told.what
    assert [path.name for path in home.iterdir()] == ["logs"]
    assert not [command for command in running_commands() if str(home) in command]
