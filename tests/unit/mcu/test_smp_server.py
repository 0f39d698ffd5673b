# SPDX-License-Identifier: Apache-2.0
"""The board's server: what it answers, what it refuses, and that no bytes bring it down."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.silicon.simulator.armed import Fault
from birthmark_mcu.chip import GENERATE, SecureElement
from birthmark_mcu.errors import NoChip
from birthmark_mcu.smp import registry as smp
from birthmark_mcu.smp.board import ChipGroup, ChipSource
from birthmark_mcu.smp.console import Decoder, encode
from birthmark_mcu.smp.serve import Stream, serve
from birthmark_mcu.smp.server import OSGroup, Server
from support.smp_local import LocalChip

BEGIN = 0xFFFF_FFFE
NONCE = bytes(range(32))
Fields = dict[str, object]


def a_server(source: ChipSource, frame_bytes: int = smp.FRAME_BYTES, stage_bytes: int = smp.STAGE_BYTES) -> Server:
    chip = ChipGroup(source, BEGIN, frame_bytes, stage_bytes)
    return Server(frame_bytes, {smp.GROUP_OS: OSGroup(frame_bytes), smp.GROUP: chip})


class Rig:
    """Asks a server by hand, with cbor2 for the maps."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sequence = 0

    def frame(self, operation: int, command: int, fields: Fields | bytes, group: int = smp.GROUP) -> bytes:
        self.sequence = (self.sequence + 1) % 256
        payload = fields if isinstance(fields, bytes) else cbor2.dumps(fields, canonical=True)
        head = bytes((smp.VERSION_2 << 3 | operation, 0)) + len(payload).to_bytes(2, "big") + group.to_bytes(2, "big")
        return head + bytes((self.sequence, command)) + payload

    def ask(self, operation: int, command: int, fields: Fields | bytes, group: int = smp.GROUP) -> Fields:
        frame = self.frame(operation, command, fields, group)
        answer = self.server.answer(frame)
        assert answer[:2] == bytes((frame[0] + 1, 0))
        assert answer[4:8] == frame[4:8]
        assert int.from_bytes(answer[2:4], "big") == len(answer) - 8
        found: Fields = cbor2.loads(answer[8:])
        return found

    def whole(self, answer: Fields) -> bytes:
        """Return the value that an answer begins."""
        data = answer["data"]
        assert isinstance(data, bytes)
        while len(data) < answer["size"]:  # type: ignore[operator] # a number
            data += self.ask(smp.READ, smp.RESULT, {"off": len(data)})["data"]  # type: ignore[operator] # bytes
        assert hashlib.sha256(data).digest() == answer["sha"]
        return data

    def open(self) -> object:
        """Begin a conversation; return the revision."""
        return self.ask(smp.WRITE, smp.OPEN, {"v": 1})["rev"]

    def stage(self, whole: bytes, part_bytes: int = 300) -> bytes:
        for at in range(0, len(whole), part_bytes):
            part = whole[at : at + part_bytes]
            answer = self.ask(smp.WRITE, smp.STAGE, {"off": at, "size": len(whole), "data": part})
            assert answer == {"off": at + len(part)}
        return hashlib.sha256(whole).digest()


@pytest.fixture
def chip(tmp_path: Path) -> LocalChip:
    return LocalChip(tmp_path)


@pytest.fixture
def rig(chip: LocalChip) -> Rig:
    return Rig(a_server(chip))


def group_error(code: int) -> Fields:
    return {"err": {"group": smp.GROUP, "rc": code}}


def test_a_board_that_is_not_opened_answers_for_itself_alone(rig: Rig) -> None:
    assert rig.ask(smp.READ, smp.INFO, {}) == {"v": 1, "frame": 384, "stage": 16384}
    assert rig.ask(smp.WRITE, smp.OS_ECHO, {"d": "here"}, smp.GROUP_OS) == {"r": "here"}
    assert rig.ask(smp.READ, smp.OS_PARAMETERS, b"", smp.GROUP_OS) == {"buf_size": 384, "buf_count": 1}
    for command in (smp.IDENTITY, smp.STATE):
        assert rig.ask(smp.READ, command, {}) == {"rc": smp.BAD_STATE}
    assert rig.ask(smp.WRITE, smp.ERASE, {"rev": BEGIN, "slot": 0}) == {"rc": smp.BAD_STATE}


def test_the_revision_counts_openings_and_changes_around_its_end(rig: Rig) -> None:
    assert rig.open() == 0xFFFF_FFFF
    assert rig.ask(smp.WRITE, smp.GENERATE, {"rev": 0xFFFF_FFFF, "slot": 0, "alg": 0})["rev"] == 0
    assert rig.ask(smp.READ, smp.STATE, {}) == {"rev": 0, "active": 0, "slots": [1, 0]}
    assert rig.open() == 1


