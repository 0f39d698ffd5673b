# SPDX-License-Identifier: Apache-2.0
"""
Strict TOML configuration: a frozen Struct per file, an unknown key is an error.

Declare `class X(Config)` with annotated fields and safe defaults; `load` gives an instance or one clear ConfigError.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from birthmark.core.errors import ConfigError


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every configuration structure."""


C = TypeVar("C", bound=Config)


def parse(cls: type[C], text: bytes | str, where: str) -> C:
    """Return the configuration in `text`. Raises ConfigError that names the file, the key and the problem."""
    try:
        return msgspec.toml.decode(text, type=cls, dec_hook=_path)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"{where}: {error}", hint="mend the file; docs/reference/config.md lists its keys") from error


def load(cls: type[C], path: Path) -> C:
    """Return the configuration in the file. Raises ConfigError also when it cannot be read."""
    return parse(cls, read_file(path), str(path))


def read_file(path: Path) -> bytes:
    """Return what is in a file that a configuration names. Raises ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name a readable file") from error


def _path(kind: type[Any], value: object) -> Path:
    """Return a file name as the Path that a configuration declares: the one type that msgspec does not know."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"expected {kind.__name__}, got {value!r}")
