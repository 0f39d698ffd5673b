# SPDX-License-Identifier: Apache-2.0
"""operations.toml: where the operations CA's key is, and by which policies it issues. docs/reference/credentials.md."""

import re
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from birthmark.ca.config import Text, TokenKey
from birthmark.core.config import Config, load
from birthmark.core.errors import ConfigError

VALIDITY_MAX_DAYS: Final = 825
"""Of any policy. What a certificate says of its holder is looked at anew after that time at the latest."""
PASSPHRASE_PARTS_MAX: Final = 8


class Holder(Enum):
    """Whom a certificate is for. People's are the roles of `core.roles.Role`."""

    SECURITY_OFFICER = "security-officer"
    APPROVER = "approver"
    AUDITOR = "auditor"
    LINE_LEAD = "line-lead"
    FOLLOWER = "follower"
    RIG = "rig"
    SERVER = "server"


PEOPLE: Final = (Holder.SECURITY_OFFICER, Holder.APPROVER, Holder.AUDITOR, Holder.LINE_LEAD)


class FileKey(Config, frozen=True, tag_field="kind", tag="software"):
    """`[key] kind = "software"`: an encrypted file, as the ceremony made it; all parts of its passphrase, in order."""

    file: Text
    passphrase_files: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=PASSPHRASE_PARTS_MAX)]


Place: TypeAlias = FileKey | TokenKey


class PolicySection(Config, frozen=True):
    """`[[policy]]`: who may get a certificate, under which names, for how long at most."""

    name: Text
    holders: Annotated[tuple[Holder, ...], msgspec.Meta(min_length=1)]
    validity_days: Annotated[int, msgspec.Meta(ge=1, le=VALIDITY_MAX_DAYS)]
    names: Text = ".+"
    """A regular expression that the whole name matches: of a server, each of its hosts."""


class OperationsFile(Config, frozen=True):
    """The whole file. Paths are relative to it."""

    certificate: Text
    key: Place
    policy: Annotated[tuple[PolicySection, ...], msgspec.Meta(min_length=1)]
    ledger: Text | None = None
    """The ca.toml of the CA whose log says what was issued; without it, whoever issues keeps what is printed."""


def load_operations(path: Path) -> OperationsFile:
    """Return the configuration in `path`. Raises ConfigError that names the file, the key and the problem."""
    file = load(OperationsFile, path)
    names = [policy.name for policy in file.policy]
    if len(set(names)) != len(names):
        raise ConfigError(f"{path}: two policies have the same name", hint="commands refer to a policy by its name")
    for policy in file.policy:
        try:
            re.compile(policy.names)
        except re.error as error:
            raise ConfigError(f"{path}: policy {policy.name}: names: {error}", hint="a regular expression") from error
    return file
