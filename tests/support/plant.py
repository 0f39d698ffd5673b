# SPDX-License-Identifier: Apache-2.0
"""Several CA processes over one ledger, killed and started again, and rigs that ask until they are answered."""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from birthmark.ca.config import load_config
from birthmark.ca.http import BIRTH_MEDIA_TYPE
from birthmark.ca.wiring import configured_store, open_ca
from birthmark.core.audit import decode_row
from birthmark.core.birth import sign_birth
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est.client import ESTClient
from birthmark.est.errors import ESTClientRefused
from birthmark.net.errors import NetError
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.stores import ca_postgres
from support.ca_parts import Board, birth_record
from support.ca_process import ORDER, PROGRAM, STOP_TIME_S, CAFiles

ANSWER_MAX_S = 30
"""No request waits longer, whatever was killed."""
PAUSE_S = 0.05
MORE = 6
"""Units that `until_more` waits for."""
TRANSPORT_TIMEOUT_S = 10

T = TypeVar("T")


class PostgresFiles(CAFiles):
    """The files of a CA whose ledger is in PostgreSQL."""

    def __init__(self, folder: Path, dsn: str) -> None:
        ca_postgres.migrate(dsn)
        folder.joinpath("dsn").write_text(dsn)
        folder.joinpath("dsn").chmod(0o600)
        super().__init__(folder)

    def _write_texts(self) -> None:
        super()._write_texts()
        self.config.write_text('database_dsn_file = "dsn"\n' + self.config.read_text())


class Worker:
    """A CA process, on a machine of its own as far as it knows."""

    def __init__(self, files: CAFiles) -> None:
        self._files = files
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it, again and again while its database is away."""
        deadline = time.monotonic() + ANSWER_MAX_S
        line = ""
        while not line:
            assert time.monotonic() < deadline, (self._files.folder / "ca.log").read_text()[-2000:]
            with (self._files.folder / "ca.log").open("a") as log:
                command = (sys.executable, "-c", PROGRAM, str(self._files.config))
                self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            if not line:
                self._reap()
        self.url = str(json.loads(line)["ready"])

    def kill(self) -> None:
        self.process.kill()
        self._reap()

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(STOP_TIME_S) == 0
        self._reap()

    def _reap(self) -> None:
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Rig:
    """A rig that makes units one after the other, at any of the workers, and repeats what was not answered."""

    def __init__(self, files: CAFiles, name: str, workers: Sequence[Worker]) -> None:
        self.name = name
        self.made: dict[str, str] = {}
        self.put_off = 0
        self.lost = 0
        """How many requests had no answer at all; they are put off too."""
        self.problem: BaseException | None = None
        self._files = files
        self._workers = workers
        self._turn = 0
        self._transport: HTTPTransport | None = None
        self._certificate = x509.load_pem_x509_certificate(files.folder.joinpath(f"{name}.pem").read_bytes())
        key = load_pem_private_key(files.folder.joinpath(f"{name}.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    def work(self, boards: Callable[[], Board | None]) -> None:
        """Make boards until there are none; run in a thread of its own."""
        try:
            while (board := boards()) is not None:
                self.made[board.unit] = f"{self.make(board).serial_number:x}"
        except BaseException as error:  # noqa: BLE001 reported in the test's own thread
            self.problem = error
        finally:
            self._leave()

    def make(self, board: Board) -> x509.Certificate:
        """Enrol a board and confirm its birth."""
        nonce = self._answered(lambda transport: ESTClient(transport.request, ORDER).nonce(PKIX_EVIDENCE, board.unit))
        csr = board.csr(nonce.nonce)
        certificate = self._answered(lambda transport: ESTClient(transport.request, ORDER).simpleenroll(csr))
        certificate.verify_directly_issued_by(self._files.forge.issuing.certificate)
        assert certificate.public_key() == board.key.public_key()
        token = sign_birth(birth_record(board, certificate, rig=self.name), self._key, self._certificate)
        self._answered(lambda transport: _born(transport, token))
        return certificate

    def _answered(self, ask: Callable[[HTTPTransport], T]) -> T:
        """Ask until there is an answer: a lost connection, 503 and a unit in work are none."""
        deadline = time.monotonic() + ANSWER_MAX_S
        while time.monotonic() < deadline:
            try:
                return ask(self._connected())
            except NetError:
                self.lost += 1
                self._leave()
            except ESTClientRefused as later:
                if later.retry_after_s is None or (later.status != 503 and later.finding != "ca.6.unit-in-work"):
                    raise
            self.put_off += 1
            time.sleep(PAUSE_S)  # sooner than it was asked to: that must do no harm
        raise AssertionError(f"{self.name} was not answered in time")

    def _connected(self) -> HTTPTransport:
        if self._transport is None:
            self._turn += 1
            worker = self._workers[self._turn % len(self._workers)]
            identity = [self._files.folder / f"{self.name}.{kind}" for kind in ("pem", "key")]
            trust = self._files.folder.joinpath("root.pem").read_bytes()
            self._transport = HTTPTransport(worker.url, client_context(trust, *identity))
        return self._transport

    def _leave(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def _born(transport: HTTPTransport, token: str) -> None:
    answer = transport.request("POST", "/v1/births", {"Content-Type": BIRTH_MEDIA_TYPE}, token.encode())
    if answer.status != 204:
        finding, _, reason = answer.body.decode().partition(": ")
        raise ESTClientRefused(answer.status, finding, reason, int(answer.headers.get("retry-after", "1")))


def at_work(rigs: Sequence[Rig], boards: Callable[[], Board | None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=rig.work, args=(boards,)) for rig in rigs]
    for thread in threads:
        thread.start()
    return threads


class Boards:
    """Boards, until it is over. Thread-safe."""

    def __init__(self, files: CAFiles) -> None:
        self._files = files
        self._numbers = itertools.count()
        self.over = threading.Event()

    def __call__(self) -> Board | None:
        return None if self.over.is_set() else self._files.board(f"BM-{next(self._numbers):06d}")


def until_more(rigs: Sequence[Rig]) -> None:
    aim = sum(len(rig.made) for rig in rigs) + MORE
    deadline = time.monotonic() + ANSWER_MAX_S
    while sum(len(rig.made) for rig in rigs) < aim:
        assert not [rig.problem for rig in rigs if rig.problem]
        assert time.monotonic() < deadline, "nothing is issued any more"
        time.sleep(0.01)


def assert_exact(files: CAFiles, rigs: Sequence[Rig]) -> None:
    """The ledger has what the rigs have, once: certificates, births, places in the order, entries in the log."""
    made = {unit: serial for rig in rigs for unit, serial in rig.made.items()}
    with open_ca(files.config) as administration:
        found = list(administration.certificates())
        assert list(administration.check()) == []
    assert sorted((row["unit_serial"], row["serial"]) for row in found) == sorted(made.items())
    assert {row["state"] for row in found} == {"confirmed"}
    with configured_store(load_config(files.config), files.folder) as store, store.reading() as ledger:
        assert ledger.order_use(ORDER, "").units == len(made)
        decided = [decode_row(entry) for entry in ledger.entries(0, ledger.log_size())]
        assert len(decided) == ledger.log_size()
    for act in ("enrol", "birth"):
        acts = [row.unit_serial for row in decided if row.act == act and row.about]
        assert sorted(acts) == sorted(made), f"each {act} is in the log once"
