# SPDX-License-Identifier: Apache-2.0
"""
Loaded PKCS#11 modules: one per library and process, initialised so that threads may share it, restarted with care.

python-pkcs11 0.10 calls C_Initialize without the locking flag and yet lets go of the GIL around every call; two threads
then corrupt the heap of SoftHSM. So the library is finalised at once and initialised again with the flag, through the
module's own function list.

python-pkcs11 is imported when a module is loaded: it belongs to the extra `birthmark[hsm]`.
"""

import ctypes
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol, cast

from birthmark.pki.errors import TokenFailed, TokenMissing

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 a class, whatever its author calls it

_CKF_OS_LOCKING_OK: Final = 0x02
_CKR_OK: Final = 0
_LIBCRYPTO: Final = "libcrypto.so.3"
# Places in CK_FUNCTION_LIST (PKCS#11 2.40 §3.6), counted from the first function.
_C_INITIALIZE, _C_FINALIZE, _C_GET_TOKEN_INFO, _C_CLOSE_ALL_SESSIONS, _FUNCTIONS = 0, 1, 6, 14, 15
_FUNCTION: Final = ctypes.CFUNCTYPE(ctypes.c_ulong)
_LIMIT_UNKNOWN: Final = ctypes.c_ulong(-1).value
"""CK_UNAVAILABLE_INFORMATION. 0 stands for "no limit" (CK_EFFECTIVELY_INFINITE)."""


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS: no mutex functions of ours, the module may use the system's."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


class _FunctionList(ctypes.Structure):
    """CK_FUNCTION_LIST, as far as it is used here."""

    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * _FUNCTIONS))


class _TokenInfo(ctypes.Structure):
    """CK_TOKEN_INFO: python-pkcs11 keeps its session counts to itself."""

    _fields_ = (
        ("label", ctypes.c_char * 32),
        ("manufacturer", ctypes.c_char * 32),
        ("model", ctypes.c_char * 16),
        ("serial", ctypes.c_char * 16),
        ("flags", ctypes.c_ulong),
        ("sessions_max", ctypes.c_ulong),
        ("sessions_open", ctypes.c_ulong),
        ("rest", ctypes.c_ubyte * 128),
    )


class Tenant(Protocol):
    """Who has sessions in a module."""

    def vacate(self) -> bool:
        """Keep all callers out of the module; False, and nothing is changed, if one does not come out."""

    def reoccupy(self) -> None:
        """Let callers in again, after they were kept out."""

    def evicted(self) -> None:
        """Know that the module was started anew and that every session is gone."""


class Module:
    """One loaded PKCS#11 library. `changing` is held by whoever opens, reopens or restarts: one at a time."""

    def __init__(self, path: Path) -> None:
        self.changing = threading.Lock()
        self.tenants: list[Tenant] = []
        self._name = str(path)
        native = ctypes.CDLL(self._name)
        self._functions = _function_list(native)
        self.shared = ctypes.addressof(self._functions) == ctypes.addressof(_function_list(native))
        """False of a module that gives each caller a list, and a state, of its own, as p11-kit's client does. It is
        initialised by python-pkcs11 then: the other list would lead to another state. Such a module serves one token
        and one call at a time: when the connection of p11-kit 0.24's client ends, only one of several waiting calls
        is told, and the others wait for ever."""
        self.library: Library = python_pkcs11().lib(self._name)
        if self.shared:
            self.library.finalize()
            self._initialize()

    def restart(self, asking: Tenant) -> None:
        """
        Call C_Finalize and C_Initialize while nobody is inside, the asking tenant's own callers being kept out already.

        Raises:
            TokenFailed: a call does not come back, or the module does not start.

        """
        others = [tenant for tenant in self.tenants if tenant is not asking]
        vacated = [tenant for tenant in others if tenant.vacate()]
        try:
            if vacated != others:
                raise TokenFailed("a call does not come back from the PKCS#11 module, so it cannot be restarted")
            for tenant in others:
                tenant.evicted()
            self.finalize()
            self._initialize()
        finally:
            for tenant in vacated:
                tenant.reoccupy()

    def close(self) -> None:
        """Finalise. A module with a state for each caller forgets this one: the next finds another environment."""
        if self.shared:
            self.finalize()
        else:
            python_pkcs11().unload(self._name)

    def finalize(self) -> None:
        """Call C_Finalize: all sessions of the process end. A module that was not running does not mind."""
        if self.shared:
            self._call(_C_FINALIZE, None)
        else:
            self.library.finalize()

    def close_sessions(self, slot: int) -> bool:
        """Close every session that this process has with a slot. False: this module cannot be asked."""
        if self.shared:
            self._call(_C_CLOSE_ALL_SESSIONS, ctypes.c_ulong(slot))
        return self.shared

    def session_counts(self, slot: int) -> tuple[int | None, int | None]:
        """Return how many sessions the token of a slot allows (0: no limit) and has open; None: it does not say."""
        info = _TokenInfo()
        if not self.shared or self._call(_C_GET_TOKEN_INFO, ctypes.c_ulong(slot), ctypes.byref(info)) != _CKR_OK:
            return None, None
        return _count(info.sessions_max), _count(info.sessions_open)

    def _initialize(self) -> None:
        if not self.shared:
            self.library.initialize()
            return
        arguments = _InitializeArguments(flags=_CKF_OS_LOCKING_OK)
        code = self._call(_C_INITIALIZE, ctypes.byref(arguments))
        if code != _CKR_OK:
            raise TokenFailed(f"the PKCS#11 module does not start (0x{code:x})")

    def _call(self, place: int, *arguments: object) -> int:
        function = ctypes.cast(self._functions.functions[place], _FUNCTION)
        return int(function(*arguments))


