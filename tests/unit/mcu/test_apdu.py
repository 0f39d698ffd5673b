# SPDX-License-Identifier: Apache-2.0
"""Command APDUs: the four cases, short and extended, and a chip that reads the host's encoding back."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.silicon.simulator.commands import StatusError, StatusWord, read_command
from birthmark_mcu.apdu import encode

HEAD = (0x80, 0x10, 0x01, 0x02)
# ISO/IEC 7816-3 §12.1.3: cases 1, 2S, 3S, 4S, 2E, 3E, 4E.
CASES = {
    "1": (b"", 0, "80100102"),
    "2S": (b"", 256, "8010010200"),
    "2S of five": (b"", 5, "8010010205"),
    "3S": (b"\xaa\xbb", 0, "8010010202aabb"),
    "4S": (b"\xaa", 256, "8010010201aa00"),
    "2E": (b"", 257, "80100102000101"),
    "2E of all": (b"", 65536, "80100102000000"),
    "3E": (b"\xaa" * 256, 0, "80100102000100" + "aa" * 256),
    "4E": (b"\xaa", 4096, "80100102000001aa1000"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_command_is_encoded_in_its_case(case: str) -> None:
    data, expected, encoded = CASES[case]
    assert encode(HEAD, data, expected).hex() == encoded


@given(st.tuples(*[st.integers(0, 255)] * 4), st.binary(max_size=600), st.integers(0, 65536))
def test_the_chip_reads_what_the_host_encodes(head: tuple[int, int, int, int], data: bytes, expected: int) -> None:
    command = read_command(encode(head, data, expected))
    assert (command.cla, command.ins, command.p1, command.p2) == head
    assert (command.data, command.expected) == (data, expected)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_command_or_of_wrong_length(apdu: bytes) -> None:
    with contextlib.suppress(StatusError):
        read_command(apdu)


@pytest.mark.parametrize(
    "apdu", ["", "801001", "8010010203aabb", "8010010201aabbcc", "80100102000000aa", "80100102000002aa"]
)
def test_an_apdu_that_its_lengths_do_not_fill_is_refused(apdu: str) -> None:
    with pytest.raises(StatusError) as caught:
        read_command(bytes.fromhex(apdu))
    assert caught.value.status is StatusWord.WRONG_LENGTH
