# SPDX-License-Identifier: Apache-2.0
"""What ca.toml says about lists, OCSP and the feed, made into the desk that serves them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from birthmark.ca.config import CAConfig, OCSPSection
from birthmark.ca.keyring import Keyring
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore
from birthmark.ca.status import SigningBudget
from birthmark.ca.status_desk import SigningDesk, StatusTerms
from birthmark.ca.status_http import StatusHTTP
from birthmark.core.clock import Clock
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError
from birthmark.net import asgi
from birthmark.pki.authorities import Authority
from birthmark.pki.ocsp import Responder
from birthmark.pki.paths import issued_by, read_certificates

PUBLIC_STOP_S: Final = 5.0


def responder_of(config: CAConfig, folder: Path, keys: Keyring, authority: Authority) -> Responder | None:
    """
    Return who signs OCSP; None without `[ocsp]`.

    Raises:
        ConfigError: it is not a responder of this authority. KeyStoreError: its key cannot be had.

    """
    return None if config.ocsp is None else _responder(config.ocsp, folder, keys, authority)


def status_desk(
    config: CAConfig, store: CAStore, authority: Authority, responder: Responder | None, policy: Policy, clock: Clock
) -> SigningDesk:
    """Return the desk."""
    section = config.ocsp
    per_s, burst = (1.0, 1) if section is None else (section.budget_per_s, section.budget_burst)
    terms = StatusTerms(
        list_base=config.crl_name or "",
        partitions=config.crl_partitions,
        list_life=timedelta(seconds=config.crl_next_update_s),
        response_life=timedelta(seconds=1 if section is None else section.response_s),
        budget=SigningBudget.full(per_s, burst, clock()),
    )
    return SigningDesk(store, authority, responder, terms, policy.trust, clock)


@contextmanager
def published(config: CAConfig, http: StatusHTTP) -> Iterator[None]:
    """Serve lists and OCSP without TLS too, as long as the block runs, where `status_port` says so."""
    if config.status_port is None:
        yield
        return
    server = asgi.PublicServer(http.public_app(), config.host, config.status_port)
    thread = threading.Thread(target=server.run_until_stopped, args=(_told,), name="status", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join(PUBLIC_STOP_S)


def _told(_url: str) -> None:
    """Say nothing: the service's one line is about its own port."""


def _responder(section: OCSPSection, folder: Path, keys: Keyring, authority: Authority) -> Responder:
    path = folder / section.certificate
    certificate, *others = read_certificates(read_file(path), str(path))
    key = keys.key(section.key)
    if others or not issued_by(certificate, authority.certificate) or not _signs_ocsp(certificate):
        raise ConfigError(f"{path}: no OCSP responder of this issuing CA", hint="name the one that the ceremony made")
    if certificate.public_key() != key.public_key():
        raise ConfigError(f"{path}: the key in [ocsp] belongs to another certificate", hint="compare the two")
    return Responder(authority.certificate, certificate, key)


def _signs_ocsp(certificate: x509.Certificate) -> bool:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return list(purposes) == [ExtendedKeyUsageOID.OCSP_SIGNING]
