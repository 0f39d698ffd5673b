# SPDX-License-Identifier: Apache-2.0
"""
A SoftHSM2 token for a lab, made through PKCS#11 itself.

Not through `softhsm2-util`, which takes PINs on its command line for every user of the machine to see.
"""

import ctypes
import os
import secrets
from pathlib import Path

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.keys.pkcs11 import Token
from birthmark.testing.lab.ceremony import write_secret
from birthmark.testing.lab.errors import LabError

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
TOKEN = "birthmark-lab"  # noqa: S105 the token's label, not a secret
KEY = "issuing"
LOG_KEY = "log"
ALGORITHM = KeyAlgorithm.P256
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
