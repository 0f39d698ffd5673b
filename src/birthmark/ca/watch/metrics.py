# SPDX-License-Identifier: Apache-2.0
"""
What the service counts, for Prometheus. docs/reference/operations.md lists every metric.

Several workers share one view: each keeps its numbers in files of one folder, and whichever is asked adds them up. What
the ledger itself holds is read from it when somebody asks, at most once per CENSUS_MEMORY_S.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from birthmark.ca.ports import CAStore
from birthmark.ca.watch.observation import Decision
from birthmark.core.audit import decode_row
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError

CENSUS_MEMORY_S: Final = 15.0
ORDERS_MAX: Final = 200
"""Open orders whose accounts are told."""
SIGNER_FINDINGS: Final = frozenset({"ca.signer", "ca.log.signer"})
"""Requests that failed because a key could not be used."""
LATENCIES_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)


class Meter:
    """The numbers of one worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "birthmark_ca_"
        self._requests = Counter(
            f"{name}requests", "Answers, by operation, status and finding.", ("operation", "status", "finding"),
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            f"{name}request_seconds", "From the request's head to the end of its answer.", ("operation",),
            buckets=LATENCIES_S, registry=registry,
        )  # fmt: skip
        self._batch = Histogram(
            f"{name}batch_jobs", "Requests that were settled together.", buckets=BATCHES, registry=registry
        )
        self._waiting = Gauge(
            f"{name}waiting_jobs", "Requests that wait to be settled.", registry=registry, multiprocess_mode="livesum"
        )
        self._signer = Counter(
            f"{name}signer_errors", "Requests that failed because a key could not be used.", registry=registry
        )
        self._known: dict[tuple[str, int, str], Callable[[], None]] = {}
        self._timers: dict[str, Callable[[float], None]] = {}

    def decided(self, decision: Decision) -> None:
        """Count a decision. A sink (`ca.observation`)."""
        key = (decision.operation, decision.status, decision.finding)
        count = self._known.get(key)
        if count is None:
            labels = (decision.operation, str(decision.status), decision.finding)
            count = self._known[key] = self._requests.labels(*labels).inc
            self._timers[decision.operation] = self._seconds.labels(decision.operation).observe
        count()
        self._timers[decision.operation](decision.ms / 1_000)
        if decision.finding in SIGNER_FINDINGS:
            self._signer.inc()

    def settled(self, batch: int, waiting: int) -> None:
        """Count a batch that begins, and how many wait behind it."""
        self._batch.observe(batch)
        self._waiting.set(waiting)


class LedgerCollector(Collector):
    """What the ledger holds, at the moment of asking. Where it cannot be read, nothing is told but that."""

    def __init__(self, store: CAStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = -CENSUS_MEMORY_S
        self._last: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are known without reading the ledger."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, read now or a moment ago."""
        with self._lock:
            now = time.monotonic()
            if now >= self._read_at + CENSUS_MEMORY_S:
                self._last = self._read()
                self._read_at = now
            return self._last

    def _read(self) -> list[Metric]:
        readable = GaugeMetricFamily("birthmark_ca_ledger_readable", "1 when the ledger could be read just now.")
        try:
            found = self._families()
        except BirthmarkError:
            readable.add_metric((), 0)
            return [readable]
        readable.add_metric((), 1)
        return [readable, *found]

    def _families(self) -> list[Metric]:
        at = self._clock()
        states = GaugeMetricFamily("birthmark_ca_certificates", "Certificates by state.", labels=("state",))
        places = GaugeMetricFamily(
            "birthmark_ca_order_places", "Places of the open orders, by what became of them.", labels=("order", "fate")
        )
        nonces = GaugeMetricFamily("birthmark_ca_open_nonces", "Nonces that may still be used.")
        entries = GaugeMetricFamily("birthmark_ca_log_entries", "Entries of the log.")
        lag = GaugeMetricFamily(
            "birthmark_ca_log_lag_seconds", "How long the oldest entry has waited to be in a signed checkpoint."
        )
        with self._store.reading() as ledger:
            census = ledger.census(at)
            for state, count in census.states.items():
                states.add_metric((state,), count)
            nonces.add_metric((), census.open_nonces)
            size, note = ledger.log_size(), ledger.checkpoint()
            entries.add_metric((), size)
            waiting = ledger.entries(0 if note is None else int(note.split("\n")[1]), 1)
            lag.add_metric((), (at - decode_row(waiting[0]).at).total_seconds() if waiting else 0)
            opened = [order for order in ledger.orders() if order.approved_at and not order.closed_at]
            for order in opened[:ORDERS_MAX]:
                account = ledger.order_account(order.id, at)
                for fate in ("ordered", "taken", "confirmed", "unconfirmed", "ended", "lapsed", "scrapped", "left"):
                    places.add_metric((order.id, fate), getattr(account, fate))
        return [states, places, nonces, entries, lag]


def page_of(registry: CollectorRegistry, ledger: LedgerCollector, shared: Path | None) -> Callable[[], bytes]:
    """Return what gives the text for Prometheus: of this worker, or, with a shared folder, of all of them."""

    def page() -> bytes:
        return generate_latest(registry if shared is None else _all_workers(shared)) + generate_latest(_only(ledger))

    return page


def _all_workers(shared: Path) -> CollectorRegistry:
    _forget_the_dead(shared)
    registry = CollectorRegistry(auto_describe=False)
    MultiProcessCollector(registry, str(shared))  # type: ignore[no-untyped-call] # registers itself; the library has no types here
    return registry


def _only(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def _forget_the_dead(shared: Path) -> None:
    """Drop the gauges of workers that have ended; what they have counted stays counted."""
    for file in shared.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(OSError):
                mark_process_dead(pid, str(shared))  # type: ignore[no-untyped-call] # as above
        except PermissionError:
            continue
