# SPDX-License-Identifier: Apache-2.0
"""A ledger with a history, in a database that a ca.toml names, and another empty place to restore it to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from birthmark.ca.ports import CAStore
from birthmark.ca.transparency.log import Log
from birthmark.core.audit import AuditRow
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.keys.software import generate, load_encrypted, save_encrypted
from birthmark.stores import ca_postgres
from birthmark.stores.ca_postgres import PostgresCAStore
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.tlog.keys import NotePrivateKey, Signer
from support.ca_parts import NOW
from support.postgres import PostgreSQL

ORIGIN = "example.com/test-ca"
_PASSPHRASE = b"only for this test"
_CONFIG = """
tls_certificate = "-"
tls_key = "-"
client_trust = "-"
ca_chain = "-"
issuing_certificate = "-"
organization = "Forge"
issuing_key = {{ kind = "software", file = "-", passphrase_file = "-" }}
log = {{ origin = "{origin}", key = {{ kind = "software", file = "log.key", passphrase_file = "passphrase" }} }}
profile = [{{ name = "device", algorithms = ["P-256"], last_issue = 2035-12-31 }}]
{database}
"""


@dataclass(frozen=True)
class Place:
    """A database, the configuration that names it, and how to open it."""

    config: Path
    opened: Callable[[], CAStore]

    @contextmanager
    def store(self) -> Iterator[CAStore]:
        store = self.opened()
        try:
            yield store
        finally:
            store.close()

    def log(self, store: CAStore) -> Log:
        return Log(store, signer(self.config.parent))

    def lived(self, count: int, name: str = "rig:rig-a") -> None:
        """Append decisions to the ledger, and sign for them."""
        with self.store() as store:
            with store.writing() as ledger:
                ledger.append([AuditRow(at=NOW, who=name, act="enrol", finding="ca.8.quota") for _ in range(count)])
            self.log(store).publish()

    def entries(self) -> tuple[bytes, ...]:
        with self.store() as store, store.reading() as ledger:
            return ledger.entries(0, 1_000)

    def checkpoint(self) -> str:
        with self.store() as store:
            return self.log(store).checkpoint()


class Places:
    """Makes databases of one kind whose logs have one key."""

    def __init__(self, folder: Path, cluster: PostgreSQL | None) -> None:
        self._folder = folder
        self._cluster = cluster
        self._count = 0
        key = generate(KeyAlgorithm.ED25519)
        folder.joinpath("passphrase").write_bytes(_PASSPHRASE)
        folder.joinpath("passphrase").chmod(0o600)
        save_encrypted(folder / "log.key", key, _PASSPHRASE)

    def empty(self) -> Place:
        """Return a place without a ledger."""
        self._count += 1
        if self._cluster is None:
            path = self._folder / f"{self._count}.sqlite"
            return Place(self._config(f'database = "{path.name}"'), lambda: SQLiteCAStore(path))
        dsn = self._cluster.new_database()
        secret = self._folder / f"{self._count}.dsn"
        secret.write_text(dsn)
        secret.chmod(0o600)
        return Place(self._config(f'database_dsn_file = "{secret.name}"'), lambda: PostgresCAStore(dsn))

    def schema(self) -> Place:
        """Return a place with the schema of a ledger; nothing was ever signed for."""
        place = self.empty()
        if self._cluster is not None:
            ca_postgres.migrate((self._folder / f"{self._count}.dsn").read_text())
        return place

    def ledger(self) -> Place:
        """Return a place with a ledger that is new."""
        place = self.schema()
        place.lived(0)
        return place

    def _config(self, database: str) -> Path:
        path = self._folder / f"ca{self._count}.toml"
        path.write_text(_CONFIG.format(origin=ORIGIN, database=database))
        return path


def signer(folder: Path) -> Signer:
    """Return who signs for the logs of the places in a folder."""
    key = load_encrypted(folder / "log.key", _PASSPHRASE)
    assert isinstance(key, NotePrivateKey)
    return Signer(ORIGIN, key)
