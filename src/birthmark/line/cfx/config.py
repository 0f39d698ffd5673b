# SPDX-License-Identifier: Apache-2.0
"""`cfx.toml`: the CFX network that a rig joins, and whom it asks before work begins."""

import math
import re
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from birthmark.core import config
from birthmark.core.config import Config
from birthmark.core.errors import ConfigError
from birthmark.line.cfx.structures import ValidationType

HEARTBEAT_MAX_S: Final = 300.0
"""IPC-2591: an endpoint says that it is there at least every five minutes."""
HANDLE_MAX_CHARS: Final = 128
_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_PORTS: Final = {"amqp": 5672, "amqps": 5671}


class InterlockConfig(Config, frozen=True):
    """Whom to ask. Without `reply_address` the endpoint at `url` answers itself; with it, through a broker's queue."""

    request_address: str
    unanswered: Literal["stop", "go"]
    url: str = ""
    target: str = ""
    reply_address: str = ""
    timeout_s: float = 5.0
    validations: tuple[ValidationType, ...] = (ValidationType.ROUTE, ValidationType.STATUS)


class CFXConfig(Config, frozen=True):
    """One connection to a CFX network. `load_cfx` makes relative paths absolute. Durations are in seconds."""

    url: str
    handle: str
    address: str
    virtual_host: str = ""
    trust: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    password_file: Path | None = None
    unsafe_cleartext: bool = False
    heartbeat_s: float = 60.0
    confirm_timeout_s: float = 5.0
    retry_s: float = 5.0
    interlock: InterlockConfig | None = None


def load_cfx(path: Path) -> CFXConfig:
    """Return the configuration. Raises ConfigError also for what cannot be meant, or would not be safe."""
    loaded = config.load(CFXConfig, path)
    _check(loaded, path)
    folder = path.absolute().parent
    paths = {
        name: folder / value for name in loaded.__struct_fields__ if isinstance(value := getattr(loaded, name), Path)
    }
    return CFXConfig(**{name: getattr(loaded, name) for name in loaded.__struct_fields__} | paths)


def address_of(url: str, where: str) -> tuple[str, int, bool]:
    """Return host, port and whether TLS is spoken. Raises ConfigError for anything but amqp(s):// and a host."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{where}: a url is no URL") from error
    if parts.scheme not in _PORTS or not parts.hostname or _more(parts):
        # Not shown: it may hold a password.
        raise ConfigError(f"{where}: a url is not amqps://HOST[:PORT]", hint="user, password and address have own keys")
    return parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "amqps"


def _more(parts: SplitResult) -> bool:
    return bool(parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment)


def _check(loaded: CFXConfig, path: Path) -> None:
    where = str(path)
    urls = [loaded.url, *([loaded.interlock.url] if loaded.interlock and loaded.interlock.url else [])]
    encrypted = [address_of(url, where)[2] for url in urls]
    if not all(encrypted) and not loaded.unsafe_cleartext:
        raise ConfigError(f"{where}: amqp:// is not encrypted", hint="use amqps://, or say unsafe_cleartext = true")
    if any(encrypted) and loaded.trust is None:
        raise ConfigError(f"{where}: amqps:// without trust", hint="name the PEM file with the broker's root")
    if len(loaded.handle) > HANDLE_MAX_CHARS or not _HANDLE.fullmatch(loaded.handle):
        raise ConfigError(
            f"{where}: {loaded.handle!r} is no CFX handle", hint="VENDOR.MODEL.NAME, letters, digits, _ and -"
        )
    if bool(loaded.user) != (loaded.password_file is not None):
        raise ConfigError(f"{where}: user and password_file belong together")
    _check_times(loaded, where)


def _check_times(loaded: CFXConfig, where: str) -> None:
    times = [loaded.confirm_timeout_s, loaded.retry_s, *([loaded.interlock.timeout_s] if loaded.interlock else [])]
    # Written so that "nan" fails as well.
    if not all(0 < time_s < math.inf for time_s in times) or not 1 <= loaded.heartbeat_s <= HEARTBEAT_MAX_S:
        raise ConfigError(
            f"{where}: a time is out of its range", hint=f"above zero; heartbeat_s from 1 to {HEARTBEAT_MAX_S:g} s"
        )
