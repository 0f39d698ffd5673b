# SPDX-License-Identifier: Apache-2.0
"""Writes files whole or not at all."""

import os
from pathlib import Path
from typing import Final

PUBLIC_MODE: Final = 0o644
PRIVATE_MODE: Final = 0o600


def write_whole(path: Path, content: bytes, mode: int = PUBLIC_MODE) -> None:
    """
    Write a file so that it is there with all of `content`, on the disk, or as it was before.

    It has this mode, whatever the umask and the file before it. Devices and pipes are written to as they are.

    Raises:
        OSError: it cannot be written; `filename` names it.

    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _replace(path.resolve(), content, mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_MODE), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
