# SPDX-License-Identifier: Apache-2.0
"""Attested requests in bulk, and the load generator (load/load.c) that sends each of them once."""

import struct
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from birthmark.core.clock import system_clock
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est import messages
from birthmark.est.messages import NonceRequest
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.forge import ChipMaker, new_key
from birthmark.testing.lab.ceremony import MAKER, offline_authority
from birthmark.testing.lab.record import Lab

RIG = "rig-a"
OK = 200
CONNECTIONS = 64
_SOURCE = Path(__file__).parent / "load" / "load.c"
_LENGTH = struct.Struct(">I")
_MAKER_PROCESSES = 2


class Load(msgspec.Struct, frozen=True):
    """What the load generator reports. `seconds` are of the whole run, the two times of one request."""

    count: int
    failures: int
    resumed: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.count / self.seconds


def build(folder: Path) -> Path:
    """Compile the load generator."""
    program = folder / "load"
    options = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")
    subprocess.run(["gcc", *options, "-o", program, _SOURCE, "-lssl", "-lcrypto"], check=True)  # noqa: S603, S607
    return program


@dataclass(frozen=True, slots=True)
class Client:
    """The rig that asks, over `connections` connections, from the given cores."""

    program: Path
    lab: Lab
    url: str
    order: str
    cores: str
    connections: int = CONNECTIONS

    def enrol(self, requests: Sequence[bytes], *, mode: str) -> Load:
        """Send the PKCS#10 requests, over kept connections (`kept`) or each over a new one (`new`)."""
        bodies = [messages.encode_body(request) for request in requests]
        load, _ = self._run(mode, "simpleenroll", messages.PKCS10_MEDIA_TYPE, bodies)
        return load

    def requests(self, units: Sequence[str]) -> list[bytes]:
        """Return a good first request for each unit: nonces are asked for over the wire, the rest is the forge's."""
        wishes = [messages.encode_nonce_request(NonceRequest(32, PKIX_EVIDENCE, unit)) for unit in units]
        _, answers = self._run("kept", "nonce", messages.NONCE_MEDIA_TYPE, wishes)
        nonces = [messages.decode_nonce_response(answer).nonce for answer in answers]
        shares = [
            (self.lab.path, units[n::_MAKER_PROCESSES], nonces[n::_MAKER_PROCESSES]) for n in range(_MAKER_PROCESSES)
        ]
        with ProcessPoolExecutor(_MAKER_PROCESSES) as pool:
            return [request for share in pool.map(_forged, *zip(*shares, strict=True)) for request in share]

    def _run(self, mode: str, operation: str, media_type: str, bodies: Sequence[bytes]) -> tuple[Load, list[bytes]]:
        sent, got = self.lab.path / "sent", self.lab.path / "got"
        sent.write_bytes(b"".join(_framed(bodies)))
        server = urlsplit(self.url)
        command = [
            *("taskset", "--cpu-list", self.cores, self.program, mode, self.connections, server.hostname, server.port),
            *(self.lab.rig_certificates[RIG], self.lab.rig_keys[RIG], self.lab.trust),
            *(f"{messages.EST_PREFIX}/{self.order}/{operation}", media_type, sent, OK, got),
        ]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)  # noqa: S603
        return msgspec.json.decode(done.stdout, type=Load), list(_unframed(got.read_bytes()))


def _forged(folder: Path, units: Sequence[str], nonces: Sequence[bytes]) -> list[bytes]:
    """Return what an honest rig would send for genuine chips that answer these nonces."""
    made = ChipMaker(MAKER, offline_authority(folder, "maker"), offline_authority(folder, "ak_ca"), system_clock())
    requests = []
    for unit, nonce in zip(units, nonces, strict=True):
        chip, key = made.chip(), new_key()
        bundle = chip.bundle(chip.attest(key.public_key(), nonce))
        requests.append(build_csr(key, request_subject(unit), bundle))
    return requests


def _framed(bodies: Iterable[bytes]) -> Iterator[bytes]:
    for body in bodies:
        yield _LENGTH.pack(len(body))
        yield body


def _unframed(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        yield data[at - length : at]
