# SPDX-License-Identifier: Apache-2.0
"""The orders that a rig's certificate is limited to: written, read, and nothing taken for them that they are not."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.core.registry import RIG_ORDERS
from birthmark.pki.algorithms import signature_hash
from birthmark.pki.authorities import Authority, make_rig, make_root
from birthmark.pki.rig_scope import ORDERS_MAX, in_scope, scope_extension, scope_of
from birthmark.testing.forge import new_key

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CA = make_root("Example", "Root", new_key(), NOW)
KEY = new_key()


def with_extension(raw: bytes, issuer: Authority = CA) -> x509.Certificate:
    rig = make_rig(issuer, "rig-a", KEY.public_key(), NOW)
    builder = x509.CertificateBuilder(
        rig.issuer, rig.subject, rig.public_key(), rig.serial_number, NOW, rig.not_valid_after_utc
    )
    return builder.add_extension(x509.UnrecognizedExtension(RIG_ORDERS, raw), critical=False).sign(
        issuer.key, signature_hash(issuer.key.public_key())
    )


def test_a_certificate_without_the_extension_is_not_limited() -> None:
    rig = make_rig(CA, "rig-a", KEY.public_key(), NOW)
    assert scope_of(rig) is None
    assert in_scope("any-order", rig)


@given(st.sets(st.from_regex(r"[a-z0-9][a-z0-9-]{1,31}", fullmatch=True), min_size=1, max_size=5))
def test_what_was_limited_is_read_back(orders: set[str]) -> None:
    rig = make_rig(CA, "rig-a", KEY.public_key(), NOW, orders=tuple(orders))
    assert scope_of(rig) == orders
    assert all(in_scope(each, rig) for each in orders)
    assert not in_scope("another-order-of-ours", rig) or "another-order-of-ours" in orders


@pytest.mark.parametrize("orders", [(), ("Order",), tuple(f"order-{number}" for number in range(ORDERS_MAX + 1))])
def test_what_are_no_orders_is_not_written(orders: tuple[str, ...]) -> None:
    with pytest.raises(DecodeError):
        scope_extension(orders)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x30\x00", id="no list"),
        pytest.param(b"\x30\x02\x30\x00", id="an empty list"),
        pytest.param(scope_extension(("aa", "bb")).value + b"\x00", id="a byte too many"),
        pytest.param(scope_extension(("aa", "bb")).value.replace(b"aa", b"bb"), id="one twice"),
        pytest.param(scope_extension(("aa", "bb")).value.replace(b"aa", b"cc"), id="out of order"),
        pytest.param(scope_extension(("aa", "bb")).value.replace(b"aa", b"A."), id="no order"),
    ],
)
def test_a_malformed_limit_is_refused_and_good_for_no_order(raw: bytes) -> None:
    rig = with_extension(raw)
    with pytest.raises(DecodeError):
        scope_of(rig)
    assert not in_scope("bb", rig)
