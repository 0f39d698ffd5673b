# SPDX-License-Identifier: Apache-2.0
"""
Strict TOML configuration: a frozen Struct per file, an unknown key is an error.

Declare `class X(Config)` with annotated fields and safe defaults; `load` gives an instance or one clear ConfigError.
"""

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from birthmark.core.errors import ConfigError

FILE_MAX_BYTES: Final = 4 << 20
_HINT: Final = "mend the file; docs/reference/config.md lists its keys"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every configuration structure."""


C = TypeVar("C", bound=Config)


def parse(cls: type[C], text: bytes | str, where: str) -> C:
    """Return the configuration in `text`. Raises ConfigError that names the file, the key and the problem."""
    try:
        return msgspec.toml.decode(text, type=cls, dec_hook=_path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: no text in UTF-8, from byte {error.start} on", hint=_HINT) from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"{where}: {error}", hint=_HINT) from error


def load(cls: type[C], path: Path) -> C:
    """Return the configuration in the file. Raises ConfigError also when it cannot be read."""
    return parse(cls, read_file(path), str(path))


def read_file(path: Path) -> bytes:
    """Return what is in a file that a person names. Raises ConfigError when it cannot be read, or is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name a readable file") from error
    except ValueError as error:  # a zero byte in the name
        raise ConfigError(f"{str(path)!r} is not the name of a file", hint="name a readable file") from error
    if len(content) > FILE_MAX_BYTES:
        raise ConfigError(f"{path}: more than {FILE_MAX_BYTES} bytes", hint="name the right file; none is so large")
    return content


def _path(kind: type[Any], value: object) -> Path:
    """Return a file name as the Path that a configuration declares: the one type that msgspec does not know."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"expected {kind.__name__}, got {value!r}")
