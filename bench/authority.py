# SPDX-License-Identifier: Apache-2.0
"""
The CA: attested enrolments per second, on kept-alive connections and with a new mutual-TLS connection each.

Envoy, one worker and its steward share one core. The issuing key is a P-256 key in SoftHSM, the ledger is in
PostgreSQL, every request carries fresh evidence of an endorsed chip, and every decision is a leaf of the log. Client
and PostgreSQL have the other cores. Requests are prepared beforehand; only `simpleenroll` is timed.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median

from cluster import postgresql
from enrolments import CONNECTIONS, Client, Load, build
from floor import P256, token_sign_s
from quota import cpu_quota
from rows import Row, row

from birthmark.ca.config import load_config
from birthmark.ca.wiring import configured_store, migrate
from birthmark.core.clock import system_clock
from birthmark.core.issuance import Order, UnitRange
from birthmark.testing.lab import files, softhsm
from birthmark.testing.lab.ceremony import offline_authority
from birthmark.testing.lab.processes import LabProcess, await_ready, python, start, stop
from birthmark.testing.lab.record import PRODUCT, RIGS, Lab
from birthmark.testing.lab.start import lab_down, lab_up
from birthmark.testing.orders import put_signed_order

ROUNDS = 3
KEPT = 4_000
FRESH = 2_500
"""Enrolments in one round, over kept and over new connections."""
WARM_UP = 500
ORDER = "order-bench"
QUOTA_CORES = 0.4
"""For one worker, when two are compared with one: together they leave more than one core to client and database."""
_HERTZ = os.sysconf("SC_CLK_TCK")


def measure(p256: P256) -> list[Row]:
    """Measure the three figures."""
    cores = sorted(os.sched_getaffinity(0))
    served, others = str(cores[0]), ",".join(map(str, cores[1:] or cores))
    with tempfile.TemporaryDirectory(prefix="birthmark-") as name, postgresql(others) as dsn:
        bench = _Bench(_prepared(Path(name), dsn), build(Path(name)), others)
        with bench.serving(workers=1, pinned=("taskset", "--cpu-list", served)) as ca:
            kept, fresh = ca.rounds("kept", KEPT), ca.rounds("new", FRESH)
        scaling = _scaling(bench)
        floor = 1 / p256.authority_s(token_sign_s(Path(name)))
    return [
        _rate_row("ca.enrol_kept_alive_per_s", kept, floor, "connections kept alive"),
        _rate_row("ca.enrol_new_connection_per_s", fresh, floor, "a new mutual-TLS connection each, none resumed"),
        scaling,
    ]


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, and the CPU seconds of the processes that served it, by what they are."""

    load: Load
    front_s: float
    workers_s: float
    steward_s: float


@dataclass(frozen=True, slots=True)
class _Serving:
    """A CA that serves, and the client that asks it."""

    client: Client
    process: LabProcess
    units: Iterator[str]

    def rounds(self, mode: str, size: int) -> list[_Run]:
        """Warm up, then run ROUNDS rounds of `size` enrolments."""
        self.run(mode, WARM_UP)
        return [self.run(mode, size) for _ in range(ROUNDS)]

    def run(self, mode: str, size: int) -> _Run:
        requests = self.client.requests([next(self.units) for _ in range(size)])
        before = _cpu_s(self.process.pid)
        load = self.client.enrol(requests, mode=mode)
        after = _cpu_s(self.process.pid)
        return _Run(load, *(after[who] - before[who] for who in ("envoy", "worker", "steward")))


class _Bench:
    """A lab's files, made over for the benchmark."""

    def __init__(self, lab: Lab, load: Path, client_cores: str) -> None:
        self._lab = lab
        self._load = load
        self._client_cores = client_cores
        self._units = (f"BM-{number:06d}" for number in count(1))
        self._names = (f"bench-{number}" for number in count())

    @contextmanager
    def serving(self, *, workers: int, pinned: tuple[str, ...] = ()) -> Iterator[_Serving]:
        """Serve with so many workers, under a command that pins them."""
        config = Path(self._lab.ca_config)
        config.write_text(f'{config.read_text().partition("[front]")[0]}[front]\nkind = "envoy"\nworkers = {workers}\n')
        command = [*pinned, *python("birthmark.cli", "ca", "serve", "--config", str(config))]
        logs = self._lab.path / "logs"
        process = start(next(self._names), command, logs, softhsm.environment(self._lab.path))
        try:
            url = await_ready(process, logs)["ready"]
            client = Client(self._load, self._lab, url, ORDER, self._client_cores)
            yield _Serving(client, process, self._units)
        finally:
            stop([process])


