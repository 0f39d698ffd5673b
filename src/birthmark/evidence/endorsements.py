# SPDX-License-Identifier: Apache-2.0
"""
Whom we believe: chip makers by their roots, models with their certification, what was delivered, and what is denied.

Written by a person as TOML (docs/reference/endorsements.md), read here strictly, immutable afterwards. Its digest names
the policy: two files with the same digest decide alike.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier

from birthmark.core.config import parse
from birthmark.core.errors import ConfigError, DecodeError
from birthmark.evidence.firmware import Version, read_version
from birthmark.evidence.formats import FORMATS
from birthmark.evidence.policy.calendars import NO_SCHEDULE, Schedule, schedule, used_calendars
from birthmark.evidence.policy.certifications import (
    NO_REQUIREMENT,
    Certification,
    Requirement,
    of_model,
    read_certifications,
    requirement,
)
from birthmark.evidence.policy.file import CalendarEntry, EndorsementsFile, MakerEntry, ModelEntry, named_files
from birthmark.evidence.policy.manifests import Serials, deliveries_of, read_manifest
from birthmark.pki.anchors import Bundle, Notice, joined, read_anchors, read_bundle
from birthmark.pki.paths import TrustAnchors

__all__ = [
    "ChipModel",
    "Endorsements",
    "EndorsementsFile",
    "MakerEntry",
    "ModelEntry",
    "build",
    "files_of_canonical",
    "read_canonical",
    "read_endorsements",
]


CANONICAL_MAX_BYTES: Final = 16_777_216
"""Several times the file that it was made of, which has at most 4 MiB."""
_KEYS_REMEMBERED = 1_024
_CANONICAL: Final = tuple[tuple[EndorsementsFile, dict[str, CalendarEntry]], dict[str, str]]


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
    minimum_firmware: Version | None = None
    certifications: tuple[Certification, ...] = ()
    deliveries: tuple[Serials, ...] | None = None
    """The manifests that a chip must be on one of; None: no manifest holds for this model."""

    def is_withdrawn(self, at: datetime) -> bool:
        """Whether the endorsement had ended by then."""
        return self.withdrawn is not None and self.withdrawn <= at

    def is_delivered(self, serial: str) -> bool:
        """Whether the chip is on a manifest, or no manifest is asked for."""
        return self.deliveries is None or any(serial in serials for serials in self.deliveries)

    def has_lost_its_certifications(self) -> bool:
        """Whether there were certifications on file and every one of them is revoked."""
        return bool(self.certifications) and all(each.status == "revoked" for each in self.certifications)


@dataclass(frozen=True, slots=True)
class ProfileTerms:
    """What is demanded, beyond the endorsement, before a certificate of a profile is issued."""

    schedule: Schedule = NO_SCHEDULE
    requirement: Requirement = NO_REQUIREMENT


NO_TERMS = ProfileTerms()


@dataclass(frozen=True, slots=True)
class Endorsements:
    """The makers' trust in one piece, which maker each root belongs to, the models, and who and what is denied."""

    trust: TrustAnchors
    maker_of_root: Mapping[x509.Certificate, str]
    models: tuple[ChipModel, ...]
    denied_aks: frozenset[str] = frozenset()
    denied_ak_cas: frozenset[str] = frozenset()
    denied_chips: frozenset[tuple[str, str]] = frozenset()
    """Maker and serial."""
    profiles: Mapping[str, ProfileTerms] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    """What a reviewer should know about the anchors."""
    file: EndorsementsFile = field(default_factory=lambda: EndorsementsFile(maker=(), model=()), repr=False)
    """What all this was built from."""
    digest: str = ""
    """SHA-256 in hexadecimal over the meaning of the file and the content of all files that it names."""
    canonical: bytes = field(default=b"", repr=False)
    """What `digest` is the digest of: all that the file means, calendars too, and the digests of what it names."""

    def model(self, maker: str, hw_type: ObjectIdentifier, tpm_model: str | None) -> ChipModel | None:
        """Return the model that a maker's AK certificate speaks of. All TPMs share a hw_type: `tpm_model` decides."""
        for model in self.models:
            if (model.maker, model.hw_type) == (maker, hw_type) and tpm_model in {None, model.id}:
                return model
        return None

    def terms(self, profile: str) -> ProfileTerms:
        """Return what a profile demands: nothing, when the policy does not speak of it."""
        return self.profiles.get(profile, NO_TERMS)

    def denied_ca(self, path: Iterable[x509.Certificate]) -> x509.Certificate | None:
        """Return the first of these CAs whose key is denied."""
        if not self.denied_ak_cas:
            return None
        return next((authority for authority in path if key_fingerprint(authority) in self.denied_ak_cas), None)


