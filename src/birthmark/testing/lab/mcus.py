# SPDX-License-Identifier: Apache-2.0
"""Puts an MCU between each chip and the rig: a process that runs the firmware library and speaks SMP."""

from pathlib import Path

from birthmark.testing.lab.boards import TPM
from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.processes import LabProcess, await_ready, python, start

DIRECT = "direct"
SMP_SERIAL = "smp-serial"
SMP_UDP = "smp-udp"
LINKS = (DIRECT, SMP_SERIAL, SMP_UDP)
_ANY_PORT = "127.0.0.1:0"


def check_link(link: str, chip: str) -> None:
    """Raise LabError for a link that such chips do not have."""
    if link != DIRECT and chip == TPM:
        raise LabError("a TPM has no MCU before it", hint="take simulated chips, or the link `direct`")


def addresses_over(
    link: str, home: Path, boards: list[tuple[str, str]], started: list[LabProcess]
) -> list[tuple[str, str]]:
    """
    Return name and address of each board as a rig reaches it over the link.

    `boards` has name and address of each chip on its own bus. Processes are added to `started` as they start.
    """
    if link == DIRECT:
        return boards
    started.extend(_mcu(home, name, chip, link) for name, chip in boards)
    ready = [await_ready(process, home / "logs")["ready"] for process in started[-len(boards) :]]
    return [(name, address) for (name, _), address in zip(boards, ready, strict=True)]


def _mcu(home: Path, name: str, chip: str, link: str) -> LabProcess:
    bus = chip.removeprefix("apdu:unix=")
    where = ("--serial", str(home / "boards" / f"{name}.tty")) if link == SMP_SERIAL else ("--udp", _ANY_PORT)
    command = python("birthmark.silicon.simulator.board", "--bus", bus, *where)
    return start(f"mcu-{name}", command, home / "logs")
