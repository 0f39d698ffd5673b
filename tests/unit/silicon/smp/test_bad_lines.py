# SPDX-License-Identifier: Apache-2.0
"""Lines that lose, repeat and damage frames, boards that are reset: a ChipError, and nothing is ever done twice."""

import os
import pty
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cbor2
import pytest

from birthmark.silicon.address import open_chip
from birthmark.silicon.errors import ChipAbsent, ChipCommunication, ChipRefused
from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT, Algorithm, SecureElement, SlotState
from birthmark.silicon.simulator.board import board_server
from birthmark.silicon.smp import conversation
from birthmark_mcu.smp import registry as smp
from birthmark_mcu.smp.console import Decoder, encode
from support.smp_local import BadLine, LocalChip, bad_network, bad_serial_line, lose, repeat, reset

CERTIFICATE = bytes(range(256)) * 5
LINES = {"serial": bad_serial_line, "udp": bad_network}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested are the ends of the waits, not their length."""
    monkeypatch.setattr(conversation, "CHIP_S", 0.4)
    monkeypatch.setattr(conversation, "BOARD_S", 0.4)
    monkeypatch.setattr(conversation, "OPEN_TRY_S", 0.4)


@pytest.fixture
def chip(tmp_path: Path) -> LocalChip:
    return LocalChip(tmp_path)


@pytest.fixture(params=sorted(LINES))
def line(request: pytest.FixtureRequest, chip: LocalChip) -> Iterator[BadLine]:
    with LINES[request.param](board_server(chip, smp.FRAME_BYTES)) as line:
        yield line


@contextmanager
def opened(line: BadLine) -> Iterator[SecureElement]:
    element = open_chip(line.address)
    try:
        yield element
    finally:
        element.close()


def longer(answer: bytes) -> list[bytes]:
    """Return a frame of SMP that is as long as its length says, and longer than was agreed."""
    return [answer[:2] + (1000).to_bytes(2, "big") + answer[4:8] + bytes(1000)]


def on_wire(mangle: Callable[[bytes], list[bytes]], line: BadLine) -> Callable[[bytes], list[bytes]]:
    """Apply a change of the frame itself, however it travels."""
    if line.address.startswith("smp:udp"):
        return mangle
    return lambda sent: [encode(one) for frame in Decoder(2000).feed(sent) for one in mangle(frame)]


def changed(at: int) -> Callable[[bytes], list[bytes]]:
    return lambda frame: [frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :]]


ANSWERS: dict[str, Callable[[bytes], list[bytes]]] = {
    "lost": lose,
    "of another sequence number": changed(6),
    "of another command": changed(7),
    "of another group": changed(5),
    "with a damaged payload": changed(8),
    "cut short": lambda frame: [frame[:-1]],
    "longer than agreed": longer,
    "with another behind it": lambda frame: [frame + frame],
    "of a header's half": lambda frame: [frame[:3]],
}


@pytest.mark.parametrize("what", ANSWERS)
def test_a_key_whose_answer_is_spoilt_is_made_once_and_found(line: BadLine, what: str) -> None:
    with opened(line) as element:
        line.on_answers[smp.GENERATE] = on_wire(ANSWERS[what], line)
        with pytest.raises(ChipCommunication):
            element.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        assert line.asked.count(smp.GENERATE) == 1
        assert element.state(SLOT_IDENTITY) is SlotState.KEYED
        made = element.public_key(SLOT_IDENTITY)
        assert element.public_key(SLOT_IDENTITY) == made
    assert line.asked.count(smp.GENERATE) == 1


@pytest.mark.parametrize("command", [smp.GENERATE, smp.STATE, smp.IDENTITY, smp.ATTEST])
def test_a_request_that_is_lost_is_not_sent_again(line: BadLine, command: int) -> None:
    calls: dict[int, Callable[[SecureElement], object]] = {
        smp.GENERATE: lambda element: element.generate_keypair(SLOT_IDENTITY, Algorithm.P256),
        smp.STATE: lambda element: element.state(SLOT_IDENTITY),
        smp.IDENTITY: lambda element: element.identity(),
        smp.ATTEST: lambda element: element.attest(SLOT_IDENTITY, bytes(32)),
    }
    with opened(line) as element:
        line.on_requests[command] = lose
        with pytest.raises(ChipCommunication):
            calls[command](element)
        assert command not in line.asked
        assert element.state(SLOT_IDENTITY) is SlotState.EMPTY


def test_a_request_that_comes_twice_makes_one_key(line: BadLine) -> None:
    with opened(line) as element:
        line.on_requests[smp.GENERATE] = repeat
        made = element.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        # The answer to the second one, a refusal, is in the way of the next call.
        with pytest.raises(ChipCommunication, match="answered another request"):
            element.public_key(SLOT_IDENTITY)
        assert element.public_key(SLOT_IDENTITY) == made
    assert line.asked.count(smp.GENERATE) == 2


def test_an_answer_that_comes_twice_is_not_taken_for_the_next_one(line: BadLine) -> None:
    with opened(line) as element:
        line.on_answers[smp.STATE] = repeat
        assert element.state(SLOT_IDENTITY) is SlotState.EMPTY
        with pytest.raises(ChipCommunication, match="answered another request"):
            element.state(SLOT_IDENTITY)
        assert element.state(SLOT_IDENTITY) is SlotState.EMPTY


def test_a_request_that_is_held_back_until_the_rig_looks_again_does_nothing(line: BadLine) -> None:
    held: list[bytes] = []

    def hold(sent: bytes) -> list[bytes]:
        held.append(sent)
        return []

    with opened(line) as element:
        line.on_requests[smp.GENERATE] = hold
        with pytest.raises(ChipCommunication):
            element.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        assert element.state(SLOT_IDENTITY) is SlotState.EMPTY
        line.server.answer(held[0])
        assert element.state(SLOT_IDENTITY) is SlotState.EMPTY
        element.generate_keypair(SLOT_IDENTITY, Algorithm.P256)


@pytest.mark.parametrize("command", [smp.GENERATE, smp.STAGE, smp.CERTIFICATE, smp.RESULT, smp.SIGN])
def test_a_board_that_is_reset_in_the_middle_is_a_communication_error(
    line: BadLine, chip: LocalChip, command: int
) -> None:
    def identify(element: SecureElement) -> None:
        element.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        element.import_certificate(SLOT_IDENTITY, CERTIFICATE)
        assert element.get_certificate(SLOT_IDENTITY) == CERTIFICATE
        element.sign(SLOT_IDENTITY, bytes(32))

    with opened(line) as element:
        line.on_requests[command] = reset(line, chip)
        with pytest.raises(ChipCommunication):
            identify(element)
        done = [SlotState.EMPTY, SlotState.KEYED, SlotState.CERTIFIED]
        expected = {smp.GENERATE: done[0], smp.STAGE: done[1], smp.CERTIFICATE: done[1]}.get(command, done[2])
        assert element.state(SLOT_IDENTITY) is expected


NEXT_CALLS: dict[str, Callable[[SecureElement], object]] = {
    "look": lambda element: element.state(SLOT_IDENTITY),
    "change": lambda element: element.erase(SLOT_IDENTITY),
}


@pytest.mark.parametrize("call", sorted(NEXT_CALLS))
def test_a_board_that_was_reset_between_two_calls_is_a_communication_error(
    line: BadLine, chip: LocalChip, call: str
) -> None:
    with opened(line) as element:
        element.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        line.server = board_server(chip, smp.FRAME_BYTES)
        with pytest.raises(ChipCommunication, match="the board was reset"):
            NEXT_CALLS[call](element)
        assert element.state(SLOT_IDENTITY) is SlotState.KEYED


def test_a_second_rig_makes_the_first_one_look_again(line: BadLine) -> None:
    if line.address.startswith("smp:serial"):
        with opened(line), pytest.raises(ChipAbsent, match="in use"):
            open_chip(line.address)
        return
    with opened(line) as first, opened(line) as second:
        second.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        with pytest.raises(ChipCommunication, match="somebody else spoke to it"):
            first.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        assert first.state(SLOT_IDENTITY) is SlotState.KEYED


def test_a_part_that_is_lost_writes_no_certificate(line: BadLine) -> None:
    with opened(line) as element:
        element.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        line.on_answers[smp.STAGE] = lose
        with pytest.raises(ChipCommunication):
            element.import_certificate(SLOT_IDENTITY, CERTIFICATE)
        assert element.state(SLOT_IDENTITY) is SlotState.KEYED
        assert element.get_certificate(SLOT_IDENTITY) is None
        element.import_certificate(SLOT_IDENTITY, CERTIFICATE)
        assert element.get_certificate(SLOT_IDENTITY) == CERTIFICATE


def test_damage_that_every_check_of_the_line_misses_is_found_in_the_whole(line: BadLine) -> None:
    with opened(line) as element:
        element.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        element.import_certificate(SLOT_IDENTITY, CERTIFICATE)
        line.on_answers[smp.RESULT] = on_wire(lambda frame: [frame[:-1] + bytes((frame[-1] ^ 1,))], line)
        with pytest.raises(ChipCommunication, match="do not make up the whole"):
            element.get_certificate(SLOT_IDENTITY)
        line.on_requests[smp.STAGE] = lambda frame: [frame[:-20] + bytes((frame[-20] ^ 1,)) + frame[-19:]]
        with pytest.raises(ChipCommunication, match="did not receive"):
            element.import_certificate(SLOT_IDENTITY, CERTIFICATE[::-1])
        assert element.get_certificate(SLOT_IDENTITY) == CERTIFICATE


def test_a_board_that_answers_late_to_open_is_waited_for(line: BadLine) -> None:
    line.on_requests[smp.OPEN] = lose
    with opened(line) as element:
        assert element.state(SLOT_NEXT) is SlotState.EMPTY


def test_answers_to_an_earlier_conversation_are_passed_over_at_open(line: BadLine) -> None:
    line.on_answers[smp.OPEN] = lambda sent: [on_wire(changed(6), line)(sent)[0], sent]
    with opened(line) as element:
        assert element.state(SLOT_NEXT) is SlotState.EMPTY


def test_what_other_programs_print_on_the_line_is_passed_over(chip: LocalChip) -> None:
    with bad_serial_line(board_server(chip, smp.FRAME_BYTES)) as line:
        line.on_answers[smp.OPEN] = lambda sent: [b"*** Booting ***\r\n\x06\x00\xff", sent, b"I: ready\r\n"]
        line.on_answers[smp.IDENTITY] = lambda sent: [piece + b"W: hot\n" for piece in sent.splitlines(keepends=True)]
        with opened(line) as element:
            assert element.identity().serial == "0A1B2C3D4E5F"


def test_a_damaged_line_is_found_by_its_crc(chip: LocalChip) -> None:
    with bad_serial_line(board_server(chip, smp.FRAME_BYTES)) as line, opened(line) as element:
        line.on_answers[smp.STATE] = lambda sent: [sent[:12] + bytes((sent[12] ^ 1,)) + sent[13:]]
        with pytest.raises(ChipCommunication):
            element.state(SLOT_IDENTITY)
        assert element.state(SLOT_IDENTITY) is SlotState.EMPTY


def test_a_board_with_another_firmware_is_refused() -> None:
    class Foreign:
        def answer(self, frame: bytes) -> bytes:
            return bytes((frame[0] + 1,)) + frame[1:3] + b"\x05" + frame[4:8] + b"\xa1\x62rc\x08"

    with bad_network(Foreign()) as line, pytest.raises(ChipRefused, match="does not know the command"):  # type: ignore[arg-type] # has the call
        open_chip(line.address)


@pytest.mark.parametrize("frame_bytes", [smp.FRAME_BYTES_MIN - 1, smp.FRAME_BYTES_MAX + 1, 0])
def test_a_board_whose_frames_are_out_of_range_is_refused(chip: LocalChip, frame_bytes: int) -> None:
    def boast(frame: bytes) -> list[bytes]:
        payload = cbor2.dumps({**cbor2.loads(frame[8:]), "frame": frame_bytes}, canonical=True)
        return [frame[:2] + len(payload).to_bytes(2, "big") + frame[4:8] + payload]

    with bad_network(board_server(chip, smp.FRAME_BYTES)) as line:
        line.on_answers[smp.OPEN] = boast
        with pytest.raises(ChipRefused, match="out of range"):
            open_chip(line.address)


@contextmanager
def _babbler() -> Iterator[str]:
    """Run a serial line on which somebody never stops to talk."""
    board, rig = pty.openpty()
    tty.setraw(rig)
    ended = threading.Event()

    def talk() -> None:
        while not ended.is_set():
            os.write(board, b"\x06\x09" + b"A" * 1000)

    os.set_blocking(board, True)
    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield f"smp:serial={os.ttyname(rig)}"
    finally:
        ended.set()
        os.close(rig)
        thread.join(1)
        os.close(board)


def test_a_line_that_never_falls_silent_comes_to_an_end() -> None:
    with _babbler() as address, pytest.raises(ChipAbsent, match="too much on the line"):
        open_chip(address)


def test_a_network_that_floods_comes_to_an_end() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        here.settimeout(2)
        ended = threading.Event()

        def talk() -> None:
            _, rig = here.recvfrom(100)
            while not ended.is_set():
                here.sendto(b"\x0b\x00\x00\x00\x42\x4d\xff\x01", rig)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            with pytest.raises(ChipAbsent):
                open_chip(f"smp:udp=127.0.0.1:{here.getsockname()[1]}")
        finally:
            ended.set()
            thread.join()
