# SPDX-License-Identifier: Apache-2.0
"""The CA: attested enrolments per second, on kept-alive connections and with a new mutual-TLS connection each."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from floor import P256
from rows import Row, row

from birthmark.ca.wiring import open_ca, read_order
from birthmark.core.clock import system_clock
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.forge import new_key
from birthmark.testing.lab import files
from birthmark.testing.lab.record import Lab
from birthmark.testing.lab.start import lab_down, lab_up

ENROLMENTS = 240
CLIENTS = 4
ORDER = files.Order("order-bench", quantity=100_000)


def measure(p256: P256) -> list[Row]:
    """Enrol chips of the endorsed maker; requests are made beforehand, only `simpleenroll` is timed."""
    with tempfile.TemporaryDirectory(prefix="birthmark-") as directory:
        lab = lab_up(Path(directory), boards=1, chip="none", hsm=False)
        try:
            _open_order(lab)
            kept_alive, fresh = _rates(lab)
        finally:
            lab_down(Path(directory))
    floor = 1 / p256.enrolment_s
    how = f"{CLIENTS} clients, software key, SQLite, one worker; floor: signatures and verifications alone"
    return [
        row("ca.enrol_kept_alive_per_s", kept_alive, "1/s", floor, how),
        row("ca.enrol_new_connection_per_s", fresh, "1/s", floor, f"a new TLS connection each; {how}"),
    ]


def _open_order(lab: Lab) -> None:
    path = files.write(lab.path / "orders" / f"{ORDER.name}.toml", ORDER.toml(system_clock()))
    with open_ca(Path(lab.ca_config)) as authority:
        authority.add_order(read_order(path))


def _rates(lab: Lab) -> tuple[float, float]:
    with Intruder(lab) as client:
        est = client.est(order=ORDER.name)
        kept_alive = _rate(_requests(client), est.simpleenroll)
        fresh = _rate(_requests(client), lambda csr: client.est(order=ORDER.name).simpleenroll(csr))
    return kept_alive, fresh


def _rate(requests: list[bytes], enrol: Callable[[bytes], object]) -> float:
    with ThreadPoolExecutor(CLIENTS) as pool:
        begun = time.perf_counter()
        for _ in pool.map(enrol, requests):
            pass
        return len(requests) / (time.perf_counter() - begun)


def _requests(client: Intruder) -> list[bytes]:
    est = client.est(order=ORDER.name)
    requests = []
    for _ in range(ENROLMENTS):
        unit, chip, key = client.new_unit(), client.genuine_chip(), new_key()
        nonce = est.nonce(PKIX_EVIDENCE, unit).nonce
        bundle = chip.bundle(chip.attest(key.public_key(), nonce))
        requests.append(build_csr(key, request_subject(unit), bundle))
    return requests
