# SPDX-License-Identifier: Apache-2.0
"""SMP over console: judged by the `smp` package, cut anywhere, between any noise."""

import binascii
import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smp import packet as judge

from birthmark_mcu.crc16 import crc16_xmodem
from birthmark_mcu.smp.console import Decoder, encode
from birthmark_mcu.smp.registry import LINE_BYTES

LIMIT = 400
FRAMES = st.binary(min_size=1, max_size=LIMIT)
# Whatever another program prints: lines, without the four bytes that begin a line of ours.
NOISE = st.binary(max_size=200).map(lambda noise: noise.translate(None, b"\x06\x04\x09\x14") + b"\n")


def decoded(stream: bytes, limit: int = LIMIT) -> list[bytes]:
    return Decoder(limit).feed(stream)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_the_crc_is_the_one_of_the_standard_library(data: bytes) -> None:
    assert crc16_xmodem(data) == binascii.crc_hqx(data, 0)


# An echo request as mcumgr's documentation of the protocol frames it: computed with the `smp` package 4.2.0.
def test_a_known_frame_has_known_lines() -> None:
    assert encode(b"Hello, world!") == b"\x06\x09AA9IZWxsbywgd29ybGQhet4=\n"


@settings(deadline=None)
@given(FRAMES)
@example(bytes(LIMIT))
def test_the_judge_reads_what_is_written(frame: bytes) -> None:
    lines = encode(frame).splitlines(keepends=True)
    assert max(map(len, lines)) <= LINE_BYTES
    reader = judge.decode()
    next(reader)
    for line in lines[:-1]:
        reader.send(line)
    with pytest.raises(StopIteration) as done:
        reader.send(lines[-1])
    assert done.value.value == frame


@settings(deadline=None)
@given(FRAMES, st.integers(8, LINE_BYTES))
def test_what_the_judge_writes_is_read_whatever_the_length_of_its_lines(frame: bytes, line_length: int) -> None:
    assert decoded(b"".join(judge.encode(frame, line_length))) == [frame]


@settings(deadline=None)
@given(st.lists(FRAMES, max_size=4), st.lists(st.integers(1, 200), max_size=20))
def test_a_stream_may_be_cut_anywhere(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(encode, frames))
    decoder, found, at = Decoder(LIMIT), list[bytes](), 0
    for size in itertools.chain(cuts, itertools.repeat(len(stream) + 1)):
        found += decoder.feed(stream[at : at + size])
        at += size
        if at >= len(stream):
            break
    assert found == frames


@settings(deadline=None)
@given(st.lists(st.tuples(NOISE, FRAMES), max_size=4), NOISE)
def test_noise_between_frames_is_passed_over(parts: list[tuple[bytes, bytes]], last: bytes) -> None:
    stream = b"".join(noise + encode(frame) for noise, frame in parts) + last
    assert decoded(stream) == [frame for _, frame in parts]


@settings(deadline=None)
@given(FRAMES, NOISE)
def test_noise_between_the_lines_of_a_frame_is_passed_over(frame: bytes, noise: bytes) -> None:
    assert decoded(noise.join(encode(frame).splitlines(keepends=True))) == [frame]


@settings(deadline=None)
@given(st.binary(max_size=600), FRAMES)
def test_after_any_bytes_and_a_newline_the_next_frame_is_read(garbage: bytes, frame: bytes) -> None:
    assert decoded(garbage + b"\n" + encode(frame))[-1] == frame


@settings(deadline=None)
@given(FRAMES, FRAMES, st.data())
def test_a_frame_that_breaks_off_does_not_take_the_next_one_along(
    torn: bytes, frame: bytes, data: st.DataObject
) -> None:
    lines = encode(torn)
    at = data.draw(st.integers(0, len(lines) - 2))
    assert decoded(lines[:at] + encode(frame)) == [frame]


@settings(deadline=None)
@given(FRAMES, st.data())
def test_a_flipped_bit_is_found(frame: bytes, data: st.DataObject) -> None:
    lines = bytearray(encode(frame))
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at] ^= 1 << data.draw(st.integers(0, 7))
    assert frame not in decoded(bytes(lines)) or bytes(lines) == encode(frame)
    assert not [found for found in decoded(bytes(lines)) if found != frame]


@settings(deadline=None)
@given(st.integers(LIMIT + 1, 2000))
def test_a_frame_that_is_longer_than_the_buffer_is_passed_over(size: int) -> None:
    decoder = Decoder(LIMIT)
    assert decoder.feed(encode(bytes(size))) == []
    assert decoder.feed(encode(b"after")) == [b"after"]


def test_a_missing_line_loses_the_frame_and_no_other() -> None:
    first, second, third = encode(bytes(200)).splitlines(keepends=True)
    assert decoded(first + third + encode(b"after")) == [b"after"]
    assert decoded(second + third + encode(b"after")) == [b"after"]


def test_a_line_without_an_end_takes_no_more_memory_than_a_line() -> None:
    decoder = Decoder(LIMIT)
    decoder.feed(b"\x06\x09" + b"A" * 100_000)
    assert decoder._line is None
    assert decoder.feed(b"\n" + encode(b"after")) == [b"after"]


def test_signs_that_are_not_base64_spoil_the_line() -> None:
    line = encode(b"frame")
    assert decoded(line[:4] + b"*" + line[4:]) == []
    assert decoded(line[:4] + b" " + line[4:]) == []
