# SPDX-License-Identifier: Apache-2.0
"""The reviewed file of a ceremony, read strictly. docs/reference/ceremony.md describes every key."""

from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from birthmark.core.config import Config, load
from birthmark.core.errors import ConfigError
from birthmark.pki.algorithms import KeyAlgorithm

PASSPHRASE_PARTS_MAX: Final = 8

Id = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_525)]


class Role(Enum):
    """What a person does at the ceremony."""

    ADMINISTRATOR = "administrator"
    CUSTODIAN = "custodian"
    WITNESS = "witness"
    AUDITOR = "auditor"


class Standing(Enum):
    """The root that devices are under from now on, or the one that waits for the day on which they need another."""

    ACTIVE = "active"
    SPARE = "spare"


class CAUse(Enum):
    """What a CA signs: devices; or rigs, servers and people; or rigs alone, while the service runs."""

    ISSUING = "issuing"
    OPERATIONS = "operations"
    RIGS = "rigs"


class SignerUse(Enum):
    """What a key signs that is no CA's."""

    OCSP = "ocsp"
    EAR = "ear"
    LEDGER = "ledger"


class Participant(Config, frozen=True):
    """`[[participant]]`: a person at the table."""

    name: Text
    role: Role


class TokenSection(Config, frozen=True):
    """`[[token]]`: a PKCS#11 token that is there and has its PIN. Keys refer to it by its label."""

    label: Text
    module: Text
    pin_file: Text


class FileKey(Config, frozen=True, tag_field="kind", tag="software"):
    """A key in an encrypted file. Its passphrase is made here and split: whoever has all parts, in order, has it."""

    file: Text
    passphrase_files: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=PASSPHRASE_PARTS_MAX)]


class TokenKey(Config, frozen=True, tag_field="kind", tag="pkcs11"):
    """A key that is made in a token and stays there."""

    token: Text
    label: Text


Place: TypeAlias = FileKey | TokenKey


class KeySection(Config, frozen=True):
    """What has a key: its id, by which the rest of the file refers to it, and where the key is."""

    id: Id
    key: Place


class RootSection(KeySection, frozen=True):
    """`[[root]]`: a root that is made in this ceremony."""

    name: Text
    standing: Standing
    algorithm: KeyAlgorithm
    validity_days: Days


class CASection(KeySection, frozen=True):
    """`[[ca]]`: a CA under a root."""

    name: Text
    use: CAUse
    issuer: Id
    algorithm: KeyAlgorithm
    validity_days: Days


class SignerSection(KeySection, frozen=True):
    """`[[signer]]`: a key that signs answers, results or checkpoints. A ledger's key has no certificate."""

    use: SignerUse
    algorithm: KeyAlgorithm
    name: Text | None = None
    issuer: Id | None = None
    validity_days: Days | None = None


class PresentSection(KeySection, frozen=True):
    """`[[present]]`: a root or CA from an earlier ceremony that signs in this one."""

    certificate: Text


class RolloverSection(Config, frozen=True):
    """`[[rollover]]`: two roots that certify each other's key (RFC 4210 §4.4)."""

    old: Id
    new: Id


class BundleSection(Config, frozen=True):
    """`[[bundle]]`: a PEM file with several of the certificates, in this order."""

    file: Text
    certificates: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]


class CeremonyFile(Config, frozen=True):
    """The whole file. Paths are relative to it."""

    title: Text
    organization: Text
    begins: datetime
    folder: Text
    participant: Annotated[tuple[Participant, ...], msgspec.Meta(min_length=1)]
    token: tuple[TokenSection, ...] = ()
    root: tuple[RootSection, ...] = ()
    ca: tuple[CASection, ...] = ()
    signer: tuple[SignerSection, ...] = ()
    present: tuple[PresentSection, ...] = ()
    rollover: tuple[RolloverSection, ...] = ()
    bundle: tuple[BundleSection, ...] = ()


def read_ceremony(path: Path) -> CeremonyFile:
    """Return the ceremony that the file describes. Raises ConfigError that names the file, the key and the problem."""
    file = load(CeremonyFile, path)
    if file.begins.tzinfo is None:
        raise ConfigError(f"{path}: begins has no offset", hint="write it like 2026-11-23T10:00:00Z")
    return file
