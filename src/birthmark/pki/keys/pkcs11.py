# SPDX-License-Identifier: Apache-2.0
"""
Keys in a PKCS#11 token: an HSM, a smart card, SoftHSM.

A key here is a pyca private key, so certificate, CRL and request builders take it as it is. Only the digest goes to
the token. One Token serves all threads of a process; it does not survive a fork.

python-pkcs11 is imported when a token is opened: it belongs to the extra `birthmark[hsm]`.
"""

import contextlib
import ctypes
import functools
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PrivateFormat,
    load_der_public_key,
)
from cryptography.utils import Buffer

from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm
from birthmark.pki.errors import (
    KeyExists,
    KeyMissing,
    KeyStoreError,
    PinRefused,
    TokenFailed,
    TokenMissing,
)

if TYPE_CHECKING:
    import pkcs11

POOL_MAX_SESSIONS = 8
KEY_ID_BYTES = 16

_CKF_OS_LOCKING_OK = 0x02
_CKR_OK = 0
_LIBCRYPTO = "libcrypto.so.3"

# What python-pkcs11 raises, by name, and what it means here. All the rest is TokenFailed.
_MEANINGS: dict[str, type[KeyStoreError]] = {
    "PinIncorrect": PinRefused,
    "PinInvalid": PinRefused,
    "PinLenRange": PinRefused,
    "PinLocked": PinRefused,
    "PinExpired": PinRefused,
    "NoSuchToken": TokenMissing,
    "MultipleTokensReturned": TokenMissing,
    "TokenNotPresent": TokenMissing,
    "TokenNotRecognised": TokenMissing,
    "NoSuchKey": KeyMissing,
    "MultipleObjectsReturned": KeyMissing,
}


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


class _Module:
    """
    One loaded PKCS#11 library, initialised so that threads may share it.

    python-pkcs11 0.10 calls C_Initialize without the locking flag and yet lets go of the GIL around every call; two
    threads then corrupt the heap of SoftHSM. So the library is finalised at once and initialised again with the flag.
    """

    def __init__(self, path: Path) -> None:
        self._native = ctypes.CDLL(str(path))
        self.library = _python_pkcs11().lib(str(path))
        self.library.finalize()
        self.users = 0
        self.initialize()

    def initialize(self) -> None:
        """Call C_Initialize with the locking flag. Raises TokenFailed."""
        arguments = _InitializeArguments(flags=_CKF_OS_LOCKING_OK)
        code = self._native.C_Initialize(ctypes.byref(arguments))
        if code != _CKR_OK:
            raise TokenFailed(f"the PKCS#11 module does not start (0x{code:x})")

    def finalize(self) -> None:
        """Call C_Finalize: all sessions of the process end. A module that was not running does not mind."""
        self._native.C_Finalize(None)


_modules: dict[Path, _Module] = {}
_modules_lock = threading.Lock()


def _acquire(path: Path) -> _Module:
    with _modules_lock:
        module = _modules.get(path) or _loaded(path)
        _modules[path] = module
        module.users += 1
        return module


def _release(path: Path) -> None:
    with _modules_lock:
        module = _modules[path]
        module.users -= 1
        if module.users == 0:
            module.finalize()
            del _modules[path]


def _loaded(path: Path) -> _Module:
    try:
        return _Module(path)
    except OSError as error:
        raise TokenMissing(f"cannot load the PKCS#11 module {path}", hint=str(error)) from error
    except RuntimeError as error:  # the root of python-pkcs11's errors; it stands for "no module" as well
        raise TokenMissing(f"{path} does not start as a PKCS#11 module", hint=str(error)) from error


def _forget_openssl_errors() -> None:
    """
    Empty this thread's queue of OpenSSL errors.

    SoftHSM shares libcrypto with Python's ssl and leaves errors behind; ssl would take them for failures of its own.
    """
    forget = _err_clear_error()
    if forget is not None:
        forget()


@functools.cache
def _err_clear_error() -> Callable[[], None] | None:
    try:
        forget = ctypes.CDLL(_LIBCRYPTO).ERR_clear_error
    except (OSError, AttributeError):  # another libcrypto, or none that is shared: then there is no common queue either
        return None
    forget.argtypes, forget.restype = (), None
    return cast("Callable[[], None]", forget)


