# SPDX-License-Identifier: Apache-2.0
"""
Two SMP clients that know nothing of ours, against the board's own process: smpclient and mcumgr-toolkit (Rust).

Both look at the board with the commands that every board has and read from its chip; smpclient drives the whole group
by its documented maps.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import mcumgr_toolkit
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import load_der_x509_certificate
from smp import error as smp_error
from smp import message as smp_message
from smpclient import SMPClient
from smpclient.generics import success
from smpclient.requests.os_management import EchoWrite
from smpclient.transport.serial import SMPSerialTransport
from smpclient.transport.udp import SMPUDPTransport

from birthmark_mcu.smp import registry as numbers
from support.chips import CHIP_SERIAL, simulated_chip
from support.smp_boards import smp_board

Fields = dict[str, Any]
# Sends one command of our group: operation, number, map; returns the answer's map.
Ask = Callable[[int, int, Fields], Fields]
DIGEST = hashlib.sha256(b"something to sign").digest()
CERTIFICATE = bytes(range(256)) * 4


class _Code(IntEnum):
    """Errors of our group that smpclient is to know; the second is a status word of the chip."""

    NO_RESULT = numbers.NO_RESULT
    NOT_FOUND = 0x6A88


class _OurErrorV1(smp_error.ErrorV1):
    _GROUP_ID = numbers.GROUP


class _OurErrorV2(smp_error.ErrorV2[_Code]):
    _GROUP_ID = numbers.GROUP


class GroupFailed(Exception):
    """What the judge says when the board answers with an error of the group."""


def _loose(base: type, command: int) -> Any:
    """Return a message class of smpclient for a command of ours, with any fields."""
    config = {**smp_message.Request.model_config, "extra": "allow"}
    space = {"_GROUP_ID": numbers.GROUP, "_COMMAND_ID": command, "model_config": config, "__module__": __name__}
    return type("Ours", (base,), space)


class _SMPClientJudge:
    """smpclient's own client, connected."""

    def __init__(self, address: str, runner: asyncio.Runner) -> None:
        kind, _, where = address.removeprefix("smp:").partition("=")
        self._run = runner.run
        if kind == "serial":
            self.client = SMPClient(SMPSerialTransport(), where)
        else:
            host, _, port = where.rpartition(":")
            self.client = SMPClient(_ToPort(int(port)), host)
        self._run(self.client.connect())

    def echo(self, text: str) -> str:
        answer = self._run(self.client.request(EchoWrite(d=text)))
        assert success(answer)
        return answer.r

    def buffer_bytes(self) -> int:
        size = self.client._transport._smp_server_transport_buffer_size
        assert size is not None
        return size

    def ask(self, operation: int, command: int, fields: Fields) -> Fields:
        kind = "Write" if operation == numbers.WRITE else "Read"
        request = _loose(getattr(smp_message, f"{kind}Request"), command)
        request._Response = _loose(getattr(smp_message, f"{kind}Response"), command)
        request._ErrorV1, request._ErrorV2 = _OurErrorV1, _OurErrorV2
        answer = self._run(self.client.request(request(**fields)))
        found = dict(answer.model_extra)
        if "err" in found:  # a response with any fields is also the one that has this one
            raise GroupFailed(str(_OurErrorV2.loads(answer.BYTES).err.rc.value))
        return found

    def close(self) -> None:
        self._run(self.client.disconnect())


class _ToPort(SMPUDPTransport):
    """smpclient names the port at `connect` of its transport, which its client does not pass on."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def connect(self, address: str, timeout_s: float, port: int = 0) -> None:
        await super().connect(address, timeout_s, port or self._port)


class _ToolkitJudge:
    """mcumgr-toolkit's client. It sends no byte strings, and keys in no order: it asks with maps of one key."""

    def __init__(self, address: str) -> None:
        kind, _, where = address.removeprefix("smp:").partition("=")
        if kind == "serial":
            self.client = mcumgr_toolkit.MCUmgrClient.serial(where, timeout_ms=5000)
        else:
            host, _, port = where.rpartition(":")
            self.client = mcumgr_toolkit.MCUmgrClient.udp(host, int(port), timeout_ms=5000)
        self.client.set_retries(0)
        self.client.check_connection()
        self.client.use_auto_frame_size()

    def echo(self, text: str) -> str:
        return self.client.os_echo(text)

    def buffer_bytes(self) -> int:
        return self.client.os_mcumgr_parameters().buf_size

    def ask(self, operation: int, command: int, fields: Fields) -> Fields:
        try:
            return dict(self.client.raw_command(operation == numbers.WRITE, numbers.GROUP, command, fields))
        except RuntimeError as error:
            raise GroupFailed(str(error)) from error

    def close(self) -> None:
        del self.client


