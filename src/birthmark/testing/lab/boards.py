# SPDX-License-Identifier: Apache-2.0
"""Puts boards on the bench: each chip is a process of its own, and comes from its maker with a certified AK."""

import secrets
import shutil
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from birthmark.core.clock import system_clock
from birthmark.core.registry import TCG_HW_TYPE_TPM20
from birthmark.pki.authorities import Authority, ChipName, TPMName, make_ak_certificate
from birthmark.silicon.bus.i2c import SimulatedI2C
from birthmark.silicon.simulator.maker import inject
from birthmark.silicon.simulator.memory import LifeCycle
from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.files import TPM_MODEL, apdu_hw_type
from birthmark.testing.lab.processes import READY_TIMEOUT_S, LabProcess, await_ready, is_running, python, start
from birthmark.testing.swtpm import swtpm_answers, swtpm_command

TPM = "tpm"
UNTIMED = "none"
_UNTIMED_MODEL = "optiga-trust-m"
_SERIAL_BYTES = 8
_POLL_S = 0.005
# "SWTP", the manufacturer id that swtpm itself reports.
_SWTPM = TPMName("id:53575450", TPM_MODEL, "id:00000001")


def plug_in(
    home: Path, names: list[str], chip: str, maker: Authority, started: list[LabProcess]
) -> list[tuple[str, str]]:
    """
    Start one fresh chip per name and let the maker certify it; return address and chip serial of each.

    `chip` is a latency model of the simulated chip, or `tpm`. Processes are added to `started` as they start.
    """
    if chip == TPM:
        return _plug_in_tpms(home, names, maker, started)
    started.extend(_simulator(home, name, chip) for name in names)
    for process in started[-len(names) :]:
        await_ready(process, home / "logs")
    return [_certify_simulated(home, name, chip, maker, LifeCycle.OPERATIONAL) for name in names]


def plug_in_debuggable(home: Path, name: str, maker: Authority, started: list[LabProcess]) -> tuple[str, str]:
    """Start a chip that left its maker with debugging open: endorsed, and yet not to be accepted."""
    started.append(_simulator(home, name, UNTIMED))
    await_ready(started[-1], home / "logs")
    return _certify_simulated(home, name, UNTIMED, maker, LifeCycle.DEBUG)


def _model(chip: str) -> str:
    return _UNTIMED_MODEL if chip == UNTIMED else chip


def _simulator(home: Path, name: str, chip: str) -> LabProcess:
    boards = home / "boards"
    where = ("--socket", str(boards / f"{name}.sock"), "--state", str(boards / f"{name}.state"))
    what = ("--model", _model(chip), "--serial", _new_serial(), "--latency", chip)
    return start(f"chip-{name}", python("birthmark.silicon.simulator", *where, *what), home / "logs")


def _certify_simulated(home: Path, name: str, chip: str, maker: Authority, life_cycle: LifeCycle) -> tuple[str, str]:
    path = home / "boards" / f"{name}.sock"

    def issue(spki: bytes, serial: str) -> bytes:
        return _ak_certificate(maker, ChipName(serial, apdu_hw_type(_model(chip))), spki)

    bus = SimulatedI2C(path)
    try:
        return f"apdu:unix={path}", inject(bus, issue, life_cycle)
    finally:
        bus.deinit()


def _plug_in_tpms(home: Path, names: list[str], maker: Authority, started: list[LabProcess]) -> list[tuple[str, str]]:
    if shutil.which("swtpm") is None:
        raise LabError("swtpm is not installed", hint="install Debian's swtpm and birthmark[tpm]")
    started.extend(_swtpm(home, name) for name in names)
    return [
        _certify_tpm(home, name, process, maker) for name, process in zip(names, started[-len(names) :], strict=True)
    ]


def _swtpm(home: Path, name: str) -> LabProcess:
    # Each TPM manufactures itself in an empty directory: a copied one would be a clone, seeds included.
    state = home / "boards" / f"{name}.tpm"
    state.mkdir(mode=0o700)
    server = home / "boards" / f"{name}.sock"
    return start(f"chip-{name}", swtpm_command(state, server), home / "logs")


def _certify_tpm(home: Path, name: str, process: LabProcess, maker: Authority) -> tuple[str, str]:
    from birthmark.silicon.tpm2.provision import provision  # noqa: PLC0415 optional: a lab without TPMs needs no stack

    server = home / "boards" / f"{name}.sock"
    _await_tpm(process, server)
    tcti, serial = f"swtpm:path={server}", _new_serial()
    provision(tcti, lambda spki: _ak_certificate(maker, ChipName(serial, TCG_HW_TYPE_TPM20, _SWTPM), spki))
    return f"tpm:{tcti}", serial


def _ak_certificate(maker: Authority, chip: ChipName, spki: bytes) -> bytes:
    key = load_der_public_key(spki)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise LabError(f"the attestation key of chip {chip.serial} is not an elliptic-curve key")
    return make_ak_certificate(maker, chip, key, system_clock()).public_bytes(Encoding.DER)


def _new_serial() -> str:
    return secrets.token_hex(_SERIAL_BYTES).upper()


def _await_tpm(process: LabProcess, server: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and is_running(process):
        if swtpm_answers(server):
            return
        time.sleep(_POLL_S)
    raise LabError(f"{process.name} did not start", hint=f"see {process.log}")
