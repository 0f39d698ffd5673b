# SPDX-License-Identifier: Apache-2.0
"""
Whom we believe: chip makers by their roots, chip models with their certification, and what was withdrawn since.

Written by a person as TOML (docs/reference/config.md), read here strictly, immutable afterwards.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec
from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from birthmark.core.config import Config, parse
from birthmark.core.errors import ConfigError
from birthmark.evidence.formats import FORMATS
from birthmark.pki.paths import TrustAnchors, read_trust

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class MakerEntry(Config, frozen=True):
    """`[[maker]]`: a chip maker, and the PEM file with its roots and AK CAs."""

    name: str
    trust: str


class ModelEntry(Config, frozen=True):
    """`[[model]]`: a chip model of a maker, and the ground on which it is endorsed."""

    id: str
    hw_type: str
    maker: str
    certification: str
    statement_types: tuple[str, ...]
    withdrawn: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    denied_firmware: tuple[str, ...] = ()


class EndorsementsFile(Config, frozen=True):
    """The file. `denied_aks` are SHA-256 fingerprints of attestation keys (`AttestationKey.fingerprint`)."""

    maker: tuple[MakerEntry, ...]
    model: tuple[ModelEntry, ...]
    denied_aks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChipModel:
    """A chip model that we endorse. `id` is the model's name everywhere; for a TPM it is its tpmModel attribute."""

    id: str
    hw_type: ObjectIdentifier
    maker: str
    certification: str
    statement_types: tuple[ObjectIdentifier, ...]
    withdrawn: datetime | None = None
    denied_firmware: tuple[str, ...] = ()

    def is_withdrawn(self, at: datetime) -> bool:
        """Whether the endorsement had ended by then."""
        return self.withdrawn is not None and self.withdrawn <= at


@dataclass(frozen=True, slots=True)
class Endorsements:
    """The makers' trust in one piece, which maker each root belongs to, the models, and the denied AKs."""

    trust: TrustAnchors
    maker_of_root: Mapping[x509.Certificate, str]
    models: tuple[ChipModel, ...]
    denied_aks: frozenset[str] = frozenset()

    def model(self, maker: str, hw_type: ObjectIdentifier, tpm_model: str | None) -> ChipModel | None:
        """Return the model that a maker's AK certificate speaks of. All TPMs share a hw_type: `tpm_model` decides."""
        for model in self.models:
            if (model.maker, model.hw_type) == (maker, hw_type) and tpm_model in {None, model.id}:
                return model
        return None


def read_endorsements(path: Path, read: Callable[[Path], bytes]) -> Endorsements:
    """
    Return the endorsements in the TOML file at `path`, whose PEM files lie beside it. `read` gets both.

    Raises:
        ConfigError, PathError: as `build`; what `read` raises passes through.

    """
    file = parse(EndorsementsFile, read(path), str(path))
    return build(file, {maker.trust: read(path.parent / maker.trust) for maker in file.maker})


def build(file: EndorsementsFile, pem_by_name: Mapping[str, bytes]) -> Endorsements:
    """
    Return the endorsements of a file; `pem_by_name` holds the content of each `trust` that its makers name.

    Raises:
        ConfigError: a value that contradicts another, is missing or malformed.
        PathError: a maker's certificate is too weak to be trusted.

    """
    trusts = {maker.name: read_trust(_pem(maker, pem_by_name), maker.trust) for maker in file.maker}
    if len(trusts) != len(file.maker) or not trusts:
        raise ConfigError("endorsements: there must be makers, each named once")
    return Endorsements(
        trust=_joined(trusts.values()),
        maker_of_root=_roots(trusts),
        models=_models(file, trusts),
        denied_aks=frozenset(_fingerprint(text) for text in file.denied_aks),
    )


def _pem(maker: MakerEntry, pem_by_name: Mapping[str, bytes]) -> bytes:
    if maker.trust not in pem_by_name:
        raise ConfigError(f"endorsements: there is no {maker.trust} for maker {maker.name!r}")
    return pem_by_name[maker.trust]


def _joined(trusts: Iterable[TrustAnchors]) -> TrustAnchors:
    # One store of all roots: a path is validated once, and the root at its end says which maker endorses the chip.
    every = tuple(trusts)
    return TrustAnchors(
        tuple(chain.from_iterable(trust.certs for trust in every)),
        tuple(chain.from_iterable(trust.intermediates for trust in every)),
    )


def _roots(trusts: Mapping[str, TrustAnchors]) -> Mapping[x509.Certificate, str]:
    roots: dict[x509.Certificate, str] = {}
    for maker, trust in trusts.items():
        for root in trust.certs:
            if roots.setdefault(root, maker) != maker:
                raise ConfigError(f"endorsements: {maker!r} and {roots[root]!r} cannot have the same root")
    return MappingProxyType(roots)


def _models(file: EndorsementsFile, makers: Iterable[str]) -> tuple[ChipModel, ...]:
    models = tuple(_model(entry) for entry in file.model)
    for index, model in enumerate(models):
        if model.maker not in makers:
            raise ConfigError(f"endorsements: model {model.id!r} is of a maker {model.maker!r} that is not there")
        if any(model.id == earlier.id for earlier in models[:index]):
            raise ConfigError(f"endorsements: model {model.id!r} stands there twice")
    return models


def _model(entry: ModelEntry) -> ChipModel:
    types = tuple(_oid(text, entry.id) for text in entry.statement_types)
    for statement_type in types:
        if statement_type not in FORMATS:
            raise ConfigError(
                f"endorsements: model {entry.id!r}: nobody reads statements {statement_type.dotted_string}"
            )
    return ChipModel(
        id=entry.id,
        hw_type=_oid(entry.hw_type, entry.id),
        maker=entry.maker,
        certification=entry.certification,
        statement_types=types,
        withdrawn=entry.withdrawn,
        denied_firmware=entry.denied_firmware,
    )


def _oid(text: str, model: str) -> ObjectIdentifier:
    try:
        return ObjectIdentifier(text)
    except ValueError as error:
        raise ConfigError(f"endorsements: model {model!r}: {text!r} is not an object identifier") from error


def _fingerprint(text: str) -> str:
    if _FINGERPRINT.fullmatch(text) is None:
        raise ConfigError(f"endorsements: {text[:80]!r} is not a SHA-256 in lower-case hexadecimal")
    return text
