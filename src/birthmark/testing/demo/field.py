# SPDX-License-Identifier: Apache-2.0
"""The boards in the field: each connects with its chip's key, publishes, takes a command, and rotates."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from birthmark.cloud.wiring import open_cloud
from birthmark.core.errors import BirthmarkError
from birthmark.device.wiring import open_agent
from birthmark.testing.demo.report import Cloud, Rotation, percentile
from birthmark.testing.lab.record import Board, Lab

COMMAND = "blink"


@dataclass(frozen=True, slots=True)
class FieldDay:
    """What one board did in the field; `trouble` is empty when all of it worked."""

    unit: str
    onboarded: bool = False
    published: bool = False
    commanded: bool = False
    rotated: bool = False
    bytes_up: int = 0
    bytes_down: int = 0
    trouble: str = ""


def send_commands(lab: Lab) -> None:
    """Queue one command for every board, as the operator of the cloud would."""
    with open_cloud(Path(lab.cloud_config)) as cloud:
        for board in lab.boards:
            cloud.add_command(board.unit, COMMAND, {"times": 3})


def connect_all(lab: Lab) -> tuple[FieldDay, ...]:
    """Let every board connect, publish and take its command, all at once."""
    return _each(lab, _connect)


def rotate_all(lab: Lab) -> tuple[FieldDay, ...]:
    """Let every board rotate its key and certificate, all at once."""
    return _each(lab, _rotate)


def cloud_totals(days: tuple[FieldDay, ...]) -> Cloud:
    """Return the totals over all boards."""
    return Cloud(
        onboarded=sum(day.onboarded for day in days),
        telemetry=sum(day.published for day in days),
        commands=sum(day.commanded for day in days),
    )


def rotation_totals(days: tuple[FieldDay, ...]) -> Rotation:
    """Return whether all rotated, and the median bytes of a rotation."""
    done = [day for day in days if day.rotated]
    return Rotation(
        ok=bool(days) and len(done) == len(days),
        bytes_up=int(percentile([day.bytes_up for day in done], 50)) if done else 0,
        bytes_down=int(percentile([day.bytes_down for day in done], 50)) if done else 0,
    )


def _each(lab: Lab, act: Callable[[Board], FieldDay]) -> tuple[FieldDay, ...]:
    with ThreadPoolExecutor(max_workers=len(lab.boards)) as pool:
        return tuple(pool.map(act, lab.boards))


def _connect(board: Board) -> FieldDay:
    try:
        with open_agent(Path(board.device_config)) as agent:
            agent.connect()
            agent.publish({"temperature_c": 21.5})
            command = agent.take_command()
    except BirthmarkError as error:
        return FieldDay(board.unit, trouble=f"{error.finding}: {error}")
    return FieldDay(board.unit, onboarded=True, published=True, commanded=command is not None)


def _rotate(board: Board) -> FieldDay:
    try:
        with open_agent(Path(board.device_config)) as agent:
            report = agent.rotate()
    except BirthmarkError as error:
        return FieldDay(board.unit, trouble=f"{error.finding}: {error}")
    return FieldDay(board.unit, rotated=True, bytes_up=report.bytes_up, bytes_down=report.bytes_down)
