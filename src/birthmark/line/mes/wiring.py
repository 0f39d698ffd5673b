# SPDX-License-Identifier: Apache-2.0
"""Builds the destinations of a rig's events from its configuration."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from birthmark.core.clock import system_clock
from birthmark.core.config import read_file
from birthmark.core.delivery import CA_DESTINATION, Routes, Wants
from birthmark.core.errors import ConfigError
from birthmark.core.secret_files import read_secret
from birthmark.line.authority import Confirmation
from birthmark.line.config import RigConfig, WebhookConfig
from birthmark.line.interlock import Interlock, Unlocked
from birthmark.line.mes.webhook import ANSWER_MAX_BYTES, Webhook, read_signer, target_of
from birthmark.line.ports import Destination
from birthmark.line.pressure import Pressure
from birthmark.line.retention import Retention
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.stores.mes_jsonl import MESFile


def destinations(rig: RigConfig, transport: HTTPTransport) -> dict[str, Destination]:
    """Return the destinations that rig.toml names, the CA first. Raises ConfigError."""
    found: dict[str, Destination] = {CA_DESTINATION: Confirmation(transport)}
    if rig.mes_file is not None:
        found["mes-file"] = MESFile(rig.mes_file)
    if rig.mes_postgres_dsn_file is not None:
        found["mes-postgres"] = _postgres(rig.mes_postgres_dsn_file)
    if rig.mes_webhook is not None:
        found["mes-webhook"] = _webhook(rig.mes_webhook)
    if rig.mes_cfx_file is not None:
        found["mes-cfx"] = _cfx(rig.mes_cfx_file)
    return found


def routes(rig: RigConfig) -> Routes:
    """Return what each destination that rig.toml names wants: the CA births, the MES everything."""
    named = {
        "mes-file": (rig.mes_file, Wants.EVERYTHING),
        "mes-postgres": (rig.mes_postgres_dsn_file, Wants.EVERYTHING),
        "mes-webhook": (rig.mes_webhook, Wants.EVERYTHING),
        "mes-cfx": (rig.mes_cfx_file, Wants.EVERYTHING),
    }
    mes = {name: wants for name, (value, wants) in named.items() if value is not None}
    return MappingProxyType({CA_DESTINATION: Wants.BIRTHS, **mes})


def pressure(rig: RigConfig) -> Pressure:
    """Return the limits behind which the MES may be, and what comes of it."""
    return Pressure(rig.mes_policy, rig.mes_waiting_limit, rig.mes_age_limit_s)


def retention(rig: RigConfig) -> Retention:
    """Return how long the rig keeps what is done with."""
    return Retention(rig.keep_events, rig.keep_events_days, rig.keep_journal_days)


def _postgres(dsn_file: Path) -> Destination:
    try:
        from birthmark.stores.mes_postgres import MESPostgreSQL  # noqa: PLC0415 psycopg is in the extra "line" only
    except ImportError as error:
        raise ConfigError(f"mes_postgres_dsn_file: {error}", hint="install birthmark[line]") from error
    return MESPostgreSQL(read_secret(dsn_file).decode().strip())


def _webhook(webhook: WebhookConfig) -> Destination:
    target = target_of(webhook.url)
    context = client_context(read_file(webhook.trust))
    transport = HTTPTransport(target.server, context, webhook.timeout_s, ANSWER_MAX_BYTES)
    return Webhook(transport, target.path, read_signer(webhook.key_file, webhook.signature), system_clock)


def interlock(rig: RigConfig) -> Interlock:
    """Return who is asked before work begins: whoever cfx.toml names, else nobody. Raises ConfigError."""
    if rig.mes_cfx_file is None:
        return Unlocked()
    with _demanding_cfx():
        from birthmark.line.cfx.config import load_cfx  # noqa: PLC0415 proton is in the extra "cfx" only
        from birthmark.line.cfx.joining import interlock as joined  # noqa: PLC0415 as above
    return joined(load_cfx(rig.mes_cfx_file), system_clock, time.monotonic) or Unlocked()


def _cfx(path: Path) -> Destination:
    with _demanding_cfx():
        from birthmark.line.cfx.config import load_cfx  # noqa: PLC0415 as in `interlock`
        from birthmark.line.cfx.joining import endpoint  # noqa: PLC0415 as above
    return endpoint(load_cfx(path), system_clock, time.monotonic)


@contextmanager
def _demanding_cfx() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigError(f"mes_cfx_file: {error}", hint="install birthmark[cfx]") from error
