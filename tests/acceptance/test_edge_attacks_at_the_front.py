# SPDX-License-Identifier: Apache-2.0
"""
The edge attacks of the catalogue, at a CA that Envoy stands before; and the way around Envoy, to the workers behind it.

A crowd of half-open connections is test_half_open_connections.py: Envoy has no line for each that it ends.
"""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from birthmark.testing.attacks import crowds, edge
from birthmark.testing.attacks.catalogue import Attack, carry_out
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.attacks.witness import Witness
from birthmark.testing.lab.processes import stop
from birthmark.testing.lab.record import Lab
from birthmark.testing.lab.start import start_service
from support.ca_process import FRONT
from support.front import children_of
from support.labs import running_lab

AT_THE_FRONT = [attack for attack in (*edge.ATTACKS, *crowds.ATTACKS) if attack.id != "edge.half-open"]
NOBODY = 65_534
"""uid(7): a local user without any rights."""


@dataclass(frozen=True)
class Fronted:
    """A lab whose CA has been started again with Envoy and two workers; `pid` is the service's."""

    lab: Lab
    pid: int

    def folder(self) -> Path:
        """Return where the service keeps the sockets of its workers and of Envoy's administration."""
        (envoy,) = children_of(self.pid, "envoy.json")
        command = Path(f"/proc/{envoy}/cmdline").read_text().split("\0")
        return Path(command[command.index("--config-path") + 1]).parent


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    with running_lab(tmp_path_factory.mktemp("lab") / "lab", boards=1) as running:
        (single,) = [process for process in running.processes if process.name == "ca"]
        stop([single])
        config = Path(running.ca_config)
        config.write_text(config.read_text() + FRONT)
        process, url = start_service(running.path, "ca")
        try:
            assert url == running.ca_url, "the port is pinned"
            yield Fronted(running, process.pid)
        finally:
            stop([process])


@pytest.mark.parametrize("attack", AT_THE_FRONT, ids=lambda attack: attack.id)
def test_an_attack_is_refused_at_the_front_as_without_one(fronted: Fronted, attack: Attack) -> None:
    with Intruder(fronted.lab) as intruder, Witness.of(fronted.lab) as witness:
        result = carry_out(attack, intruder, witness)
    assert result.refused, result


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["worker-0", "worker-1", "admin"])
def test_no_other_local_user_reaches_what_is_behind_the_front(fronted: Fronted, name: str) -> None:
    path = fronted.folder() / name
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert (path.parent.stat().st_uid, stat.S_IMODE(path.parent.stat().st_mode)) == (os.geteuid(), 0o700)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
    if os.geteuid() == 0:  # nobody else can become another user; the mode says it then
        with as_nobody(), socket.socket(socket.AF_UNIX) as link, pytest.raises(PermissionError):
            link.connect(str(path))


def test_the_processes_behind_the_front_listen_on_no_network_address(fronted: Fronted) -> None:
    inodes = {
        str(each.readlink())
        for pid in children_of(fronted.pid, "birthmark.ca.")
        for each in Path(f"/proc/{pid}/fd").iterdir()
    }
    listening = {
        f"socket:[{columns[9]}]"
        for table in ("tcp", "tcp6")
        for columns in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if columns[3] == "0A"
    }
    assert inodes
    assert not inodes & listening
