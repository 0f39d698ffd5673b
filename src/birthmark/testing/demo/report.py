# SPDX-License-Identifier: Apache-2.0
"""`report.json`: what the demo measured and whether everything held (docs/reference/report.md lists the fields)."""

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from birthmark.core.files import write_whole

PANEL_LIMIT_S = 2.0
PANEL_OVER_FLOOR_LIMIT = 1.25
CERTIFICATE_LIMIT_BYTES = 1_728


class Spread(msgspec.Struct, frozen=True):
    """Median and 95th percentile (nearest rank) of some seconds."""

    p50: float
    p95: float


class StepSpread(msgspec.Struct, frozen=True):
    """Median and 95th percentile of one step in ms, and the share of it that was the chip's own time."""

    p50_ms: float
    p95_ms: float
    chip_share: float


class Rotation(msgspec.Struct, frozen=True):
    """Whether every board rotated; TCP payload bytes of one rotation on an open connection, median."""

    ok: bool
    bytes_up: int
    bytes_down: int


class Cloud(msgspec.Struct, frozen=True):
    """How many boards were onboarded, published telemetry and took a command."""

    onboarded: int
    telemetry: int
    commands: int


class AttackRow(msgspec.Struct, frozen=True):
    """One attack: what it tried and with which finding it was refused."""

    id: str
    threat: str
    refused: bool
    finding: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the demo saw."""

    boards: int
    passed: int
    panel_s: float
    board_s: Spread
    steps: dict[str, StepSpread]
    chip_floor_s: float
    panel_over_chip_floor: float
    software_s: Spread
    certificate_bytes: int
    rotation: Rotation
    cloud: Cloud
    attacks: tuple[AttackRow, ...]
    versions: dict[str, str]
    not_held: tuple[str, ...]
    """What did not hold, in words; empty when everything did."""


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of at least one value."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float]) -> Spread:
    """Return median and 95th percentile, rounded to a tenth of a millisecond; zeros when there are no values."""
    if not values:
        return Spread(0.0, 0.0)
    return Spread(round(percentile(values, 50), 4), round(percentile(values, 95), 4))


def write(report: Report, path: Path) -> None:
    """Write the report, whole or not at all."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
