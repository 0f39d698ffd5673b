# SPDX-License-Identifier: Apache-2.0
"""
Threat: the insider with the CA's database, who wants a birth never to have happened, or to have been another.

The attacks work on a copy of the ledger that the lab's CA keeps. The worst one holds the log's key too: it computes the
whole log anew and signs it. Whoever kept a checkpoint finds out.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from birthmark.ca.audit.errors import AuditRefused
from birthmark.ca.audit.wholelog import verify_whole_log
from birthmark.ca.audit.wiring import StoredEntries
from birthmark.ca.transparency.check import check_ledger
from birthmark.ca.transparency.log import Log
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.lab.files import LOG_ORIGIN
from birthmark.tlog.checkpoint import Checkpoint, open_checkpoint
from birthmark.tlog.keys import Signer

THREAT = "insider"
LEDGER = Path("data", "ca.sqlite")


def delete_births(intruder: Intruder) -> None:
    """Delete the birth records from the database."""
    _checked(intruder, "DELETE FROM birth")


def edit_births(intruder: Intruder) -> None:
    """Make the birth records say something else."""
    _checked(intruder, "UPDATE birth SET jws = replace(jws, 'A', 'B')")


def rewrite_log(intruder: Intruder) -> None:
    """Cut the births out of the log too, compute it anew and sign it with the log's own key."""
    # Whoever holds the log's key signs what they like: here a key of the attacker's stands for it, and is believed.
    key = Ed25519PrivateKey.generate()
    with _copy(intruder) as file:
        kept = _published(file, key)
        _run(
            file,
            "DELETE FROM birth",
            'DELETE FROM leaf WHERE CAST(entry AS TEXT) LIKE \'%"act":"birth"%\'',
            "CREATE TEMP TABLE moved AS SELECT number, row_number() OVER (ORDER BY number) - 1 AS place FROM leaf",
            "UPDATE leaf SET number = -1 - (SELECT place FROM moved WHERE moved.number = leaf.number)",
            "UPDATE leaf SET number = -1 - number",
        )
        now = _published(file, key)
        with closing(SQLiteCAStore(file)) as store:
            verify_whole_log(StoredEntries(store), now, [kept])


def _checked(intruder: Intruder, statement: str) -> None:
    with _copy(intruder) as file:
        _run(file, statement)
        with closing(SQLiteCAStore(file)) as store, store.reading() as ledger:
            for found in check_ledger(ledger, LOG_ORIGIN):
                raise AuditRefused(f"{found.subject}: {found.detail}", finding=found.finding)


def _published(file: Path, key: Ed25519PrivateKey) -> Checkpoint:
    """Compute the log in the file anew, and return its signed checkpoint."""
    _run(file, "DELETE FROM tile", "DELETE FROM checkpoint")
    signer = Signer("example.com/intruder", key)
    with closing(SQLiteCAStore(file)) as store:
        log = Log(store, signer)
        log.publish()
        return open_checkpoint(log.checkpoint().encode(), [signer.verifier])


@contextmanager
def _copy(intruder: Intruder) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="birthmark-") as folder:
        file = Path(folder, LEDGER.name)
        with closing(sqlite3.connect(intruder.lab.path / LEDGER)) as live, closing(sqlite3.connect(file)) as copy:
            live.backup(copy)
        yield file


def _run(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


ATTACKS = (
    Attack(
        "insider.deleted-births", THREAT, "the CA's database, births deleted", ("ledger.birth.missing",), delete_births
    ),
    Attack("insider.edited-births", THREAT, "the CA's database, births edited", ("ledger.birth.digest",), edit_births),
    Attack(
        "insider.rewritten-log",
        THREAT,
        "births cut out, the log signed anew",
        ("audit.log.shorter", "audit.log.history"),
        rewrite_log,
    ),
)