CHANGES: dict[str, tuple[int, Fields]] = {
    "generate": (smp.GENERATE, {"slot": 1, "alg": 0}),
    "certificate": (smp.CERTIFICATE, {"slot": 0, "sha": hashlib.sha256(b"").digest()}),
    "activate": (smp.ACTIVATE, {"slot": 0}),
    "erase": (smp.ERASE, {"slot": 0}),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_change_under_another_revision_does_nothing(rig: Rig, change: str) -> None:
    command, fields = CHANGES[change]
    revision = rig.open()
    revision = rig.ask(smp.WRITE, smp.GENERATE, {"rev": revision, "slot": 0, "alg": 0})["rev"]
    before = rig.ask(smp.READ, smp.STATE, {})
    assert isinstance(revision, int)
    for other in ((revision - 1) % 2**32, revision + 1, 2**32 + revision):
        assert rig.ask(smp.WRITE, command, {"rev": other, **fields}) == group_error(smp.STALE)
    assert rig.ask(smp.READ, smp.STATE, {}) == before


def test_a_frame_that_comes_twice_or_late_makes_no_second_key(rig: Rig) -> None:
    frame = rig.frame(smp.WRITE, smp.GENERATE, {"rev": rig.open(), "slot": 0, "alg": 0})
    first = cbor2.loads(rig.server.answer(frame)[8:])
    assert cbor2.loads(rig.server.answer(frame)[8:]) == group_error(smp.STALE)
    rig.open()
    assert cbor2.loads(rig.server.answer(frame)[8:]) == group_error(smp.STALE)
    assert rig.ask(smp.READ, smp.PUBLIC_KEY, {"slot": 0})["data"] == first["data"]


def test_a_change_that_failed_has_used_its_revision_up(rig: Rig) -> None:
    revision = rig.open()
    assert rig.ask(smp.WRITE, smp.ACTIVATE, {"rev": revision, "slot": 0}) == group_error(0x6985)
    assert rig.ask(smp.WRITE, smp.ERASE, {"rev": revision, "slot": 0}) == group_error(smp.STALE)


def test_the_identity_is_read_in_parts(chip: LocalChip) -> None:
    small = Rig(a_server(chip, smp.FRAME_BYTES_MIN))
    small.open()
    answer = small.ask(smp.READ, smp.IDENTITY, {})
    whole = small.whole(answer)
    assert [answer["model"], answer["serial"]] == ["optiga-trust-m", "0A1B2C3D4E5F"]
    assert answer["certs"] == [len(whole)]


def test_a_certificate_is_written_whole_or_not_at_all(rig: Rig) -> None:
    revision = rig.open()
    revision = rig.ask(smp.WRITE, smp.GENERATE, {"rev": revision, "slot": 0, "alg": 0})["rev"]
    der = b"certificate" * 100
    sha = rig.stage(der)
    assert rig.ask(smp.WRITE, smp.STAGE, {"off": 0, "size": len(der), "data": der[:300]}) == {"off": 300}
    assert rig.ask(smp.WRITE, smp.CERTIFICATE, {"rev": revision, "slot": 0, "sha": sha}) == group_error(smp.NOT_STAGED)
    assert rig.ask(smp.READ, smp.CERTIFICATE, {"slot": 0})["size"] == 0
    rig.stage(der)
    revision = rig.ask(smp.WRITE, smp.CERTIFICATE, {"rev": revision, "slot": 0, "sha": sha})["rev"]
    assert rig.whole(rig.ask(smp.READ, smp.CERTIFICATE, {"slot": 0})) == der
    # What was staged is used up.
    assert rig.ask(smp.WRITE, smp.CERTIFICATE, {"rev": revision, "slot": 0, "sha": sha}) == group_error(smp.NOT_STAGED)


@pytest.mark.parametrize(("at", "size"), [(299, 600), (301, 600), (300, 599), (300, 310)])
def test_a_part_out_of_turn_is_not_taken(rig: Rig, at: int, size: int) -> None:
    rig.open()
    rig.ask(smp.WRITE, smp.STAGE, {"off": 0, "size": 600, "data": bytes(300)})
    assert rig.ask(smp.WRITE, smp.STAGE, {"off": at, "size": size, "data": bytes(20)}) == {"off": 300}


def test_more_than_the_board_has_room_for_is_refused_at_the_first_part(chip: LocalChip) -> None:
    rig = Rig(a_server(chip, stage_bytes=1000))
    rig.open()
    assert rig.ask(smp.WRITE, smp.STAGE, {"off": 0, "size": 1001, "data": b""}) == group_error(smp.TOO_LONG)


def test_long_data_is_signed_when_it_was_staged(rig: Rig) -> None:
    rig.ask(smp.WRITE, smp.GENERATE, {"rev": rig.open(), "slot": 0, "alg": 0})
    sha = rig.stage(NONCE)
    signature = rig.ask(smp.WRITE, smp.SIGN_STAGED, {"slot": 0, "sha": sha})["data"]
    direct = rig.ask(smp.WRITE, smp.SIGN, {"slot": 0, "data": NONCE})["data"]
    assert [signature[:1], direct[:1]] == [b"\x30", b"\x30"]  # type: ignore[index] # DER


def test_a_result_ends_where_it_ends(rig: Rig) -> None:
    rig.open()
    assert rig.ask(smp.READ, smp.RESULT, {"off": 0}) == group_error(smp.NO_RESULT)
    size = rig.ask(smp.READ, smp.IDENTITY, {})["size"]
    assert rig.ask(smp.READ, smp.RESULT, {"off": size}) == group_error(smp.NO_RESULT)
    rig.open()
    assert rig.ask(smp.READ, smp.RESULT, {"off": 0}) == group_error(smp.NO_RESULT)


class _NoChip(ChipSource):
    def connect(self) -> SecureElement:
        raise NoChip("pulled out")


def test_a_board_without_a_chip_says_so() -> None:
    rig = Rig(a_server(_NoChip()))
    assert rig.ask(smp.WRITE, smp.OPEN, {"v": 1}) == group_error(smp.ABSENT)
    assert rig.ask(smp.READ, smp.STATE, {}) == {"rc": smp.BAD_STATE}


def test_a_chip_that_loses_its_power_is_a_failed_link_until_the_next_open(rig: Rig, chip: LocalChip) -> None:
    revision = rig.open()
    chip.bus.faults.take_message(bytes((Fault.CUT_AFTER_COMMAND, 0, 1, 0, 0, GENERATE)))
    answer = rig.ask(smp.WRITE, smp.GENERATE, {"rev": revision, "slot": 0, "alg": 0})
    assert answer == group_error(smp.LINK_FAILED)
    assert rig.ask(smp.READ, smp.STATE, {}) == group_error(smp.ABSENT)
    rig.open()
    assert rig.ask(smp.READ, smp.STATE, {})["slots"] == [1, 0]


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_of_the_link_is_refused(rig: Rig, version: int) -> None:
    assert rig.ask(smp.WRITE, smp.OPEN, {"v": version}) == group_error(smp.WRONG_VERSION)


REFUSED: dict[str, tuple[int, int, Fields | bytes, int, Fields]] = {
    "another group": (smp.READ, 0, {}, 99, {"rc": smp.NOT_SUPPORTED}),
    "another command": (smp.READ, 99, {}, smp.GROUP, {"rc": smp.NOT_SUPPORTED}),
    "the wrong operation": (smp.WRITE, smp.STATE, {}, smp.GROUP, {"rc": smp.NOT_SUPPORTED}),
    "another command of the system": (smp.WRITE, 5, {}, smp.GROUP_OS, {"rc": smp.NOT_SUPPORTED}),
    "a missing key": (smp.WRITE, smp.GENERATE, {"slot": 0, "alg": 0}, smp.GROUP, {"rc": smp.INVALID}),
    "one key too many": (smp.READ, smp.STATE, {"slot": 0}, smp.GROUP, {"rc": smp.INVALID}),
    "a value of another type": (smp.READ, smp.PUBLIC_KEY, {"slot": b"0"}, smp.GROUP, {"rc": smp.INVALID}),
    "octets that are text": (smp.WRITE, smp.SIGN, {"slot": 0, "data": "d"}, smp.GROUP, {"rc": smp.INVALID}),
    "a slot that is not there": (smp.READ, smp.PUBLIC_KEY, {"slot": 2}, smp.GROUP, group_error(0x6A86)),
    "an unknown algorithm": (smp.WRITE, smp.GENERATE, {"rev": 0, "slot": 0, "alg": 6}, smp.GROUP, group_error(0x6A86)),
    "a list": (smp.READ, smp.STATE, b"\x80", smp.GROUP, {"rc": smp.INVALID}),
    "CBOR in another form": (smp.READ, smp.STATE, b"\xbf\xff", smp.GROUP, {"rc": smp.INVALID}),
    "an echo without text": (smp.WRITE, smp.OS_ECHO, {"d": 1}, smp.GROUP_OS, {"rc": smp.INVALID}),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_what_the_group_does_not_have_is_refused(rig: Rig, what: str) -> None:
    operation, command, fields, group, answer = REFUSED[what]
    rig.open()
    assert rig.ask(operation, command, fields, group) == answer


def test_an_answer_that_does_not_fit_is_an_error_that_does(chip: LocalChip) -> None:
    rig = Rig(a_server(chip, smp.FRAME_BYTES_MIN))
    fits = rig.frame(smp.WRITE, smp.OS_ECHO, {"d": "x" * 146}, smp.GROUP_OS)
    assert len(fits) == smp.FRAME_BYTES_MIN - 1
    assert len(rig.server.answer(fits)) == smp.FRAME_BYTES_MIN - 1
    assert rig.server.answer(rig.frame(smp.WRITE, smp.OS_ECHO, {"d": "x" * 200}, smp.GROUP_OS)) == b""


def test_the_older_version_of_smp_gets_its_own_errors(rig: Rig) -> None:
    frame = bytearray(rig.frame(smp.READ, smp.RESULT, {"off": 0}))
    rig.open()
    frame[0] &= 0x07
    answer = rig.server.answer(bytes(frame))
    assert answer[0] == smp.READ + 1
    assert cbor2.loads(answer[8:]) == {"rc": smp.UNKNOWN}


def test_a_later_version_of_smp_is_refused(rig: Rig) -> None:
    frame = bytearray(rig.frame(smp.READ, smp.INFO, {}))
    frame[0] = 2 << smp.VERSION_SHIFT
    assert cbor2.loads(rig.server.answer(bytes(frame))[8:]) == {"rc": smp.TOO_NEW}


NO_REQUESTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "a header cut short": lambda frame: frame[:7],
    "a frame cut short": lambda frame: frame[:-1],
    "a frame with more behind": lambda frame: frame + b"\x00",
    "an answer": lambda frame: bytes((frame[0] + 1,)) + frame[1:],
    "reserved bits": lambda frame: bytes((frame[0] | 0x20,)) + frame[1:],
    "flags": lambda frame: frame[:1] + b"\x01" + frame[2:],
}


@pytest.mark.parametrize("what", sorted(NO_REQUESTS))
def test_what_is_no_request_is_not_answered(rig: Rig, what: str) -> None:
    frame = rig.frame(smp.WRITE, smp.OPEN, {"v": 1})
    assert rig.server.answer(frame)
    assert rig.server.answer(NO_REQUESTS[what](frame)) == b""


@pytest.mark.parametrize("frame_bytes", [0, smp.FRAME_BYTES_MIN - 1, smp.FRAME_BYTES_MAX + 1])
def test_a_frame_size_out_of_range_is_no_server(frame_bytes: int) -> None:
    with pytest.raises(ValueError, match="frame size"):
        Server(frame_bytes, {})


VALUES = st.integers(0, 2**33) | st.binary(max_size=80) | st.text(max_size=5) | st.just([])
MAPS = st.dictionaries(
    st.sampled_from(["v", "rev", "slot", "alg", "nonce", "data", "sha", "off", "size", "d", "x"]), VALUES, max_size=4
)
REQUESTS = st.tuples(st.sampled_from([smp.READ, smp.WRITE]), st.integers(0, 15), MAPS, st.sampled_from([smp.GROUP, 0]))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return a_server(LocalChip(tmp_path_factory.mktemp("chip")))


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_no_bytes_bring_the_server_down(shared: Server, frame: bytes) -> None:
    assert len(shared.answer(frame)) <= smp.FRAME_BYTES


@settings(deadline=None)
@given(st.lists(REQUESTS, max_size=8))
def test_no_requests_bring_the_server_down(shared: Server, requests: list[tuple[int, int, Fields, int]]) -> None:
    rig = Rig(shared)
    rig.open()
    for request in requests:
        frame = rig.frame(*request)
        answer = shared.answer(frame)
        assert 8 < len(answer) <= smp.FRAME_BYTES
        assert answer[4:8] == frame[4:8]
        assert isinstance(cbor2.loads(answer[8:]), dict)


class _Line(Stream):
    """A serial line that gives what it has in small pieces, sometimes nothing, and takes little at a time."""

    def __init__(self, sent: bytes) -> None:
        self.sent = sent
        self.written = b""
        self._pauses = True

    def read(self, count: int) -> bytes | None:
        self._pauses = not self._pauses
        if not self._pauses and self.sent:
            return None
        taken, self.sent = self.sent[: min(count, 7)], self.sent[min(count, 7) :]
        return taken

    def write(self, data: bytes) -> int | None:
        self.written += data[:5]
        return len(data[:5])


def test_the_loop_answers_on_a_line_what_is_asked_on_it(rig: Rig) -> None:
    frames = [rig.frame(smp.READ, smp.INFO, {}), rig.frame(smp.WRITE, smp.OPEN, {"v": 1}), b"no request at all"]
    line = _Line(b"boot: ok\n" + b"".join(map(encode, frames)) + b"\x06\x09cut")
    serve(line, rig.server, smp.FRAME_BYTES)
    answers = Decoder(smp.FRAME_BYTES).feed(line.written)
    assert [answer[6] for answer in answers] == [1, 2]
    assert cbor2.loads(answers[0][8:])["frame"] == smp.FRAME_BYTES
