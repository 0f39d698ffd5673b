# SPDX-License-Identifier: Apache-2.0
"""The appraisal policy with the texts that it is made of, as the ledger keeps them for auditors."""

from collections.abc import Callable, Mapping
from pathlib import Path

from birthmark.core.errors import ConfigError
from birthmark.evidence.endorsements import Endorsements, read_endorsements


def read_policy(path: Path, read: Callable[[Path], bytes]) -> tuple[Endorsements, Mapping[str, bytes]]:
    """
    Return the appraisal policy in a file and the texts that it is made of, its own file first.

    Raises:
        ConfigError, PathError: it cannot be used, or names a file that is not beside or below it: auditors get the
            texts by name, in one folder; what `read` raises passes through.

    """
    texts: dict[str, bytes] = {}

    def kept(each: Path) -> bytes:
        texts[_name_beside(path, each)] = content = read(each)
        return content

    return read_endorsements(path, kept), texts


def _name_beside(path: Path, each: Path) -> str:
    if not each.is_relative_to(path.parent) or ".." in each.parts[len(path.parent.parts) :]:
        raise ConfigError(f"{path}: names {each}, which is not beside it", hint="put the files of a policy beside it")
    return str(each.relative_to(path.parent))