class _Session:
    """A session, and the private keys that were found through it."""

    def __init__(self, session: "pkcs11.Session") -> None:
        self.session = session
        self._keys: dict[str, pkcs11.Key] = {}

    def sign(self, label: str, digest: bytes) -> bytes:
        """Return r and s, each as long as the curve (CKM_ECDSA)."""
        p11 = _python_pkcs11()
        if label not in self._keys:
            self._keys[label] = self.session.get_key(object_class=p11.ObjectClass.PRIVATE_KEY, label=label)
        signature: bytes = self._keys[label].sign(digest, mechanism=p11.Mechanism.ECDSA)  # type: ignore[attr-defined] # the mix-in shows at run time
        return signature


class Token:
    """
    An open token: one login, and up to POOL_MAX_SESSIONS callers that sign at the same time.

    When the token fails, the call raises TokenFailed and the next one starts anew: module, login, sessions. A refused
    PIN is never offered again. Give the Token to all that need it; a process opens a token once.
    """

    def __init__(self, module_path: Path, label: str, pin: bytes) -> None:
        self._path = module_path
        self._label = label
        self._pin = pin
        self._gate = threading.Condition()
        self._busy = 0
        self._failed = False
        self._refusal: KeyStoreError | None = None
        self._idle: list[_Session] = []
        self._module = _acquire(module_path)
        try:
            self._connect()
        except KeyStoreError:
            _release(module_path)
            raise

    @classmethod
    def open(cls, module_path: Path, label: str, pin: bytes) -> Self:
        """
        Log in to the token with this label.

        Raises:
            TokenMissing: no module, no such token, or two of that label.
            PinRefused: the PIN is wrong or locked.
            TokenFailed: anything else, for example a token that this process has open already.

        """
        return cls(module_path, label, pin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out and let go of the module. Waits for calls that are under way."""
        with self._gate:
            self._gate.wait_for(lambda: self._busy == 0)
            for session in (*self._idle, self._login):
                with contextlib.suppress(RuntimeError):  # a token that is gone needs no logout
                    session.session.close()
            self._idle.clear()
            self._failed, self._refusal = True, TokenFailed(f"token {self._label!r} was closed")
            _release(self._path)

    def key(self, label: str) -> "TokenKey":
        """Return the elliptic-curve key of this label. Raises KeyMissing, or TokenFailed."""
        p11 = _python_pkcs11()
        with self._session(f"key {label!r}") as session:
            found = session.session.get_key(object_class=p11.ObjectClass.PUBLIC_KEY, label=label)
            public = load_der_public_key(p11.util.ec.encode_ec_public_key(found))
            session.session.get_key(object_class=p11.ObjectClass.PRIVATE_KEY, label=label)
        key_algorithm(public)
        return TokenKey(self, label, cast("ec.EllipticCurvePublicKey", public))

    def generate(self, label: str, algorithm: KeyAlgorithm) -> "TokenKey":
        """
        Make a key in the token: it can sign, and it never leaves.

        Raises:
            KeyExists: the label is taken. Keys are not overwritten.
            TokenFailed: the token cannot or will not.

        """
        p11 = _python_pkcs11()
        with self._session(f"key {label!r}") as session:
            taken = any(True for _ in session.session.get_objects({p11.Attribute.LABEL: label}))
            if not taken:
                self._make(label, algorithm)
        if taken:
            raise KeyExists(f"token {self._label!r} has a key {label!r} already", hint="choose another label")
        return self.key(label)

    def sign(self, label: str, digest: bytes) -> bytes:
        """
        Return the raw ECDSA signature, r and s, of a digest.

        Raises:
            TokenFailed: the token or the session died; the next call starts anew.

        """
        try:
            with self._session(f"key {label!r}") as session:
                return session.sign(label, digest)
        except KeyMissing as error:  # it was there when its TokenKey was made, so the token has lost more than a key
            raise TokenFailed(error.message) from error

    def _make(self, label: str, algorithm: KeyAlgorithm) -> None:
        p11 = _python_pkcs11()
        curve = p11.util.ec.encode_named_curve_parameters(algorithm.curve.name)
        identifier = secrets.token_bytes(KEY_ID_BYTES)
        private = {
            p11.Attribute.SENSITIVE: True,
            p11.Attribute.EXTRACTABLE: False,
            p11.Attribute.SIGN: True,
            p11.Attribute.DERIVE: False,
        }
        with self._token.open(rw=True) as session:
            parameters = session.create_domain_parameters(p11.KeyType.EC, {p11.Attribute.EC_PARAMS: curve}, local=True)
            parameters.generate_keypair(store=True, label=label, id=identifier, private_template=private)

    @contextlib.contextmanager
    def _session(self, what: str) -> Iterator[_Session]:
        """Lend a session to one caller. Whatever python-pkcs11 raises inside comes out as a KeyStoreError."""
        idle = self._enter()
        session = None
        try:
            session = idle or _Session(self._token.open())
            yield session
        except RuntimeError as error:
            session = None
            raise _explained(error, f"token {self._label!r}, {what}") from error
        finally:
            _forget_openssl_errors()
            self._leave(session)

    def _enter(self) -> _Session | None:
        """Wait for a place. After a failure the first to come in starts anew, once all others are out."""
        with self._gate:
            self._gate.wait_for(lambda: self._busy < (1 if self._failed else POOL_MAX_SESSIONS))
            if self._failed:
                self._restart()
            self._busy += 1
            return self._idle.pop() if self._idle else None

    def _leave(self, session: _Session | None) -> None:
        with self._gate:
            self._busy -= 1
            if session is None:
                self._failed = True
            else:
                self._idle.append(session)
            self._gate.notify_all()

    def _restart(self) -> None:
        """Begin with a new login, and if nobody else uses the module, with a new module: SoftHSM wants that."""
        if self._refusal:
            raise self._refusal
        self._idle.clear()
        with _modules_lock:
            if self._module.users == 1:
                self._module.finalize()
                self._module.initialize()
        self._connect()
        self._failed = False

    def _connect(self) -> None:
        try:
            self._token = self._module.library.get_token(token_label=self._label)
            self._login = _Session(self._token.open(user_pin=self._pin.decode()))
        except UnicodeDecodeError:
            raise PinRefused("the PIN is not UTF-8") from None
        except RuntimeError as error:
            meaning = _explained(error, f"token {self._label!r}")  # UserAlreadyLoggedIn: this process has it open
            if isinstance(meaning, PinRefused):
                self._refusal = meaning
            raise meaning from error
        finally:
            _forget_openssl_errors()


class TokenKey(ec.EllipticCurvePrivateKey):
    """A private key that stays in its token. All that needs the secret itself is refused."""

    def __init__(self, token: Token, label: str, public: ec.EllipticCurvePublicKey) -> None:
        self._token = token
        self._label = label
        self._public = public

    def __repr__(self) -> str:
        return f"<TokenKey {self._label!r} {self.curve.name}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @property
    def curve(self) -> ec.EllipticCurve:
        """The key's curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits of the curve."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public half."""
        return self._public

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Return the DER signature. The digest is made here, the signature in the token. Raises TokenFailed."""
        raw = self._token.sign(self._label, _digest(data, signature_algorithm))
        half = len(raw) // 2
        return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:  # noqa: ARG002 pyca's signature
        """Refuse: this key signs."""
        raise KeyStoreError("a key in the token signs and does nothing else", finding="key.usage")

    def private_numbers(self) -> NoReturn:
        """Refuse: the secret is in the token."""
        raise KeyStoreError("a key does not leave its token", finding="key.usage")

    def private_bytes(self, encoding: Encoding, format: PrivateFormat, encryption_algorithm: object) -> NoReturn:  # noqa: A002, ARG002 pyca's signature
        """Refuse: the secret is in the token."""
        raise KeyStoreError("a key does not leave its token", finding="key.usage")


def _digest(data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
    if not isinstance(signature_algorithm, ec.ECDSA):
        raise UnsupportedAlgorithm("keys in the token sign with ECDSA")
    if isinstance(signature_algorithm.algorithm, utils.Prehashed):
        return bytes(data)
    digest = hashes.Hash(signature_algorithm.algorithm)
    digest.update(data)
    return digest.finalize()


def _explained(error: RuntimeError, where: str) -> KeyStoreError:
    """Return what an error of python-pkcs11 means. Its texts hold names and codes only, never the PIN."""
    name = type(error).__name__
    if name in _MEANINGS:
        return _MEANINGS[name](f"{where}: {name}")
    return TokenFailed(f"{where}: {name} {error}".rstrip())


def _python_pkcs11() -> ModuleType:
    try:
        import pkcs11  # noqa: PLC0415 an optional extra, needed only by those who have a token
    except ImportError as error:
        raise TokenMissing("python-pkcs11 is not installed", hint="pip install 'birthmark[hsm]'") from error
    return pkcs11
