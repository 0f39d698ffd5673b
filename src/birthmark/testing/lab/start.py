# SPDX-License-Identifier: Apache-2.0
"""Brings a whole lab up and takes it down."""

from pathlib import Path
from urllib.parse import urlsplit

from birthmark.ca.wiring import open_ca, read_order
from birthmark.core.clock import system_clock
from birthmark.testing.lab import files, softhsm
from birthmark.testing.lab.boards import plug_in
from birthmark.testing.lab.ceremony import Authorities, hold_ceremony
from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.keys import new_issuing_key
from birthmark.testing.lab.processes import LabProcess, await_ready, python, start, stop
from birthmark.testing.lab.record import ORDER, RIGS, SOCKET_PATH_MAX, Board, Lab, load, save

_FOLDERS = ("pki", "offline", "data", "mes", "devices", "boards", "logs", "orders")


def lab_up(directory: Path, *, boards: int, chip: str, hsm: bool) -> Lab:
    """
    Start a lab in an empty or new directory and return where everything is.

    Raises:
        LabError: the directory is in use, or a part did not start; what had started is ended again.

    """
    home = _prepared(directory)
    started: list[LabProcess] = []
    try:
        lab = _build(home, boards=boards, chip=chip, hsm=hsm, started=started)
    except BaseException:
        stop(started)
        raise
    save(lab)
    return lab


def lab_down(directory: Path) -> int:
    """End the lab's processes; return how many ran. Raises LabError for a directory without a lab."""
    return stop(load(directory).processes)


def start_service(home: Path, name: str) -> tuple[LabProcess, str]:
    """Start `ca` or `cloud` from its configuration file; return the process and its URL once it answers."""
    env = softhsm.environment(home) if (home / "hsm").exists() else None
    command = python("birthmark.cli", name, "serve", "--config", str(home / f"{name}.toml"))
    process = start(name, command, home / "logs", env)
    try:
        url = await_ready(process, home / "logs")["ready"]
    except LabError:
        stop([process])
        raise
    _pin_port(home / f"{name}.toml", url)
    return process, url


def _prepared(directory: Path) -> Path:
    home = directory.absolute()
    if (home / "lab.json").exists():
        raise LabError(f"{home} holds a lab already", hint="end it with birthmark lab down, or name another directory")
    if len(str(home / "boards" / "spare.sock")) > SOCKET_PATH_MAX:
        raise LabError(f"{home} is too long a path for Unix sockets", hint="name a directory nearer to the root")
    for folder in _FOLDERS:
        (home / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("pki", "offline"):
        (home / folder).chmod(0o700)
    return home


def _build(home: Path, *, boards: int, chip: str, hsm: bool, started: list[LabProcess]) -> Lab:
    at = system_clock()
    with new_issuing_key(home, hsm=hsm) as key:
        made = hold_ceremony(home, key, at)
    files.write(home / "endorsements.toml", files.endorsements_toml())
    orders = [files.write(home / "orders" / f"{order.name}.toml", order.toml(at)) for order in files.ORDERS]
    files.write(home / "ca.toml", files.ca_toml(str(softhsm.MODULE) if hsm else None))
    panel = _boards(home, made, boards, chip, started)
    process, ca_url = start_service(home, "ca")
    started.append(process)
    with open_ca(home / "ca.toml") as authority:
        for order in orders:
            authority.add_order(read_order(order))
    files.write(home / "cloud.toml", files.cloud_toml(ca_url))
    process, cloud_url = start_service(home, "cloud")
    started.append(process)
    return _described(home, panel, urls=(ca_url, cloud_url), chip=chip, hsm=hsm, started=started)


def _boards(
    home: Path, made: Authorities, boards: int, chip: str, started: list[LabProcess]
) -> tuple[tuple[str, str, str], ...]:
    """Plug in the boards of the panel and one spare; return unit, chip address and chip serial of each."""
    names = [f"BM-{number:06d}" for number in range(1, boards + 1)]
    plugged = plug_in(home, [*names, "spare"], chip, made.ak_ca, started)
    return tuple((name, address, serial) for name, (address, serial) in zip([*names, "spare"], plugged, strict=True))


def _described(
    home: Path,
    plugged: tuple[tuple[str, str, str], ...],
    *,
    urls: tuple[str, str],
    chip: str,
    hsm: bool,
    started: list[LabProcess],
) -> Lab:
    ca_url, cloud_url = urls
    *panel, spare = (_board(home, *row, ca_url, cloud_url) for row in plugged)
    files.write(home / "panel.toml", files.panel_toml(tuple(panel)))
    return Lab(
        directory=str(home),
        chip=chip,
        hsm=hsm,
        ca_url=ca_url,
        cloud_url=cloud_url,
        order=ORDER,
        trust=str(home / "pki/trust.pem"),
        chipmaker_trust=str(home / "pki/chipmaker.pem"),
        ca_config=str(home / "ca.toml"),
        cloud_config=str(home / "cloud.toml"),
        rig_configs={rig: str(files.write(home / f"{rig}.toml", files.rig_toml(rig, ca_url))) for rig in RIGS},
        rig_certificates={rig: str(home / f"pki/{rig}.pem") for rig in RIGS},
        rig_keys={rig: str(home / f"pki/{rig}.key") for rig in RIGS},
        rig_journals={rig: str(home / f"data/{rig}.sqlite") for rig in RIGS},
        panel=str(home / "panel.toml"),
        births=str(home / "mes/births.jsonl"),
        boards=tuple(panel),
        spare=spare,
        processes=tuple(started),
    )


def _board(home: Path, unit: str, address: str, serial: str, *urls: str) -> Board:
    config = files.write(home / "devices" / f"{unit}.toml", files.device_toml(unit, address, *urls))
    return Board(unit=unit, chip=address, chip_serial=serial, device_config=str(config))


def _pin_port(config: Path, url: str) -> None:
    """Keep the port that the system chose, so that a service that is started again is found where it was."""
    text = config.read_text().replace("\nport = 0\n", f"\nport = {urlsplit(url).port}\n")
    config.write_text(text)
