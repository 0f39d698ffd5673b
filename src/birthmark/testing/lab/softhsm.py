# SPDX-License-Identifier: Apache-2.0
"""
A SoftHSM2 token for a lab, made through PKCS#11 itself.

Not through `softhsm2-util`, which takes PINs on its command line for every user of the machine to see.

SoftHSM is a library: it lives in the process that uses it and cannot fail on its own, as an HSM at the end of a cable
does. `serve` puts it behind p11-kit's server, which is a process and can be killed; its client is CLIENT_MODULE.
"""

import contextlib
import ctypes
import os
import platform
import secrets
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from birthmark.pki.keys.pkcs11 import Token
from birthmark.testing.lab.ceremony import write_secret
from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.processes import READY_TIMEOUT_S, LabProcess, is_running, start, stop
from birthmark.testing.lab.record import SOCKET_PATH_MAX

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
CLIENT_MODULE = Path(f"/usr/lib/{platform.machine()}-linux-gnu/pkcs11/p11-kit-client.so")
TOKEN = "birthmark-lab"  # noqa: S105 the token's label, not a secret
KEY = "issuing"
LOG_KEY = "ledger"
_LABEL_BYTES = 32
_CKU_SO = 0
_CKF_RW, _CKF_SERIAL = 2, 4
_SLOTS_MAX = 8


def environment(directory: Path) -> dict[str, str]:
    """Return the environment in which the lab's token is found."""
    return {"SOFTHSM2_CONF": str(directory / "hsm" / "softhsm2.conf")}


def make_token(directory: Path) -> None:
    """Make an empty token. Its PIN goes to `hsm/pin`, mode 0600; the security officer's is thrown away."""
    if not MODULE.exists():
        raise LabError(f"{MODULE} is not there", hint="install Debian's softhsm2")
    home = directory / "hsm"
    (home / "tokens").mkdir(parents=True, mode=0o700)
    (home / "softhsm2.conf").write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    pin = secrets.token_hex(8).encode()
    write_secret(home / "pin", pin)
    os.environ.update(environment(directory))
    _initialise(pin, secrets.token_hex(8).encode())


def opened(directory: Path) -> Token:
    """Log in to the lab's token; SOFTHSM2_CONF of this process points to it from now on. Close it after use."""
    os.environ.update(environment(directory))
    return Token.open(MODULE, TOKEN, (directory / "hsm" / "pin").read_bytes())


class TokenServer:
    """
    A SoftHSM token in a process of its own, for those who have `client_environment` and CLIENT_MODULE.

    It serves every token that SOFTHSM2_CONF in `environment` shows. Socket and logs are in `folder`.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._socket = folder / "p11.sock"
        self._process: LabProcess | None = None
        if len(str(self._socket)) > SOCKET_PATH_MAX:
            raise LabError(f"{folder} is too long a path for a Unix socket", hint="name one nearer to the root")
        if not CLIENT_MODULE.exists():
            raise LabError(f"{CLIENT_MODULE} is not there", hint="install Debian's p11-kit and p11-kit-modules")

    @property
    def client_environment(self) -> dict[str, str]:
        """The environment in which CLIENT_MODULE finds this server; it is read when the module is initialised."""
        return {"P11_KIT_SERVER_ADDRESS": f"unix:path={self._socket}"}

    def start(self) -> LabProcess:
        """Serve until `kill` or `stop`. Raises LabError if the server does not listen within READY_TIMEOUT_S."""
        self._socket.unlink(missing_ok=True)  # a server that was killed leaves it behind
        command = (
            "p11-kit",
            "server",
            "--foreground",
            "--name",
            str(self._socket),
            "--provider",
            str(MODULE),
            "pkcs11:",
        )
        process = self._process = start("p11-kit", command, self._folder, self._environment)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not _listens(self._socket):
            if time.monotonic() > deadline or not is_running(process):
                self.stop()
                raise LabError("p11-kit's server does not listen", hint=f"see {process.log}")
            time.sleep(0.01)
        return process

    def kill(self) -> None:
        """End it as a power cut does (kill -9), with the processes that serve its clients. The socket's file stays."""
        self.send(signal.SIGKILL)
        while self._process is not None and is_running(self._process):
            time.sleep(0.001)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server and to the processes that serve its clients, SIGSTOP for one that hangs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """End it, politely and then firmly."""
        if self._process is not None:
            stop([self._process])
            self.kill()  # those that serve its clients live on without it


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _initialise(pin: bytes, so_pin: bytes) -> None:
    library = ctypes.CDLL(str(MODULE))
    _ok(library.C_Initialize(None))
    try:
        slots, count = (ctypes.c_ulong * _SLOTS_MAX)(), ctypes.c_ulong(_SLOTS_MAX)
        _ok(library.C_GetSlotList(0, slots, ctypes.byref(count)))
        slot = ctypes.c_ulong(slots[count.value - 1])
        _ok(library.C_InitToken(slot, so_pin, ctypes.c_ulong(len(so_pin)), TOKEN.encode().ljust(_LABEL_BYTES)))
        # SoftHSM gives an initialised token a slot of its own number, so the list is read again.
        count = ctypes.c_ulong(_SLOTS_MAX)
        _ok(library.C_GetSlotList(1, slots, ctypes.byref(count)))
        session = ctypes.c_ulong()
        flags = ctypes.c_ulong(_CKF_RW | _CKF_SERIAL)
        _ok(library.C_OpenSession(ctypes.c_ulong(slots[0]), flags, None, None, ctypes.byref(session)))
        _ok(library.C_Login(session, ctypes.c_ulong(_CKU_SO), so_pin, ctypes.c_ulong(len(so_pin))))
        _ok(library.C_InitPIN(session, pin, ctypes.c_ulong(len(pin))))
    finally:
        library.C_Finalize(None)


def _ok(code: int) -> None:
    if code:
        raise LabError(f"SoftHSM2 answered PKCS#11 error {code:#x} while the lab's token was made")
