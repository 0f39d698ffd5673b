# SPDX-License-Identifier: Apache-2.0
"""What ca.toml says about lists, OCSP and the feed, made into the desk that serves them."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from birthmark.ca.config import BUDGET_BURST, BUDGET_PER_S, RESPONSE_S, CAConfig, ResponderSection
from birthmark.ca.issuing.signers import DEFAULT_ISSUER, Signers
from birthmark.ca.keyring import Keyring
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore
from birthmark.ca.status.desk import FULL, SigningDesk, StatusIssuer, StatusTerms
from birthmark.ca.status.http import StatusHTTP
from birthmark.ca.status.publishing import SigningBudget
from birthmark.core.clock import Clock
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError
from birthmark.net import asgi
from birthmark.pki.authorities import Authority
from birthmark.pki.ocsp import Responder
from birthmark.pki.paths import issued_by, read_certificates

PUBLIC_STOP_S: Final = 5.0
_DEFAULTS: Final = (RESPONSE_S, BUDGET_PER_S, BUDGET_BURST)


def status_issuers(config: CAConfig, folder: Path, keys: Keyring, signers: Signers) -> dict[str, StatusIssuer]:
    """
    Return who says what is revoked: every issuer, with its responder where the configuration names one.

    Raises:
        ConfigError: a responder that is none of its issuer's. KeyStoreError: a responder's key cannot be had.

    """
    sections: dict[str, tuple[str | None, ResponderSection | None]] = {DEFAULT_ISSUER: (config.crl_name, config.ocsp)}
    sections |= {each.name: (each.crl_name, each.ocsp) for each in config.issuer}
    found = {}
    for name, authority in signers.all().items():
        list_base, section = sections[name]
        found[name] = StatusIssuer(
            authority=authority,
            marks=signers.issued_by(name),
            list_name=FULL if name == DEFAULT_ISSUER else f"{FULL}:{signers.id_of(name)}",
            list_base=list_base or "",
            responder=None if section is None else _responder(section, folder, keys, authority),
        )
    return found


def status_desk(
    config: CAConfig, store: CAStore, issuers: Mapping[str, StatusIssuer], policy: Policy, clock: Clock
) -> SigningDesk:
    """Return the desk. Without `[ocsp]` other issuers' responders answer by its defaults."""
    named = config.ocsp
    life_s, per_s, burst = _DEFAULTS if named is None else (named.response_s, named.budget_per_s, named.budget_burst)
    terms = StatusTerms(
        partitions=config.crl_partitions,
        list_life=timedelta(seconds=config.crl_next_update_s),
        response_life=timedelta(seconds=life_s),
        budget=SigningBudget.full(per_s, burst, clock()),
    )
    return SigningDesk(store, issuers, terms, policy.trust, clock)


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


def _responder(section: ResponderSection, folder: Path, keys: Keyring, authority: Authority) -> Responder:
    path = folder / section.certificate
    certificate, *others = read_certificates(read_file(path), str(path))
    key = keys.key(section.key)
    if others or not issued_by(certificate, authority.certificate) or not _signs_ocsp(certificate):
        raise ConfigError(f"{path}: no OCSP responder of its issuing CA", hint="name the one that the ceremony made")
    if certificate.public_key() != key.public_key():
        raise ConfigError(f"{path}: the responder's key belongs to another certificate", hint="compare the two")
    return Responder(authority.certificate, certificate, key)


def _signs_ocsp(certificate: x509.Certificate) -> bool:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return list(purposes) == [ExtendedKeyUsageOID.OCSP_SIGNING]