Judge = _SMPClientJudge | _ToolkitJudge


@contextmanager
def _judging(name: str, address: str) -> Iterator[Judge]:
    with asyncio.Runner() as runner:
        judge: Judge = _SMPClientJudge(address, runner) if name == "smpclient" else _ToolkitJudge(address)
        try:
            yield judge
        finally:
            judge.close()


@pytest.fixture(params=["serial", "udp"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with simulated_chip() as chip, smp_board(chip.socket, carrier=request.param) as board:
        yield board.address


@pytest.fixture(params=["smpclient", "mcumgr-toolkit"])
def judge(request: pytest.FixtureRequest, address: str) -> Iterator[Judge]:
    with _judging(request.param, address) as judge:
        yield judge


@pytest.fixture
def smpclient(address: str) -> Iterator[_SMPClientJudge]:
    with asyncio.Runner() as runner:
        judge = _SMPClientJudge(address, runner)
        yield judge
        judge.close()


def test_the_board_is_there_and_says_how_large_its_buffer_is(judge: Judge) -> None:
    assert judge.echo("Is there anybody? Ist da wer? \u00dc") == "Is there anybody? Ist da wer? \u00dc"
    assert judge.echo("x" * 300) == "x" * 300
    assert judge.buffer_bytes() == numbers.FRAME_BYTES


def whole(ask: Ask, answer: Fields) -> bytes:
    data = bytes(answer["data"])
    while len(data) < answer["size"]:
        data += bytes(ask(numbers.READ, numbers.RESULT, {"off": len(data)})["data"])
    assert hashlib.sha256(data).digest() == bytes(answer["sha"])
    return data


def test_a_chip_is_read_by_the_documented_maps_alone(judge: Judge) -> None:
    ask = judge.ask
    assert ask(numbers.READ, numbers.INFO, {}) == {"v": 1, "frame": 384, "stage": 16384}
    revision = ask(numbers.WRITE, numbers.OPEN, {"v": 1})["rev"]
    assert ask(numbers.READ, numbers.STATE, {}) == {"rev": revision, "active": 0, "slots": [0, 0]}
    identity = ask(numbers.READ, numbers.IDENTITY, {})
    assert identity["serial"] == CHIP_SERIAL
    certificates = whole(ask, identity)
    assert len(certificates) > len(identity["data"])
    load_der_x509_certificate(certificates[: identity["certs"][0]])


def test_a_chip_is_personalised_by_the_documented_maps_alone(smpclient: _SMPClientJudge) -> None:
    ask = smpclient.ask
    revision = ask(numbers.WRITE, numbers.OPEN, {"v": 1})["rev"]
    made = ask(numbers.WRITE, numbers.GENERATE, {"rev": revision, "slot": 0, "alg": 0})
    key = load_der_public_key(whole(ask, made))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    evidence = ask(numbers.WRITE, numbers.ATTEST, {"slot": 0, "nonce": DIGEST})
    assert DIGEST in whole(ask, evidence)
    at = 0
    while at < len(CERTIFICATE):
        part = {"off": at, "size": len(CERTIFICATE), "data": CERTIFICATE[at : at + 300]}
        at = ask(numbers.WRITE, numbers.STAGE, part)["off"]
    sha = hashlib.sha256(CERTIFICATE).digest()
    revision = ask(numbers.WRITE, numbers.CERTIFICATE, {"rev": made["rev"], "slot": 0, "sha": sha})["rev"]
    assert whole(ask, ask(numbers.READ, numbers.CERTIFICATE, {"slot": 0})) == CERTIFICATE
    signature = whole(ask, ask(numbers.WRITE, numbers.SIGN, {"slot": 0, "data": DIGEST}))
    key.verify(signature, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))
    assert ask(numbers.READ, numbers.STATE, {}) == {"rev": revision, "active": 0, "slots": [2, 0]}


def test_errors_of_the_group_are_errors_to_the_client(judge: Judge) -> None:
    judge.ask(numbers.WRITE, numbers.OPEN, {"v": 1})
    with pytest.raises(GroupFailed, match=r"\b6\b"):
        judge.ask(numbers.READ, numbers.RESULT, {"off": 0})
    with pytest.raises(GroupFailed, match=str(0x6A88)):
        judge.ask(numbers.READ, numbers.PUBLIC_KEY, {"slot": 1})
