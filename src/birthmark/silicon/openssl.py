# SPDX-License-Identifier: Apache-2.0
"""
The way from Python's ssl module to the OpenSSL beneath it: functions by ctypes, and a checked SSL_CTX pointer.

The pointer is the first field of CPython's PySSLContext. That layout is no promise, so a pointer is believed only
when it answers like the context that it was taken from; a Python that differs is refused and not guessed at.
"""

import _ssl
import ctypes
import ssl
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_long, c_size_t, c_uint, c_uint64, c_ulong, c_void_p
from functools import cache
from pathlib import Path

from birthmark.silicon.errors import ChipError

UNSUPPORTED = "chip.tls.unsupported"
_HINT = "use a CPython whose ssl module is linked with a shared OpenSSL 3"

# int (*sign)(int type, const unsigned char *dgst, int dlen, unsigned char *sig, unsigned int *siglen,
#             const BIGNUM *kinv, const BIGNUM *r, EC_KEY *eckey), from openssl/ec.h
SIGN_CALLBACK = CFUNCTYPE(c_int, c_int, c_void_p, c_int, c_void_p, POINTER(c_uint), c_void_p, c_void_p, c_void_p)

NID_P256 = 415
NID_P384 = 715
SSL_CTRL_CHAIN_CERT = 89
SSL_CTRL_SET_CLIENT_SIGALGS_LIST = 102
_SSL_CTRL_GET_MIN_PROTO_VERSION = 130

# Less than the SSL_CTX of any OpenSSL 3 has, more than the offsets of what `checked_pointer` asks for.
_SSL_CTX_BYTES = 512
# SSL_VERIFY_PEER is 1, SSL_VERIFY_FAIL_IF_NO_PEER_CERT is 2.
_VERIFY_MODES = {ssl.CERT_NONE: 0, ssl.CERT_OPTIONAL: 1, ssl.CERT_REQUIRED: 3}
_ERROR_TEXT_BYTES = 256

_PROTOTYPES = {
    "OpenSSL_version_num": (c_ulong,),
    "ERR_get_error": (c_ulong,),
    "ERR_error_string_n": (None, c_ulong, c_char_p, c_size_t),
    "ERR_clear_error": (None,),
    "EC_KEY_OpenSSL": (c_void_p,),
    "EC_KEY_METHOD_new": (c_void_p, c_void_p),
    "EC_KEY_METHOD_set_sign": (None, c_void_p, SIGN_CALLBACK, c_void_p, c_void_p),
    "EC_KEY_new_by_curve_name": (c_void_p, c_int),
    "EC_KEY_oct2key": (c_int, c_void_p, c_char_p, c_size_t, c_void_p),
    "EC_KEY_free": (None, c_void_p),
    "EC_KEY_set_method": (c_int, c_void_p, c_void_p),
    "ECDSA_size": (c_int, c_void_p),
    "EVP_PKEY_new": (c_void_p,),
    "EVP_PKEY_set1_EC_KEY": (c_int, c_void_p, c_void_p),
    "EVP_PKEY_free": (None, c_void_p),
    "d2i_X509": (c_void_p, c_void_p, POINTER(c_char_p), c_long),
    "X509_free": (None, c_void_p),
    "SSL_CTX_get_options": (c_uint64, c_void_p),
    "SSL_CTX_get_verify_mode": (c_int, c_void_p),
    "SSL_CTX_ctrl": (c_long, c_void_p, c_int, c_long, c_void_p),
    "SSL_CTX_use_certificate_ASN1": (c_int, c_void_p, c_int, c_char_p),
    "SSL_CTX_use_PrivateKey": (c_int, c_void_p, c_void_p),
}


@cache
def library() -> ctypes.CDLL:
    """
    Return the OpenSSL functions above, taken from the very libraries that the ssl module is linked with.

    Raises:
        ChipError: they are not reachable (a static OpenSSL, a LibreSSL), or another OpenSSL answers.

    """
    # Symbols are looked up from the extension module: a second libssl in the process cannot be hit by mistake.
    functions = ctypes.CDLL(getattr(_ssl, "__file__", None))
    try:
        for name, (result, *arguments) in _PROTOTYPES.items():
            function = getattr(functions, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise ChipError(f"Python's OpenSSL is out of reach: {error}", hint=_HINT, finding=UNSUPPORTED) from error
    if functions.OpenSSL_version_num() != ssl.OPENSSL_VERSION_NUMBER:
        raise ChipError("two OpenSSL versions answer in this process", hint=_HINT, finding=UNSUPPORTED)
    return functions


def require(succeeded: object, what: str, finding: str = UNSUPPORTED) -> None:
    """
    Raise ChipError with OpenSSL's own reason unless the call succeeded.

    OpenSSL's error queue of this thread is emptied, lest the ssl module report it for the next connection.
    """
    if succeeded:
        return
    functions = library()
    text = ctypes.create_string_buffer(_ERROR_TEXT_BYTES)
    functions.ERR_error_string_n(functions.ERR_get_error(), text, _ERROR_TEXT_BYTES)
    functions.ERR_clear_error()
    raise ChipError(f"OpenSSL does not take the {what}: {text.value.decode()}", finding=finding)


def context_pointer(context: ssl.SSLContext) -> int:
    """Return the address of the SSL_CTX behind a context. Raises ChipError when it cannot be had safely."""
    field = c_void_p.from_address(id(context) + object.__basicsize__)
    return checked_pointer(context, field.value or 0)


def checked_pointer(context: ssl.SSLContext, pointer: int) -> int:
    """
    Return `pointer` if it answers like the SSL_CTX of this context.

    1. The memory is mapped and writable, so that looking at it is safe.
    2. The options are the context's.
    3. The verify mode is the context's.
    4. The minimum protocol version is the context's.

    Raises:
        ChipError: any of them fails. Nothing has been written.

    """
    functions = library()
    believed = (
        _is_writable(pointer, _SSL_CTX_BYTES)
        and functions.SSL_CTX_get_options(pointer) == int(context.options)
        and functions.SSL_CTX_get_verify_mode(pointer) == _VERIFY_MODES[context.verify_mode]
        and functions.SSL_CTX_ctrl(pointer, _SSL_CTRL_GET_MIN_PROTO_VERSION, 0, None) == _minimum_version(context)
    )
    if not believed:
        raise ChipError("this Python keeps its SSL_CTX in another place", hint=_HINT, finding=UNSUPPORTED)
    return pointer


def _minimum_version(context: ssl.SSLContext) -> int:
    version = context.minimum_version
    return 0 if version is ssl.TLSVersion.MINIMUM_SUPPORTED else int(version)


def _is_writable(address: int, size: int) -> bool:
    for line in Path("/proc/self/maps").read_text(encoding="ascii", errors="replace").splitlines():
        span, permissions, *_ = line.split()
        start, end = (int(part, 16) for part in span.split("-"))
        if start <= address and address + size <= end:
            return permissions.startswith("rw")
    return False
