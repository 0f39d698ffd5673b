# SPDX-License-Identifier: Apache-2.0
"""Auditing put together: opens the ledger and the log's key that a configuration names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext

from birthmark.ca.audit.errors import AuditRefused
from birthmark.ca.audit.policies import demand_policy
from birthmark.ca.audit.remote import RemoteLog
from birthmark.ca.audit.wholelog import verify_whole_log
from birthmark.ca.config import load_config
from birthmark.ca.keyring import Keyring
from birthmark.ca.ports import CAStore
from birthmark.ca.transparency.bundle_making import Auditing, BundleRequest
from birthmark.ca.transparency.log import Log
from birthmark.ca.wiring import configured_store, log_signer
from birthmark.core.clock import system_clock
from birthmark.core.ids import fingerprint
from birthmark.net.transport import HTTPTransport
from birthmark.tlog.checkpoint import Checkpoint, open_checkpoint
from birthmark.tlog.keys import VerifierKey
from birthmark.tlog.tiles import BUNDLE_MAX_BYTES

ADMINISTRATOR = "administrator"
PAGE = 4_096
"""Entries that are read at a time."""


@dataclass(frozen=True, slots=True)
class StoredEntries:
    """The entries of a ledger, as `wholelog.EntrySource` wants them."""

    store: CAStore

    def entries(self, size: int) -> Iterator[bytes]:
        """Yield the first `size` entries, or as many as there are before one is missing."""
        with self.store.reading() as ledger:
            first = 0
            while first < size and (page := ledger.entries(first, min(PAGE, size - first))):
                yield from page
                first += len(page)


def make_bundle(config_path: Path, serial: str, reason: str = "") -> bytes:
    """Return the audit bundle of a unit. Raises ConfigError, KeyStoreError, and as `Auditing.bundle`."""
    with _opened(config_path) as auditing:
        return auditing.bundle(BundleRequest(serial=serial, who=ADMINISTRATOR, reason=reason))


def log_key(config_path: Path) -> str:
    """Return the log's verifier key as auditors are given it. Raises ConfigError, KeyStoreError."""
    config, folder = load_config(config_path), config_path.parent
    with Keyring(folder) as keys:
        return log_signer(config, keys).verifier.text


def policy_texts(config_path: Path, digest: str) -> Mapping[str, bytes]:
    """Return the files of a policy that was in force, by name. Raises AuditRefused (audit.policy), StoreError."""
    config, folder = load_config(config_path), config_path.parent
    with configured_store(config, folder) as store, store.reading() as ledger:
        known = [policy for policy in ledger.policies() if policy.digest.startswith(digest)]
        if not known:
            raise AuditRefused(f"no policy {digest} was ever in force", finding="audit.policy")
        kept = ledger.kept(list(known[0].files.values()))
    texts = {name: kept[sha256] for name, sha256 in known[0].files.items() if sha256 in kept}
    demand_policy(known[0].digest, texts)
    return texts


def configuration_text(config_path: Path, digest: str) -> str:
    """Return the text of a configuration that was in force. Raises AuditRefused (audit.configuration), StoreError."""
    config, folder = load_config(config_path), config_path.parent
    with configured_store(config, folder) as store, store.reading() as ledger:
        known = [each.digest for each in ledger.configurations() if each.digest.startswith(digest)]
        kept = ledger.kept(known[:1])
    text = kept.get(known[0]) if known else None
    if text is None or fingerprint(text) != known[0]:
        raise AuditRefused(f"no configuration {digest} is kept", finding="audit.configuration")
    return text.decode()


def verify_database(
    config_path: Path, keys: Sequence[VerifierKey], kept: Sequence[Checkpoint], progress: Callable[[int], None]
) -> tuple[Checkpoint, bytes]:
    """
    Verify the whole log in a ledger against its own checkpoint and those that were kept; return its own, and its note.

    Raises:
        ConfigError, StoreError: the ledger.
        AuditRefused, NoteRefused, CheckpointRefused: it is not what was signed for.

    """
    config, folder = load_config(config_path), config_path.parent
    with configured_store(config, folder) as store:
        with store.reading() as ledger:
            note = ledger.checkpoint()
        if note is None:
            raise AuditRefused("the log has no checkpoint yet", finding="audit.log.empty")
        now = open_checkpoint(note.encode(), keys)
        verify_whole_log(StoredEntries(store), now, kept, progress)
    return now, note.encode()


def verify_url(
    url: str,
    context: SSLContext,
    keys: Sequence[VerifierKey],
    kept: Sequence[Checkpoint],
    progress: Callable[[int], None],
) -> tuple[Checkpoint, bytes]:
    """
    Verify the whole log of a serving CA, as `verify_database` does; `context` is the TLS client of an auditor.

    Raises:
        ConfigError, NetError: the CA cannot be asked.
        AuditRefused, DecodeError, NoteRefused, CheckpointRefused: it is not what was signed for.

    """
    transport = HTTPTransport(url, context, response_max_bytes=BUNDLE_MAX_BYTES)
    try:
        log = RemoteLog(transport)
        note = log.checkpoint()
        now = open_checkpoint(note, keys)
        verify_whole_log(log, now, kept, progress)
    finally:
        transport.close()
    return now, note


@contextmanager
def _opened(config_path: Path) -> Iterator[Auditing]:
    config, folder = load_config(config_path), config_path.parent
    with Keyring(folder) as keys, configured_store(config, folder) as store:
        yield Auditing(store, Log(store, log_signer(config, keys)), system_clock)
