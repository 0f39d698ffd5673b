# SPDX-License-Identifier: Apache-2.0
"""
What a lab is: the paths in its directory and the record of what runs, kept in `lab.json`.

Everything that a person, a test or a foreign client needs to use the lab is named here.
"""

from pathlib import Path

import msgspec

from birthmark.core.files import write_whole
from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.processes import LabProcess

ORDER = "order-2026-11"
PRODUCT = "controller-x1"
RIGS = ("rig-a", "rig-b")
UNIT_SERIALS = "^BM-[0-9]{6}$"
FIRST_UNIT, LAST_UNIT = "BM-000001", "BM-999999"
SOCKET_PATH_MAX = 100


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """One board on the bench: its label, its chip and the configuration of its field agent."""

    unit: str
    chip: str
    chip_serial: str
    device_config: str


class Lab(msgspec.Struct, frozen=True, kw_only=True):
    """A running lab. Every path is absolute; every `*_url` is on loopback."""

    directory: str
    chip: str
    hsm: bool
    ca_url: str
    cloud_url: str
    order: str
    trust: str
    chipmaker_trust: str
    ca_config: str
    cloud_config: str
    rig_configs: dict[str, str]
    rig_certificates: dict[str, str]
    rig_keys: dict[str, str]
    officer_certificates: dict[str, str]
    """By role."""
    officer_keys: dict[str, str]
    officer_passphrase_file: str
    rig_journals: dict[str, str]
    panel: str
    births: str
    boards: tuple[Board, ...]
    spare: Board
    processes: tuple[LabProcess, ...]

    @property
    def path(self) -> Path:
        """The lab's directory."""
        return Path(self.directory)


def save(lab: Lab) -> None:
    """Write lab.json, whole or not at all."""
    write_whole(lab.path / "lab.json", msgspec.json.format(msgspec.json.encode(lab), indent=2) + b"\n")


def load(directory: Path) -> Lab:
    """Return the lab in `directory`. Raises LabError when there is none."""
    path = directory / "lab.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Lab)
    except (OSError, msgspec.MsgspecError) as error:
        raise LabError(f"{directory} holds no lab", hint="birthmark lab up --dir DIR makes one") from error
