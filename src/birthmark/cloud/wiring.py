# SPDX-License-Identifier: Apache-2.0
"""The cloud service put together: the only place that chooses its store and its clock."""

import logging
import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path

from birthmark.cloud.config import CloudConfig
from birthmark.cloud.doors import Doors
from birthmark.cloud.http import CloudHTTP
from birthmark.cloud.legacy import LegacyPolicy
from birthmark.cloud.revocation import RevocationFeed
from birthmark.cloud.service import Cloud
from birthmark.cloud.sources import kept_fresh, open_feed
from birthmark.core.clock import system_clock
from birthmark.core.config import load, read_file
from birthmark.core.errors import ConfigError
from birthmark.evidence.ear import NO_SIGNERS, ResultSigners, read_signers
from birthmark.evidence.endorsements import read_endorsements
from birthmark.net import asgi, tls
from birthmark.pki.paths import TrustAnchors, read_trust
from birthmark.stores.cloud_sqlite import CloudSQLite

_X509_V_FLAG_NO_CHECK_TIME = 0x200000  # openssl/x509_vfy.h; the ssl module has no name for it


def serve(config_path: Path) -> None:
    """
    Serve devices until SIGTERM; one line on stdout says where.

    Raises:
        ConfigError: a file that cannot be used.
        ListenFailed: the address cannot be listened on.
        StoreError: the database cannot be used.

    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    config = load(CloudConfig, config_path)
    folder = config_path.parent
    with _service(config, folder) as (cloud, feed):
        app = CloudHTTP(cloud).app()
        context = _server_context(config, folder)
        with kept_fresh(feed, system_clock, config.crl_refresh_s, follows=config.feed_url is not None):
            asgi.serve(app, config.host, config.port, context)


@contextmanager
def open_cloud(config_path: Path) -> Iterator[Cloud]:
    """Open the service for its administrator, beside the serving process. Raises as `serve` does."""
    with _service(load(CloudConfig, config_path), config_path.parent) as (cloud, _feed):
        yield cloud


@contextmanager
def _service(config: CloudConfig, folder: Path) -> Iterator[tuple[Cloud, RevocationFeed]]:
    doors = _doors(config, folder)
    feed = open_feed(config, folder, doors.trust.intermediates, system_clock)
    registry = CloudSQLite(folder / config.database)
    try:
        yield Cloud(doors, registry, feed, system_clock), feed
    finally:
        registry.close()


def _doors(config: CloudConfig, folder: Path) -> Doors:
    trust = _trust(folder / config.device_trust)
    if not trust.intermediates:
        raise ConfigError(f"{folder / config.device_trust}: only roots", hint="add the issuing CA's certificate")
    endorsements = read_endorsements(folder / config.endorsements, read_file)
    return Doors(trust, endorsements, _legacy(config, folder, trust), _signers(config, folder))


def _signers(config: CloudConfig, folder: Path) -> ResultSigners:
    if config.result_signers is None:
        return NO_SIGNERS
    path = folder / config.result_signers
    return read_signers(read_file(path), str(path))


def _legacy(config: CloudConfig, folder: Path, device_trust: TrustAnchors) -> LegacyPolicy | None:
    if config.legacy_trust is None:
        return None
    if config.legacy_sunset is None:
        raise ConfigError("legacy_trust without legacy_sunset", hint="say when the legacy door closes")
    trust = _trust(folder / config.legacy_trust)
    # The door is chosen by the issuer: a name that stands on both sides would make that a matter of luck.
    if _subjects(trust) & _subjects(device_trust):
        raise ConfigError("legacy_trust and device_trust name the same CA", hint="the two doors must share no issuer")
    try:
        new_line = re.compile(config.new_line_serials)
    except re.error as error:
        raise ConfigError(f"new_line_serials: {error}", hint="write a regular expression") from error
    return LegacyPolicy(trust, config.legacy_sunset.astimezone(UTC), new_line)


def _trust(path: Path) -> TrustAnchors:
    return read_trust(read_file(path), str(path))


def _subjects(trust: TrustAnchors) -> set[bytes]:
    return {certificate.subject.public_bytes() for certificate in (*trust.certs, *trust.intermediates)}


def _server_context(config: CloudConfig, folder: Path) -> ssl.SSLContext:
    names = [config.device_trust] if config.legacy_trust is None else [config.device_trust, config.legacy_trust]
    trust = b"\n".join(read_file(folder / name) for name in names)
    context = tls.server_context(folder / config.tls_certificate, folder / config.tls_key, trust)
    # TLS admits what chains to an anchor; time is judged above, where the refusal can say its finding.
    context.verify_flags |= _X509_V_FLAG_NO_CHECK_TIME
    return context
