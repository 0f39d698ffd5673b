# SPDX-License-Identifier: Apache-2.0
"""Brings a whole lab up and takes it down."""

import shutil
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from birthmark.core.clock import system_clock
from birthmark.evidence.endorsements import key_fingerprint
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.silicon.simulator.models import NEXT_GENERATION
from birthmark.testing.lab import files, softhsm
from birthmark.testing.lab.boards import plug_in
from birthmark.testing.lab.ceremony import Authorities, make_surroundings, write_secret
from birthmark.testing.lab.customer import hold_customer_ceremony, hold_next_ceremony
from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.mcus import DIRECT, addresses_over, check_link
from birthmark.testing.lab.officers import PASSPHRASE_FILE, PEOPLE, certificate_of, hire_officers, key_of, open_orders
from birthmark.testing.lab.processes import LabProcess, await_ready, python, start, stop
from birthmark.testing.lab.record import ORDER, RIGS, SOCKET_PATH_MAX, Board, Lab, load, save

_LOGS = "logs"
_FOLDERS = ("pki", "offline", "data", "mes", "devices", "boards", _LOGS, "orders")


def lab_up(directory: Path, *, boards: int, chip: str, hsm: bool, link: str = DIRECT) -> Lab:
    """
    Start a lab in an empty or new directory and return where everything is.

    Raises:
        LabError: the directory is in use, or a part did not start. What had started is ended again, and what was
            written is removed, but for the logs.

    """
    check_link(link, chip)
    home = _usable(directory)
    started: list[LabProcess] = []
    try:
        _prepare(home)
        lab = _build(home, boards=boards, chip=chip, link=link, hsm=hsm, started=started)
        save(lab)
    except BaseException as error:
        stop(started)
        _clear(home)
        if isinstance(error, OSError) and error.filename is None:  # a write does not name its file
            raise OSError(error.errno, error.strerror, str(home)) from error
        raise
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


def _usable(directory: Path) -> Path:
    home = directory.absolute()
    if (home / "lab.json").exists():
        raise LabError(
            f"{home} holds a lab already", hint="name another directory; a lab that has ended keeps its files"
        )
    if home.exists() and (not home.is_dir() or _content(home)):
        raise LabError(f"{home} is not an empty directory", hint="name an empty one, or one that is not there yet")
    if len(str(home / "boards" / "spare.sock")) > SOCKET_PATH_MAX:
        raise LabError(f"{home} is too long a path for Unix sockets", hint="name a directory nearer to the root")
    return home


def _content(home: Path) -> list[Path]:
    """Return what is in the directory, without the logs that an attempt may have left."""
    return [path for path in home.iterdir() if path.name != _LOGS]


def _prepare(home: Path) -> None:
    for folder in _FOLDERS:
        (home / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("pki", "offline"):
        (home / folder).chmod(0o700)


def _clear(home: Path) -> None:
    if not home.is_dir():
        return
    for path in _content(home):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _build(home: Path, *, boards: int, chip: str, link: str, hsm: bool, started: list[LabProcess]) -> Lab:
    at = system_clock()
    hold_customer_ceremony(home, at, hsm=hsm)
    made = make_surroundings(home, at)
    hire_officers(home, at)
    lost_ak_ca = key_fingerprint(made.lost_ak_ca.certificate)
    files.write(home / "endorsements.toml", files.lab_endorsements_toml(lost_ak_ca))
    files.write(home / files.MANIFEST, files.MANIFEST_TEXT)
    orders = [files.write(home / "orders" / f"{order.name}.toml", order.toml(at)) for order in files.ORDERS]
    next_issuer = _next_hierarchy(home, at) if chip == NEXT_GENERATION else ""
    files.write(home / "ca.toml", files.ca_toml(str(softhsm.MODULE) if hsm else None) + next_issuer)
    chips = _chips(home, made, boards, chip, started)
    reached = addresses_over(link, home, [(unit, address) for unit, address, _ in chips], started)
    panel = [(unit, address, serial) for (unit, address), (_, _, serial) in zip(reached, chips, strict=True)]
    process, ca_url = start_service(home, "ca")
    started.append(process)
    open_orders(home, ca_url, orders)
    files.write(home / "cloud.toml", files.cloud_toml(ca_url))
    process, cloud_url = start_service(home, "cloud")
    started.append(process)
    return _described(home, panel, urls=(ca_url, cloud_url), chip=chip, hsm=hsm, started=started)


def _next_hierarchy(home: Path, at: datetime) -> str:
    """Make what chips of the next generation can move to; return what ca.toml says of it."""
    hold_next_ceremony(home, at, KeyAlgorithm.MLDSA65)
    return files.next_issuer_toml()


def _chips(
    home: Path, made: Authorities, boards: int, chip: str, started: list[LabProcess]
) -> list[tuple[str, str, str]]:
    """Plug in the boards of the panel and one spare; return unit, chip address and chip serial of each."""
    names = [f"BM-{number:06d}" for number in range(1, boards + 1)]
    plugged = plug_in(home, [*names, "spare"], chip, made.ak_ca, started)
    return [(name, address, serial) for name, (address, serial) in zip([*names, "spare"], plugged, strict=True)]


def _described(
    home: Path,
    plugged: list[tuple[str, str, str]],
    *,
    urls: tuple[str, str],
    chip: str,
    hsm: bool,
    started: list[LabProcess],
) -> Lab:
    ca_url, cloud_url = urls
    with_next = chip == NEXT_GENERATION
    *panel, spare = (_board(home, *row, *urls, with_next=with_next) for row in plugged)
    chips = [board.chip for board in panel]
    rigs = {rig: files.rig_toml(rig, ca_url, chips, with_next=with_next) for rig in RIGS}
    files.write(home / "recipe.toml", files.RECIPE_TOML)
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
        rig_configs={rig: str(_private(home / f"{rig}.toml", text)) for rig, text in rigs.items()},
        rig_certificates={rig: str(home / f"pki/{rig}.pem") for rig in RIGS},
        rig_keys={rig: str(home / f"pki/{rig}.key") for rig in RIGS},
        officer_certificates={role.value: str(certificate_of(home, role)) for role in PEOPLE},
        officer_keys={role.value: str(key_of(home, role)) for role in PEOPLE},
        officer_passphrase_file=str(home / "pki" / PASSPHRASE_FILE),
        rig_journals={rig: str(home / f"data/{rig}.sqlite") for rig in RIGS},
        panel=str(home / "panel.toml"),
        births=str(home / "mes/births.jsonl"),
        boards=tuple(panel),
        spare=spare,
        processes=tuple(started),
    )


def _private(path: Path, text: str) -> Path:
    """Write a file that nobody else reads: rig.toml holds the hash of the lead's PIN."""
    write_secret(path, text.encode())
    return path


def _board(home: Path, unit: str, address: str, serial: str, *urls: str, with_next: bool) -> Board:
    text = files.device_toml(unit, address, *urls, with_next=with_next)
    config = files.write(home / "devices" / f"{unit}.toml", text)
    return Board(unit=unit, chip=address, chip_serial=serial, device_config=str(config))


def _pin_port(config: Path, url: str) -> None:
    """Keep the port that the system chose, so that a service that is started again is found where it was."""
    text = config.read_text().replace("\nport = 0\n", f"\nport = {urlsplit(url).port}\n")
    config.write_text(text)
