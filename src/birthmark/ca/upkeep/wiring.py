# SPDX-License-Identifier: Apache-2.0
"""Upkeep put together: chooses where the ledger of a configuration is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from birthmark.ca.config import CAConfig, load_config
from birthmark.ca.keyring import Keyring
from birthmark.ca.upkeep.errors import LedgerRefused
from birthmark.ca.upkeep.restoration import Restored, demand_agreement, demand_history
from birthmark.ca.wiring import DEFAULT_DATABASE, configured_store, log_signer
from birthmark.core.config import read_file
from birthmark.core.secret_files import read_secret
from birthmark.stores.ca_vault import SQLiteVault, StoreStatus, Vault
from birthmark.tlog.checkpoint import Checkpoint, open_checkpoint
from birthmark.tlog.keys import VerifierKey


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """A ledger and its log. Without the schema of this program, nothing is known of the log."""

    store: StoreStatus
    entries: int | None = None
    checkpoint: str | None = None


def backup(config_path: Path, target: Path) -> None:
    """Write a copy of the ledger, which may be in use. Raises ConfigError, StoreError."""
    _vault(load_config(config_path), config_path.parent).backup(target)


def restore(config_path: Path, source: Path) -> None:
    """Make the ledger of a copy, where there is none. Raises ConfigError, StoreError."""
    _vault(load_config(config_path), config_path.parent).restore(source)


def restore_verified(config_path: Path, source: Path, kept: Path | None) -> Restored:
    """
    Make the ledger of a copy; take it away again when it is not what its log's key signed for.

    `kept` is a checkpoint that was kept elsewhere: an older or another ledger than that one is refused.

    Raises:
        ConfigError, KeyStoreError: the configuration, the log's key, or `kept` cannot be used.
        LedgerRefused: ca.restore.*. StoreError: the copy or the database.

    """
    config, folder = load_config(config_path), config_path.parent
    with Keyring(folder) as keys:
        verifier = log_signer(config, keys).verifier
    known = None if kept is None else open_checkpoint(read_file(kept), (verifier,))
    vault = _vault(config, folder)
    vault.restore(source)
    try:
        return _verified(config, folder, (verifier,), known)
    except BaseException:
        vault.discard()
        raise


def status(config_path: Path) -> LedgerStatus:
    """Return what is known of the ledger. Raises ConfigError, StoreError."""
    config, folder = load_config(config_path), config_path.parent
    found = _vault(config, folder).status()
    if found.version != found.wanted:
        return LedgerStatus(found)
    with configured_store(config, folder) as store, store.reading() as ledger:
        return LedgerStatus(found, ledger.log_size(), ledger.checkpoint())


def _verified(config: CAConfig, folder: Path, keys: Sequence[VerifierKey], known: Checkpoint | None) -> Restored:
    with configured_store(config, folder) as store, store.reading() as ledger:
        note = ledger.checkpoint()
        if note is None:
            raise LedgerRefused("the ledger has no checkpoint", finding="ca.restore.unsigned")
        found = demand_history(ledger, open_checkpoint(note.encode(), keys), known)
        demand_agreement(ledger, config.log.origin)
        return found


def _vault(config: CAConfig, folder: Path) -> Vault:
    if config.database_dsn_file is None:
        return SQLiteVault(folder / (config.database or DEFAULT_DATABASE))
    # Imported here: the embedded default runs without PostgreSQL's driver.
    from birthmark.stores.ca_vault_postgres import PostgresVault  # noqa: PLC0415

    return PostgresVault(read_secret(folder / config.database_dsn_file).decode())
