# SPDX-License-Identifier: Apache-2.0
"""Files with secrets in them: nobody but their owner may read them, or they are not read at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from birthmark.core.errors import ConfigError

OTHERS_MODE_MASK: Final = 0o077
"""Bits that must be off in the mode of such a file."""
SECRET_MAX_BYTES: Final = 4_096


def read_secret(path: Path) -> bytes:
    """
    Return the passphrase, PIN or connection string in a file, without the line end.

    Raises:
        ConfigError: it cannot be read, it is empty or too long, or others than its owner may read it.

    """
    with _opened(path) as file:
        secret = file.read(SECRET_MAX_BYTES + 2).rstrip(b"\r\n")
    if not secret:
        raise ConfigError(f"{path}: there is no secret in it", hint=f"1 to {SECRET_MAX_BYTES} bytes are read")
    if len(secret) > SECRET_MAX_BYTES:
        raise ConfigError(f"{path}: too long for a secret", hint=f"1 to {SECRET_MAX_BYTES} bytes are read")
    return secret


def demand_private(path: Path) -> None:
    """Pass a readable file that nobody but its owner may read. Raises ConfigError."""
    with _opened(path):
        pass


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & OTHERS_MODE_MASK:
                raise ConfigError(
                    f"{path}: mode {mode & 0o777:04o} lets others read the secret", hint=f"chmod 600 {path}"
                )
            yield file
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name a readable file with the secret") from error
    except ValueError as error:  # a zero byte in the name
        raise ConfigError(f"{str(path)!r} is not the name of a file", hint="name a readable file") from error