_modules: dict[Path, Module] = {}
_modules_lock = threading.Lock()


def enter(path: Path, tenant: Tenant) -> Module:
    """
    Return the module of this library, initialised, with one more tenant.

    Raises:
        TokenMissing: no such library, or none that starts.
        TokenFailed: it is in use by another part of the process, or serves one token at a time.

    """
    path = path.resolve()
    with _modules_lock:
        module = _modules.get(path)
        if module is None or not module.tenants:
            module = _modules[path] = _load(path)
        if module.tenants and not module.shared:
            raise TokenFailed(f"{path} serves one token at a time in a process")
        module.tenants.append(tenant)
        return module


def leave(module: Module, tenant: Tenant, *, inside: bool) -> None:
    """End a tenancy. After the last one the module is finalised, unless a call of the tenant's is still `inside`."""
    with _modules_lock:
        module.tenants.remove(tenant)
        if not module.tenants and not inside:
            module.close()


def _load(path: Path) -> Module:
    try:
        return Module(path)
    except (OSError, AttributeError) as error:
        raise TokenMissing(f"cannot load the PKCS#11 module {path}", hint=str(error)) from error
    except RuntimeError as error:  # the root of python-pkcs11's errors; it stands for "no module" as well
        raise TokenMissing(f"{path} does not start as a PKCS#11 module", hint=str(error)) from error


def _function_list(native: ctypes.CDLL) -> _FunctionList:
    pointer = ctypes.POINTER(_FunctionList)()
    code = native.C_GetFunctionList(ctypes.byref(pointer))
    if code != _CKR_OK:
        raise OSError(f"C_GetFunctionList answers 0x{code:x}")
    return pointer.contents


def _count(value: int) -> int | None:
    return None if value == _LIMIT_UNKNOWN else value


def python_pkcs11() -> ModuleType:
    """Return python-pkcs11. Raises TokenMissing where it is not installed."""
    try:
        import pkcs11  # noqa: PLC0415 an optional extra, needed only by those who have a token
    except ImportError as error:
        raise TokenMissing("python-pkcs11 is not installed", hint="pip install 'birthmark[hsm]'") from error
    return pkcs11


@functools.cache
def openssl_error_sweeper() -> Callable[[], None]:
    """
    Return what empties this thread's queue of OpenSSL errors.

    SoftHSM shares libcrypto with Python's ssl and leaves errors behind; ssl would take them for failures of its own.
    """
    try:
        sweep = ctypes.CDLL(_LIBCRYPTO).ERR_clear_error
    except (OSError, AttributeError):  # another libcrypto, or none that is shared: then there is no common queue either
        return _nothing
    sweep.argtypes, sweep.restype = (), None
    return cast("Callable[[], None]", sweep)


def _nothing() -> None:
    pass
