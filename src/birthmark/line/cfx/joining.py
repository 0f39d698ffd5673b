# SPDX-License-Identifier: Apache-2.0
"""From `cfx.toml` to the endpoint and the interlock: credentials and trust are read here, and nothing is connected."""

from birthmark.core.clock import Clock
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError
from birthmark.core.secret_files import read_secret
from birthmark.line.cfx.amqp import Peer
from birthmark.line.cfx.config import CFXConfig, address_of
from birthmark.line.cfx.endpoint import CFXEndpoint, Station
from birthmark.line.cfx.interlock import CFXInterlock, Desk
from birthmark.line.ports import Stopwatch
from birthmark.net.tls import client_context


def endpoint(cfx: CFXConfig, clock: Clock, stopwatch: Stopwatch) -> CFXEndpoint:
    """Return the endpoint, not started yet. Raises ConfigError for files that cannot be used."""
    station = Station(cfx.handle, cfx.address, cfx.heartbeat_s, cfx.confirm_timeout_s, cfx.retry_s)
    return CFXEndpoint(_peer(cfx, cfx.url), station, clock, stopwatch)


def interlock(cfx: CFXConfig, clock: Clock, stopwatch: Stopwatch) -> CFXInterlock | None:
    """Return who asks before work begins, or None when nobody is to be asked. Raises ConfigError as `endpoint` does."""
    asked = cfx.interlock
    if asked is None:
        return None
    desk = Desk(
        handle=cfx.handle,
        target=asked.target,
        request_address=asked.request_address,
        reply_address=asked.reply_address,
        timeout_s=asked.timeout_s,
        unanswered=asked.unanswered,
        validations=asked.validations,
    )
    return CFXInterlock(_peer(cfx, asked.url or cfx.url), desk, clock, stopwatch)


def _peer(cfx: CFXConfig, url: str) -> Peer:
    host, port, encrypted = address_of(url, "url")
    context = client_context(read_file(cfx.trust), cfx.certificate, cfx.key) if encrypted and cfx.trust else None
    external = context is not None and cfx.certificate is not None
    return Peer(
        host=host,
        port=port,
        container=cfx.handle,
        mechanism="PLAIN" if cfx.user else "EXTERNAL" if external else "ANONYMOUS",
        user=cfx.user,
        password=_password(cfx),
        virtual_host=cfx.virtual_host,
        context=context,
    )


def _password(cfx: CFXConfig) -> str:
    if cfx.password_file is None:
        return ""
    try:
        return read_secret(cfx.password_file).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{cfx.password_file}: the password is no text in UTF-8") from error
