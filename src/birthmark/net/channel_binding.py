# SPDX-License-Identifier: Apache-2.0
"""
What ties an application's message to its TLS session: tls-unique (RFC 5929) and tls-exporter (RFC 9266).

Python's ssl module gives tls-unique and no keying material. The exporter is reached through OpenSSL's own function, on
the SSL* that CPython keeps in its session object. That layout is no promise: the pointer is believed only if the field
behind it is the session's very context and OpenSSL says that it belongs to that context's SSL_CTX. A Python that
differs has no channel bindings, which is safe: whoever demands one refuses.
"""

import _ssl
import ctypes
import ssl
from collections.abc import Mapping
from ctypes import c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p
from functools import cache
from types import MappingProxyType
from typing import Any, Final

TLS_UNIQUE: Final = "tls-unique"
TLS_EXPORTER: Final = "tls-exporter"
EXPORTER_LABEL: Final = b"EXPORTER-Channel-Binding"
EXPORTER_BYTES: Final = 32
"""RFC 9266 §4.2: this label, an empty context, 32 bytes."""

NO_BINDINGS: Final[Mapping[str, bytes]] = MappingProxyType({})
_CTRL_GET_EXTMS_SUPPORT: Final = 122
_WORD: Final = ctypes.sizeof(c_void_p)
_SSL_FIELD: Final = 1
_CONTEXT_FIELD: Final = 2
"""PySSLSocket: PyObject_HEAD, PyObject *Socket, SSL *ssl, PySSLContext *ctx, …"""
_PROTOTYPES: Final = {
    "OpenSSL_version_num": (c_ulong,),
    "ERR_clear_error": (None,),
    "SSL_get_SSL_CTX": (c_void_p, c_void_p),
    "SSL_ctrl": (c_long, c_void_p, c_int, c_long, c_void_p),
    "SSL_export_keying_material": (
        *(c_int, c_void_p, c_char_p, c_size_t),
        *(c_char_p, c_size_t, c_char_p, c_size_t, c_int),
    ),
}


def channel_bindings(session: ssl.SSLObject | ssl.SSLSocket) -> Mapping[str, bytes]:
    """
    Return the channel bindings of an open session by their registered names.

    TLS 1.3 has tls-exporter. TLS 1.2 has tls-unique, if both ends know the extended master secret (RFC 7627): without
    it two sessions can be made to share one value. Empty where this Python lets us know neither.
    """
    pointer = _ssl_pointer(session)
    if pointer is None:
        return NO_BINDINGS
    if session.version() == "TLSv1.3":
        exported = _exported(pointer)
        return NO_BINDINGS if exported is None else {TLS_EXPORTER: exported}
    unique = session.get_channel_binding(TLS_UNIQUE)
    extended = _library().SSL_ctrl(pointer, _CTRL_GET_EXTMS_SUPPORT, 0, None) == 1
    return {TLS_UNIQUE: unique} if unique and extended else NO_BINDINGS


def _exported(pointer: int) -> bytes | None:
    out = ctypes.create_string_buffer(EXPORTER_BYTES)
    label = (EXPORTER_LABEL, len(EXPORTER_LABEL))
    if _library().SSL_export_keying_material(pointer, out, EXPORTER_BYTES, *label, b"", 0, 1) != 1:
        _library().ERR_clear_error()  # lest the ssl module report it for the next connection
        return None
    return out.raw


def _ssl_pointer(session: ssl.SSLObject | ssl.SSLSocket) -> int | None:
    inner: Any = getattr(session, "_sslobj", None)
    if inner is None or type(inner).__basicsize__ < object.__basicsize__ + (_CONTEXT_FIELD + 1) * _WORD:
        return None
    pointer = _field(inner, _SSL_FIELD)
    if pointer == 0 or _field(inner, _CONTEXT_FIELD) != id(session.context) or _library() is None:
        return None
    belongs_to: int = _library().SSL_get_SSL_CTX(pointer)
    return pointer if belongs_to == _field(session.context, 0) else None


def _field(owner: object, number: int) -> int:
    """Return a pointer that stands behind the head of a CPython object."""
    return c_void_p.from_address(id(owner) + object.__basicsize__ + number * _WORD).value or 0


@cache
def _library() -> Any:
    """Return OpenSSL as the ssl module is linked with it, or None when it cannot be reached or is another one."""
    # Symbols are looked up from the extension module: a second libssl in the process cannot be hit by mistake.
    functions = ctypes.CDLL(getattr(_ssl, "__file__", None))
    try:
        for name, (result, *arguments) in _PROTOTYPES.items():
            function = getattr(functions, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError:
        return None
    return functions if functions.OpenSSL_version_num() == ssl.OPENSSL_VERSION_NUMBER else None
