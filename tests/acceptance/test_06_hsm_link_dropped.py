# SPDX-License-Identifier: Apache-2.0
"""
Acceptance 6: the HSM is killed under load, again and again; the CA is never restarted and loses nothing.

Each outage ends within 30 s and leaves one entry in the log.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from birthmark.ca.watch.outages import ACT
from birthmark.ca.wiring import open_ca
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est.client import ESTClient
from birthmark.est.errors import ESTClientRefused
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import make_sub_ca
from birthmark.testing.forge import ORGANIZATION
from birthmark.testing.lab import softhsm
from birthmark.testing.lab.softhsm import CLIENT_MODULE, TokenServer
from support.ca_process import ORDER, CAFiles, RunningCA, running_ca
from support.campaign import rounds
from support.tls_files import pem

KILLS = rounds(short=5, campaign=20)
RIGS = 4
HEAL_MAX_S = 30
"""Acceptance 6."""


class HSMFiles(CAFiles):
    """The files of a CA whose issuing key is in a token behind p11-kit's server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        softhsm.make_token(folder)
        with softhsm.opened(folder) as token:
            key = token.generate("issuing", KeyAlgorithm.P256)
            self.issuing = make_sub_ca(self.forge.root, f"{ORGANIZATION} HSM CA", key, self.now).certificate
        root = self.forge.root.certificate
        write = folder.joinpath
        write("trust.pem").write_bytes(pem(root, self.operations.certificate, self.issuing))
        write("chain.pem").write_bytes(pem(self.issuing, root))
        write("issuing.pem").write_bytes(pem(self.issuing))
        before, _, after = self.config.read_text().partition('kind = "software"\nfile = "issuing.key"\n')
        where = f'module = "{CLIENT_MODULE}"\ntoken = "{softhsm.TOKEN}"\nlabel = "issuing"\npin_file = "hsm/pin"\n'
        self.config.write_text(
            before + f'kind = "pkcs11"\n{where}' + after.replace('passphrase_file = "passphrase"\n', "", 1)
        )
        self.put_order(replace(self.order, quantity=100_000))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HSMFiles:
    monkeypatch.setenv("SOFTHSM2_CONF", "set by make_token, and unset after the test")
    return HSMFiles(tmp_path)


@pytest.fixture
def server(files: HSMFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    made = TokenServer(files.folder / "hsm", softhsm.environment(files.folder))
    for name, value in made.client_environment.items():
        monkeypatch.setenv(name, value)
    made.start()
    yield made
    made.stop()


class Rig:
    """A rig that enrols one unit after the other and comes back when it is told to."""

    def __init__(self, ca: RunningCA, files: HSMFiles, number: int, over: threading.Event) -> None:
        self.enrolled: dict[str, x509.Certificate] = {}
        self.put_off: list[tuple[int, int | None]] = []
        self.problem: BaseException | None = None
        identity = [files.folder / f"rig-{'ab'[number % 2]}.{kind}" for kind in ("pem", "key")]
        trust = files.folder.joinpath("root.pem").read_bytes()
        self._transport = HTTPTransport(ca.url, client_context(trust, *identity))
        self._est = ESTClient(self._transport.request, ORDER)
        self._files = files
        self._number = number
        self._over = over
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                self._enrol(f"BM-{self._number}{len(self.enrolled):05d}")
        except BaseException as error:  # noqa: BLE001 reported in the test's own thread
            self.problem = error
        finally:
            self._transport.close()

    def _enrol(self, unit: str) -> None:
        """No unit is given up: the rig asks until it has its certificate, also after the load has ended."""
        board = self._files.board(unit)
        while unit not in self.enrolled:
            try:
                nonce = self._est.nonce(PKIX_EVIDENCE, unit).nonce
                certificate = self._est.simpleenroll(board.csr(nonce))
            except ESTClientRefused as later:
                self.put_off.append((later.status, later.retry_after_s))
                if later.status != 503:
                    raise
                time.sleep(0.1)  # sooner than it was asked to: that must do no harm
                continue
            certificate.verify_directly_issued_by(self._files.issuing)
            assert certificate.public_key() == board.key.public_key()
            self.enrolled[unit] = certificate


def until_more(rigs: list[Rig], count: int) -> float:
    """Wait until so many more units have their certificates; return the seconds it took."""
    began = time.monotonic()
    aim = sum(len(rig.enrolled) for rig in rigs) + count
    while sum(len(rig.enrolled) for rig in rigs) < aim:
        assert not [rig.problem for rig in rigs if rig.problem]
        assert time.monotonic() - began < HEAL_MAX_S, "the CA did not heal in time"
        time.sleep(0.01)
    return time.monotonic() - began


def test_a_token_that_is_killed_again_and_again_under_load_costs_nothing_but_time(
    files: HSMFiles, server: TokenServer
) -> None:
    over = threading.Event()
    with running_ca(files) as ca:
        rigs = [Rig(ca, files, number, over) for number in range(RIGS)]
        for rig in rigs:
            rig.thread.start()
        try:
            for number in range(KILLS):
                until_more(rigs, 5)
                server.kill()
                if number % 4 == 0:
                    time.sleep(0.7)  # long enough for the first attempts to fail
                server.start()
                until_more(rigs, 5)
        finally:
            over.set()
            for rig in rigs:
                rig.thread.join(HEAL_MAX_S)
        assert ca.process.poll() is None, "the CA was never restarted"
    assert not [rig.problem for rig in rigs if rig.problem]
    put_off = {answer for rig in rigs for answer in rig.put_off}
    assert put_off, "the rigs met the outages"
    assert all(status == 503 and after_s is not None and 1 <= after_s <= HEAL_MAX_S for status, after_s in put_off)
    assert_ledger_agrees(files, rigs)
    assert_one_entry_per_outage(files)


def assert_ledger_agrees(files: HSMFiles, rigs: list[Rig]) -> None:
    """One certificate per unit, the one that the rig has, and none besides."""
    held = {unit: f"{certificate.serial_number:x}" for rig in rigs for unit, certificate in rig.enrolled.items()}
    with open_ca(files.config) as administration:
        rows = list(administration.certificates())
        wrong = [found for found in administration.check() if found.subject not in {"orders", "proposals", "rulings"}]
    assert wrong == [], "but for the orders, which this test wrote past the log"
    assert sorted((row["unit_serial"], row["serial"]) for row in rows) == sorted(held.items())


def assert_one_entry_per_outage(files: HSMFiles) -> None:
    with open_ca(files.config) as administration:
        told = [row for row in administration.audit() if row["act"] == ACT]
    assert len(told) == KILLS, told
    assert all(row["who"] == "authority" and row["finding"] == "" for row in told)
    assert all(row["detail"].startswith(f"{softhsm.TOKEN}: healed after ") for row in told)