@lru_cache(maxsize=_KEYS_REMEMBERED)
def key_fingerprint(authority: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate's SubjectPublicKeyInfo in hexadecimal: how the key of an AK CA is denied."""
    spki = authority.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def read_endorsements(path: Path, read: Callable[[Path], bytes]) -> Endorsements:
    """
    Return the endorsements in the TOML file at `path`; the files that it names lie beside it. `read` gets them all.

    Raises:
        ConfigError, PathError: as `build`; what `read` raises passes through.

    """
    file = parse(EndorsementsFile, read(path), str(path))
    return build(file, {name: read(path.parent / name) for name in named_files(file)})


def build(file: EndorsementsFile, content_by_name: Mapping[str, bytes]) -> Endorsements:
    """
    Return the endorsements of a file; `content_by_name` holds the content of each file that it names.

    Raises:
        ConfigError: a value that contradicts another, is missing or malformed.
        PathError: a maker's certificate is too weak to be trusted.

    """
    return _built(file, used_calendars(file.profile, file.calendar), content_by_name)


def read_canonical(data: bytes, content_by_sha256: Mapping[str, bytes]) -> Endorsements:
    """
    Return the endorsements of a canonical form: what was in force, whatever calendars this program comes with.

    `content_by_sha256` holds the content of each file that it names, by its digest. `digest` is that of the data.

    Raises:
        DecodeError: evidence.policy.malformed, not the one form of what this program understands; .missing, a file
            is not there or is another one.
        ConfigError, PathError: as `build`.

    """
    form = _read_form(data)
    contents = {name: content_by_sha256.get(sha256, b"") for name, sha256 in form.files.items()}
    for name, sha256 in form.files.items():
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise DecodeError(f"the policy's file {name[:200]} is not there", finding="evidence.policy.missing")
    return _built(form.file, form.calendars, contents)


def files_of_canonical(data: bytes) -> Mapping[str, str]:
    """Return the SHA-256 of each file that a canonical form names, by name. Raises DecodeError as `read_canonical`."""
    return _read_form(data).files


class _Form(NamedTuple):
    file: EndorsementsFile
    calendars: dict[str, CalendarEntry]
    files: dict[str, str]


def _read_form(data: bytes) -> _Form:
    if len(data) > CANONICAL_MAX_BYTES:
        told = f"a policy of {len(data)} bytes; at most {CANONICAL_MAX_BYTES} are read"
        raise DecodeError(told, finding="evidence.policy.malformed")
    try:
        (file, calendars), files = msgspec.json.decode(data, type=_CANONICAL)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a policy that is understood: {error}", finding="evidence.policy.malformed") from error
    if _canonical([file, calendars], files) != data:
        raise DecodeError("the policy is not in its one form", finding="evidence.policy.malformed")
    return _Form(file, calendars, files)


def _built(
    file: EndorsementsFile, calendars: dict[str, CalendarEntry], content_by_name: Mapping[str, bytes]
) -> Endorsements:
    for name in named_files(file):
        if name not in content_by_name:
            raise ConfigError(f"endorsements: there is no {name}")
    bundles = {maker.name: _bundle(maker, content_by_name) for maker in file.maker}
    if len(bundles) != len(file.maker) or not bundles:
        raise ConfigError("endorsements: there must be makers, each named once")
    terms = {entry.name: ProfileTerms(schedule(entry, calendars), requirement(entry)) for entry in file.profile}
    if len(terms) != len(file.profile):
        raise ConfigError("endorsements: a profile stands there twice")
    sums = {name: hashlib.sha256(content_by_name[name]).hexdigest() for name in named_files(file)}
    # By meaning: comments, spaces and the order of keys do not count. The order of tables does.
    canonical = _canonical([file, calendars], sums)
    return Endorsements(
        trust=_joined(bundles.values()),
        maker_of_root=_roots(bundles),
        models=_models(file, bundles, _manifests(file, content_by_name)),
        denied_aks=frozenset(file.denied_aks),
        denied_ak_cas=frozenset(file.denied_ak_cas),
        denied_chips=_denied_chips(file, bundles),
        profiles=MappingProxyType(terms),
        notices=tuple(notice for bundle in bundles.values() for notice in bundle.notices()),
        file=file,
        digest=hashlib.sha256(canonical).hexdigest(),
        canonical=canonical,
    )


def _canonical(meaning: object, files: Mapping[str, str]) -> bytes:
    return msgspec.json.encode([meaning, files], order="sorted")


def _bundle(maker: MakerEntry, content_by_name: Mapping[str, bytes]) -> Bundle:
    readers = ((maker.trust, read_bundle), (maker.anchors, read_anchors))
    named = [(name, read) for name, read in readers if name is not None]
    if not named:
        raise ConfigError(f"endorsements: maker {maker.name!r} has neither `trust` nor `anchors`")
    return joined((read(content_by_name[name], name) for name, read in named), ", ".join(name for name, _ in named))


def _joined(bundles: Iterable[Bundle]) -> TrustAnchors:
    # One store of all roots: a path is validated once, and the root at its end says which maker endorses the chip.
    every = tuple(bundles)
    return TrustAnchors(
        tuple(anchor.certificate for bundle in every for anchor in bundle.anchors),
        tuple(chain.from_iterable(bundle.intermediates for bundle in every)),
    )


def _roots(bundles: Mapping[str, Bundle]) -> Mapping[x509.Certificate, str]:
    roots: dict[x509.Certificate, str] = {}
    for maker, bundle in bundles.items():
        for anchor in bundle.anchors:
            if roots.setdefault(anchor.certificate, maker) != maker:
                other = roots[anchor.certificate]
                raise ConfigError(f"endorsements: {maker!r} and {other!r} cannot have the same root")
    return MappingProxyType(roots)


def _manifests(file: EndorsementsFile, content_by_name: Mapping[str, bytes]) -> Mapping[str, Serials]:
    models = {(model.maker, model.id) for model in file.model}
    makers = {maker.name for maker in file.maker}
    manifests: dict[str, Serials] = {}
    for entry in file.delivery:
        if entry.maker not in makers or (entry.model is not None and (entry.maker, entry.model) not in models):
            raise ConfigError(f"endorsements: delivery {entry.file!r} is of a maker or model that is not there")
        if entry.file in manifests:
            raise ConfigError(f"endorsements: delivery {entry.file!r} stands there twice")
        manifests[entry.file] = read_manifest(content_by_name[entry.file], entry.sha256, entry.file)
    return manifests


def _denied_chips(file: EndorsementsFile, makers: Iterable[str]) -> frozenset[tuple[str, str]]:
    for entry in file.denied_chip:
        if entry.maker not in makers:
            raise ConfigError(f"endorsements: denied chip {entry.serial!r} is of a maker {entry.maker!r} not there")
    return frozenset((entry.maker, entry.serial) for entry in file.denied_chip)


def _models(file: EndorsementsFile, makers: Iterable[str], manifests: Mapping[str, Serials]) -> tuple[ChipModel, ...]:
    certifications = read_certifications(file.certification)
    seen: set[str] = set()
    for entry in file.model:
        if entry.maker not in makers:
            raise ConfigError(f"endorsements: model {entry.id!r} is of a maker {entry.maker!r} that is not there")
        if entry.id in seen:
            raise ConfigError(f"endorsements: model {entry.id!r} stands there twice")
        seen.add(entry.id)
    return tuple(
        _model(entry, of_model(entry, certifications), deliveries_of(entry.maker, entry.id, file.delivery, manifests))
        for entry in file.model
    )


def _model(
    entry: ModelEntry, certifications: tuple[Certification, ...], deliveries: tuple[Serials, ...] | None
) -> ChipModel:
    return ChipModel(
        id=entry.id,
        hw_type=_oid(entry.hw_type, entry.id),
        maker=entry.maker,
        certification=entry.certification,
        statement_types=_statement_types(entry),
        withdrawn=entry.withdrawn,
        denied_firmware=entry.denied_firmware,
        minimum_firmware=_minimum_firmware(entry),
        certifications=certifications,
        deliveries=deliveries,
    )


def _statement_types(entry: ModelEntry) -> tuple[ObjectIdentifier, ...]:
    types = tuple(_oid(text, entry.id) for text in entry.statement_types)
    for statement_type in types:
        if statement_type not in FORMATS:
            raise ConfigError(
                f"endorsements: model {entry.id!r}: nobody reads statements {statement_type.dotted_string}"
            )
    return types


def _minimum_firmware(entry: ModelEntry) -> Version | None:
    if entry.minimum_firmware is None:
        return None
    version = read_version(entry.minimum_firmware)
    if version is None:
        raise ConfigError(
            f"endorsements: model {entry.id!r}: {entry.minimum_firmware[:64]!r} is not numbers with dots between"
        )
    return version


def _oid(text: str, model: str) -> ObjectIdentifier:
    try:
        return ObjectIdentifier(text)
    except ValueError as error:
        raise ConfigError(f"endorsements: model {model!r}: {text!r} is not an object identifier") from error
