# SPDX-License-Identifier: Apache-2.0
"""
Writes the files of a ceremony: each whole or not at all, none over another.

A name is claimed by an empty file that only one process can create; then the content is written beside it, flushed to
the disk and moved over the claim. After a power cut there is nothing, the claim, or the whole file. This needs no hard
links, which the file systems of removable media do not have.
"""

import os
from pathlib import Path
from typing import Final

from birthmark.ca.ceremony.errors import CeremonyRefused

PUBLIC_MODE: Final = 0o644
SECRET_MODE: Final = 0o600


def is_written(path: Path) -> bool:
    """Tell whether there is a file with content: an empty one is no more than a claim."""
    return path.exists() and path.stat().st_size > 0


def claim(path: Path) -> None:
    """
    Make the name ours, or find that it is: nobody else can claim it after us.

    Raises:
        CeremonyRefused: `ceremony.present`, a file with content is there.

    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE))
    except FileExistsError:
        if is_written(path):
            raise CeremonyRefused(f"{path} is there already", finding="ceremony.present") from None


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet. Raises CeremonyRefused as `claim` does, and OSError."""
    claim(path)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    flush_directory(path.parent)


def flush_directory(directory: Path) -> None:
    """Put the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
