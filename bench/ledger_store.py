# SPDX-License-Identifier: Apache-2.0
"""
The ledger at a million entries in a real database: taking them into the log, a proof out of it, all of it verified.

    .venv/bin/python bench/ledger_store.py sqlite FOLDER
    .venv/bin/python bench/ledger_store.py postgres DSN

Prints one JSON object. The database must be empty; every tenth entry is about the same few units.
"""

import json
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from birthmark.ca.audit.wholelog import verify_whole_log
from birthmark.ca.audit.wiring import StoredEntries
from birthmark.ca.ports import CAStore
from birthmark.ca.transparency.log import Log
from birthmark.core.audit import AuditRow
from birthmark.stores import ca_postgres
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.tlog.checkpoint import open_checkpoint
from birthmark.tlog.keys import Signer

ENTRIES = 1_000_000
BATCH = 5_000
PROOFS = 300
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def measure(store: CAStore) -> dict[str, float]:
    """Fill the ledger, publish its log, prove and verify; return seconds and milliseconds."""
    log = Log(store, Signer("example.com/bench", Ed25519PrivateKey.from_private_bytes(bytes(32))))
    filled_s = _timed(lambda: _fill(store))
    published_s = _timed(log.publish)
    times = [_timed(lambda place=place: log.prove([place])) for place in _places()]
    note = log.checkpoint().encode()
    now = open_checkpoint(note, [Signer("example.com/bench", Ed25519PrivateKey.from_private_bytes(bytes(32))).verifier])
    verified_s = _timed(lambda: verify_whole_log(StoredEntries(store), now, [now]))
    peak_mib = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return {
        "entries": now.head.size,
        "append_entries_per_s": ENTRIES / filled_s,
        "publish_entries_per_s": ENTRIES / published_s,
        "proof_ms": median(times) * 1e3,
        "proof_longest_ms": max(times) * 1e3,
        "verify_entries_per_s": ENTRIES / verified_s,
        "peak_mib": peak_mib,
    }


def _fill(store: CAStore) -> None:
    for first in range(0, ENTRIES, BATCH):
        rows = [_row(number) for number in range(first, first + BATCH)]
        with store.writing() as ledger:
            ledger.append(rows)


def _row(number: int) -> AuditRow:
    unit = number if number % 10 else number % 1_000
    return AuditRow(
        at=BEGIN + timedelta(milliseconds=number),
        who="rig:rig-a",
        fingerprint=f"{number % 7:064x}",
        act="enrol",
        order="order-1",
        unit_serial=f"BM-{unit:07d}",
        certificate=f"{number:040x}",
        about=f"{number:064x}",
    )


def _places() -> list[int]:
    return random.Random(1).sample(range(ENTRIES), PROOFS)  # noqa: S311 the same places every time


def _timed(act: object) -> float:
    begun = time.perf_counter()
    act()  # type: ignore[operator] # a lambda of this file
    return time.perf_counter() - begun


def _opened(kind: str, where: str) -> CAStore:
    if kind == "sqlite":
        return SQLiteCAStore(Path(where) / "ca.sqlite")
    ca_postgres.migrate(where)
    return ca_postgres.PostgresCAStore(where)


if __name__ == "__main__":
    opened = _opened(*sys.argv[1:3])
    print(json.dumps({name: round(value, 3) for name, value in measure(opened).items()}))
    opened.close()
