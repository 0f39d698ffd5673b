# SPDX-License-Identifier: Apache-2.0
"""What a server knows of a TLS session that ends in it: the verified client above all."""

import asyncio
import functools
import ssl
import sys
from typing import Any, Final

from birthmark.net.channel_binding import channel_bindings

_ENCODING_DER: Final = 2
"""_ssl.ENCODING_DER"""


def tls_information(transport: asyncio.BaseTransport) -> dict[str, Any] | None:
    """Return what goes into the scope of the session's requests; None without TLS."""
    session: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if session is None:
        return None
    leaf = session.getpeercert(binary_form=True)
    return {
        "tls_version": session.version(),
        "cipher_suite": (session.cipher() or ("",))[0],
        "client_cert": leaf,
        "client_cert_chain": () if leaf is None else _verified_chain(session) or (leaf,),
        # Few requests need them: they are worked out when one does.
        "channel_bindings": functools.partial(channel_bindings, session),
    }


def _verified_chain(session: ssl.SSLObject) -> tuple[bytes, ...]:
    # Public from Python 3.13 on; before, the same call hides behind _sslobj and gives certificate objects.
    source: Any = session if sys.version_info >= (3, 13) else session._sslobj  # type: ignore[attr-defined] # noqa: SLF001 no public name before 3.13
    found = source.get_verified_chain() or ()
    return tuple(each if isinstance(each, bytes) else each.public_bytes(_ENCODING_DER) for each in found)
