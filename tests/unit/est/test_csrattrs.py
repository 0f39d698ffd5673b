# SPDX-License-Identifier: Apache-2.0
"""CSR attributes: the RFC's own example, and nothing but CsrAttrs."""

import base64

import pytest
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.est import csrattrs
from birthmark.est.csrattrs import Attribute

RFC_EXAMPLE = base64.b64decode(
    "MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw=="
)
EC_PUBLIC_KEY = ObjectIdentifier("1.2.840.10045.2.1")
P384 = ObjectIdentifier("1.3.132.0.34")
OIDS = st.lists(st.integers(0, 2**40), min_size=1, max_size=6).map(
    lambda arcs: ObjectIdentifier(".".join(["1", "2", *map(str, arcs)]))
)
# DER orders the members of a SET, so that equal content has one spelling.
VALUES = st.sets(st.integers(0, 2**64).map(der.encode), min_size=1, max_size=3).map(lambda found: tuple(sorted(found)))
ITEMS = st.lists(OIDS | st.builds(Attribute, OIDS, VALUES), max_size=8).map(tuple)


def test_the_example_of_rfc_8951_is_read_and_written() -> None:
    items = csrattrs.decode(RFC_EXAMPLE)
    assert items == (
        ObjectIdentifier("1.2.840.113549.1.9.7"),
        Attribute(EC_PUBLIC_KEY, (der.encode(P384),)),
        Attribute(ObjectIdentifier("1.2.840.113549.1.9.14"), (der.encode(ObjectIdentifier("1.3.6.1.1.1.1.22")),)),
        ObjectIdentifier("1.2.840.10045.4.3.3"),
    )
    assert csrattrs.encode(items) == RFC_EXAMPLE


def test_a_key_type_without_a_curve_is_read() -> None:
    any_ec_key = bytes.fromhex("300d300b06072a8648ce3d02013100")
    assert csrattrs.decode(any_ec_key) == (Attribute(EC_PUBLIC_KEY, ()),)
    assert csrattrs.encode([Attribute(EC_PUBLIC_KEY, ())]) == any_ec_key


def test_no_wish_is_an_empty_sequence() -> None:
    assert csrattrs.encode([]) == b"\x30\x00"
    assert csrattrs.decode(b"\x30\x00") == ()


@given(ITEMS)
def test_what_is_written_is_read_again(items: tuple[ObjectIdentifier | Attribute, ...]) -> None:
    assert csrattrs.decode(csrattrs.encode(items)) == items


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30\x00\x00",
        b"\x30\x02\x05\x00",
        b"\x31\x00",
        RFC_EXAMPLE[:-1],
        RFC_EXAMPLE + b"\x00",
    ],
)
def test_what_is_not_csrattrs_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        csrattrs.decode(data)
    assert refused.value.finding == "est.csrattrs"


def test_more_items_than_the_limit_are_refused() -> None:
    data = b"\x06\x01\x2a" * (csrattrs.CSRATTRS_MAX_ITEMS + 1)
    with pytest.raises(DecodeError):
        csrattrs.decode(b"\x30" + der.encode(data)[1:])


@given(st.binary(max_size=80))
def test_decoding_raises_nothing_but_its_own_error(data: bytes) -> None:
    try:
        items = csrattrs.decode(data)
    except DecodeError:
        return
    assert csrattrs.encode(items) == data
