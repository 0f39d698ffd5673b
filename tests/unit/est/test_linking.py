# SPDX-License-Identifier: Apache-2.0
"""A request that is linked to its TLS session by a challengePassword (RFC 7030 §3.5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.est.errors import NotLinked
from birthmark.est.linking import challenge_of, require_linked

UNIQUE, EXPORTED = bytes(range(12)), bytes(range(32))
BINDINGS = {"tls-unique": UNIQUE, "tls-exporter": EXPORTED}


@pytest.mark.parametrize("name", BINDINGS)
def test_the_binding_of_this_session_is_named(name: str) -> None:
    assert require_linked(challenge_of(BINDINGS[name]), BINDINGS) == name


def test_a_challenge_is_base64_with_padding() -> None:
    assert challenge_of(b"\xfb\xff\x00\x01") == "+/8AAQ=="


@pytest.mark.parametrize(
    "challenge",
    [challenge_of(bytes(12)), "", "secret", challenge_of(UNIQUE).rstrip("=") + "=", challenge_of(EXPORTED)[:-1]],
)
def test_another_session_s_binding_is_refused(challenge: str) -> None:
    if challenge in map(challenge_of, BINDINGS.values()):
        challenge += " "
    with pytest.raises(NotLinked, match="another TLS session"):
        require_linked(challenge, BINDINGS)


def test_a_session_without_bindings_links_nothing() -> None:
    with pytest.raises(NotLinked, match="has no binding"):
        require_linked(challenge_of(b""), {})


@given(st.text(max_size=60))
def test_no_other_text_is_a_link(challenge: str) -> None:
    with pytest.raises(NotLinked):
        require_linked(challenge, {"tls-exporter": EXPORTED})