def _prepared(home: Path, dsn: str) -> Lab:
    """Return a lab that is down, whose CA has its key in SoftHSM and its ledger in PostgreSQL."""
    lab = lab_up(home / "lab", boards=1, chip="none", hsm=True)
    lab_down(lab.path)
    secret = lab.path / "data" / "dsn"
    secret.touch(0o600)
    secret.write_text(dsn)
    config = Path(lab.ca_config)
    text = config.read_text().replace('database = "data/ca.sqlite"', 'database_dsn_file = "data/dsn"')
    config.write_text(text.replace("nonce_expiry_s = 8", "nonce_expiry_s = 3600\nnonces_per_rig = 10000000") + "\n")
    migrate(config)
    at = system_clock()
    with configured_store(load_config(config), lab.path) as store:
        put_signed_order(store, offline_authority(lab.path, "operations"), _order(at), at, files.LOG_ORIGIN)
    return lab


def _order(at: datetime) -> Order:
    """Return an order with room for everything."""
    return Order(
        id=ORDER,
        product=PRODUCT,
        quantity=900_000,
        chip_models=files.CHIP_MODELS,
        rigs=RIGS,
        units=UnitRange(files.FIRST_UNIT, files.LAST_UNIT),
        not_before=at - timedelta(days=1),
        not_after=at + timedelta(days=1),
        profile="device-p256",
        approved_at=at,
    )


def _scaling(bench: _Bench) -> Row:
    """Return what two workers do over one, each with the same share of the cores."""
    rates = {}
    for workers in (1, 2):
        with cpu_quota(workers * QUOTA_CORES) as group, bench.serving(workers=workers, pinned=_joining(group)) as ca:
            rates[workers] = median(run.load.rate for run in ca.rounds("kept", KEPT // 2))
    note = (
        f"kept alive, two workers with Envoy on {2 * QUOTA_CORES:g} cores' time against one on {QUOTA_CORES:g}"
        f" ({rates[2]:.0f}/s against {rates[1]:.0f}/s), so that client and PostgreSQL have the same in both; floor: 2"
    )
    return row("ca.two_workers_over_one", rates[2] / rates[1], "×", 2, note)


def _joining(group: Path) -> tuple[str, ...]:
    return ("sh", "-c", f'echo $$ > {group}; exec "$@"', "sh")


def _rate_row(name: str, runs: list[_Run], floor: float, how: str) -> Row:
    middle = sorted(runs, key=lambda run: run.load.rate)[len(runs) // 2]
    load, each_us = middle.load, 1e6 / middle.load.count
    front_us, worker_us, steward_us = (s * each_us for s in (middle.front_s, middle.workers_s, middle.steward_s))
    note = (
        f"{how}, {CONNECTIONS} at once; Envoy and one worker on one core, SoftHSM P-256, PostgreSQL with fsync, median"
        f" of {len(runs)} rounds of {load.count}; CPU for each: Envoy {front_us:.0f} us, worker {worker_us:.0f} us,"
        f" steward {steward_us:.0f} us;"
        f" p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms; floor: four verifications and one signature in SoftHSM"
    )
    return row(name, load.rate, "1/s", floor, note)


def _cpu_s(supervisor: int) -> dict[str, float]:
    """Return the CPU seconds of Envoy, of the workers and of their steward so far."""
    spent = {"envoy": 0.0, "worker": 0.0, "steward": 0.0}
    for task in Path("/proc").glob("[0-9]*"):
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            command = (task / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == supervisor:
            who = next((mark for mark in ("envoy", "steward") if mark in command), "worker")
            spent[who] += (int(fields[11]) + int(fields[12])) / _HERTZ
    return spent
