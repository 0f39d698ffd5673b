# SPDX-License-Identifier: Apache-2.0
"""The one text that names a denied client."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.clients import ClientKind, DeniedClient, read_client
from birthmark.core.errors import DecodeError


@pytest.mark.parametrize(
    "client",
    [
        DeniedClient(ClientKind.KEY, "0a" * 32),
        DeniedClient(ClientKind.RIG, "rig-a"),
        DeniedClient(ClientKind.PERSON, "Olga: Officer"),
    ],
    ids=str,
)
def test_a_client_is_read_from_the_text_that_it_prints(client: DeniedClient) -> None:
    assert read_client(str(client)) == client


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rig-a",
        "rig:",
        "rig: rig-a",
        "rig:rig-a ",
        "rig:a\nb",
        "person:" + "x" * 65,
        "key:" + "0A" * 32,
        "key:" + "0a" * 31,
        "chip:1",
        "RIG:rig-a",
    ],
)
def test_what_names_no_client_is_refused(text: str) -> None:
    with pytest.raises(DecodeError) as refused:
        read_client(text)
    assert refused.value.finding == "id.client"


@given(st.one_of(st.text(max_size=80), st.builds("{}:{}".format, st.sampled_from(["key", "rig", "person"]), st.text())))
def test_only_what_it_would_print_is_read(text: str) -> None:
    with suppress(DecodeError):
        assert str(read_client(text)) == text
