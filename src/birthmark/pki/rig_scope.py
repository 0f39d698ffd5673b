# SPDX-License-Identifier: Apache-2.0
"""
Which orders a rig's certificate is limited to: an extension of ours, never critical.

Its value is SEQUENCE { SEQUENCE OF UTF8String }: the orders, sorted, each once.

A certificate without it is good for every order that names the rig. One with it is good for those of its orders that
name the rig; the CA that issues to devices holds it to that, and nobody else reads it.
"""

import functools
from typing import Annotated, Final

from cryptography import x509

from birthmark.core import der, ids
from birthmark.core.errors import DecodeError
from birthmark.core.registry import RIG_ORDERS

ORDERS_MAX: Final = 64


@der.sequence
class _Orders:
    orders: Annotated[list[str], der.Size(min=1, max=ORDERS_MAX)]


def scope_extension(orders: tuple[str, ...]) -> x509.UnrecognizedExtension:
    """Return the extension that limits a certificate to these orders. Raises DecodeError: not one of them, or none."""
    named = sorted({ids.order_id(order) for order in orders})
    if not 1 <= len(named) <= ORDERS_MAX:
        raise DecodeError(f"{len(named)} orders; 1 to {ORDERS_MAX}", finding="pki.rig-scope")
    return x509.UnrecognizedExtension(RIG_ORDERS, der.encode(_Orders(orders=named)))


@functools.lru_cache(1_024)
def scope_of(certificate: x509.Certificate) -> frozenset[str] | None:
    """
    Return the orders that a rig's certificate is limited to, or None when it is not.

    Raises:
        DecodeError: pki.rig-scope, the extension is there and not what it must be.

    """
    try:
        found = certificate.extensions.get_extension_for_oid(RIG_ORDERS)
    except x509.ExtensionNotFound:
        return None
    except ValueError as error:
        raise DecodeError(f"the certificate's extensions cannot be read: {error}", finding="pki.rig-scope") from error
    value = found.value
    raw = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
    try:
        orders = [ids.order_id(order) for order in der.decode(_Orders, raw, "rig orders").orders]
    except DecodeError as error:
        raise DecodeError(f"the orders of the certificate: {error.message}", finding="pki.rig-scope") from error
    if orders != sorted(set(orders)):
        raise DecodeError("the orders of the certificate are not in order, each once", finding="pki.rig-scope")
    return frozenset(orders)


def in_scope(order: str, certificate: x509.Certificate) -> bool:
    """Say whether a rig's certificate is for this order, as far as it is limited. An unreadable one is for none."""
    try:
        scope = scope_of(certificate)
    except DecodeError:
        return False
    return scope is None or order in scope
