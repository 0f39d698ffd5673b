# SPDX-License-Identifier: Apache-2.0
"""
What a ceremony will make, down to each date and extension: the text that is reviewed, read aloud and then run.

`canonical` gives the exact bytes that the plan's SHA-256 is taken over; `plan --json` prints them.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from birthmark.ca.ceremony.errors import CeremonyRefused
from birthmark.ca.ceremony.file import (
    BundleSection,
    CASection,
    CAUse,
    CeremonyFile,
    Id,
    KeySection,
    Participant,
    Place,
    PresentSection,
    RolloverSection,
    RootSection,
    SignerSection,
    SignerUse,
    Standing,
    TokenKey,
    TokenSection,
)
from birthmark.core.registry import ID_KP_CMC_RA
from birthmark.pki import names
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm
from birthmark.pki.authorities import BACKDATE
from birthmark.pki.keys.pkcs11.policy import ATTRIBUTE_RULES, Said
from birthmark.pki.rollover import Validity, new_with_old_validity, old_with_new_validity

FORMAT: Final = "birthmark.ceremony-plan.v1"
CERTIFICATE_SUFFIX: Final = ".pem"
PUBLIC_KEY_SUFFIX: Final = ".pub.pem"

_CA_EXTENSIONS: Final = ("keyUsage critical keyCertSign cRLSign", "subjectKeyIdentifier")
_SIGNER_EXTENSIONS: Final = (
    "authorityKeyIdentifier",
    "keyUsage critical digitalSignature",
    "basicConstraints critical CA:FALSE",
    "subjectKeyIdentifier",
)
PROFILES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "root": ("basicConstraints critical CA:TRUE", *_CA_EXTENSIONS),
        "ca": ("authorityKeyIdentifier", "basicConstraints critical CA:TRUE pathlen:0", *_CA_EXTENSIONS),
        "rigs-ca": (
            "authorityKeyIdentifier",
            "basicConstraints critical CA:TRUE pathlen:0",
            *_CA_EXTENSIONS,
            f"extendedKeyUsage clientAuth {ID_KP_CMC_RA.dotted_string}",
        ),
        "rollover": ("authorityKeyIdentifier", "basicConstraints critical CA:TRUE", *_CA_EXTENSIONS),
        "ocsp": (*_SIGNER_EXTENSIONS, "extendedKeyUsage OCSPSigning", "ocspNoCheck"),
        "ear": _SIGNER_EXTENSIONS,
    }
)
"""The extensions of each profile, in their order; `certificates.extension_texts` reads them back from what was made."""

TOKEN_ATTRIBUTES: Final = tuple(
    f"CKA_{rule.name}={str(rule.value).lower()}" for rule in ATTRIBUTE_RULES if rule.said is not Said.OFFERED
)
"""What the token must say of a private key that was made in it; the transcript holds what it did say."""

FILE_ATTRIBUTES: Final = ("PKCS#8", "PBES2", "AES-256-CBC", "mode 0600")
"""How a private key in a file is kept."""


CertificateId = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,79}$")]
"""Names a file in the ceremony's folder: no path."""


class PlannedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key that is made, or that is there (`present`) and used."""

    id: Id
    use: str
    algorithm: KeyAlgorithm
    place: Place
    attributes: tuple[str, ...]
    present: bool


class PlannedCertificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A certificate that is made: the key `key` under the name `subject`, signed by the key `issuer`."""

    id: CertificateId
    profile: str
    subject: str
    name: str
    key: str
    issuer: str
    not_before: datetime
    not_after: datetime
    extensions: tuple[str, ...]
    file: str


class PlannedBundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A PEM file with several certificates."""

    file: str
    certificates: tuple[str, ...]


class PresentCertificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A root or CA that was there before; its SHA-256 makes a plan with another certificate another plan."""

    id: Id
    file: str
    subject: str
    name: str
    organization: str
    algorithm: KeyAlgorithm
    not_before: datetime
    not_after: datetime
    sha256: str
    root: bool


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole ceremony. Paths are relative to the ceremony's file."""

    plan: Literal["birthmark.ceremony-plan.v1"] = FORMAT
    rehearsal: bool
    title: str
    organization: str
    begins: datetime
    folder: str
    participants: tuple[Participant, ...]
    tokens: tuple[TokenSection, ...]
    present: tuple[PresentCertificate, ...]
    keys: tuple[PlannedKey, ...]
    certificates: tuple[PlannedCertificate, ...]
    bundles: tuple[PlannedBundle, ...]
    standing: dict[str, Standing]


def canonical(plan: Plan) -> bytes:
    """Return the plan as JSON: sorted keys, no spaces, one line end. The same plan always gives the same bytes."""
    return msgspec.json.encode(plan, order="sorted") + b"\n"


def digest(plan: Plan) -> str:
    """Return the SHA-256 of `canonical`, in hexadecimal."""
    return hashlib.sha256(canonical(plan)).hexdigest()


def bare_keys(plan: Plan) -> tuple[str, ...]:
    """Return the keys that are made and get no certificate: their public halves are written instead."""
    certified = {certificate.key for certificate in plan.certificates}
    return tuple(key.id for key in plan.keys if not key.present and key.id not in certified)


def public_key_file(key: str) -> str:
    """Return the name, in the ceremony's folder, of the public half of a key that has no certificate."""
    return f"{key}{PUBLIC_KEY_SUFFIX}"


def make_plan(file: CeremonyFile, present: Mapping[str, x509.Certificate], *, rehearsal: bool = False) -> Plan:
    """
    Return what the file would make. `present` holds the certificates of its `[[present]]` sections by id.

    Raises:
        CeremonyRefused: an id is used twice, or refers to nothing: there is no plan then.

    """
    _unique(file)
    return _Draft(file, present).plan(rehearsal=rehearsal)


def _unique(file: CeremonyFile) -> None:
    sections: tuple[KeySection, ...] = (*file.present, *file.root, *file.ca, *file.signer)
    ids = [section.id for section in sections]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise CeremonyRefused(f"the id {twice[0]!r} is given twice", finding="ceremony.plan.id")


_Made: TypeAlias = RootSection | CASection | SignerSection
_Certificate: TypeAlias = PlannedCertificate | PresentCertificate


class _Draft:
    """A plan in the making: remembers what has been planned, for what hangs under it."""

    def __init__(self, file: CeremonyFile, present: Mapping[str, x509.Certificate]) -> None:
        self._file = file
        self._begins = file.begins.astimezone(UTC).replace(microsecond=0)
        self._present = {section.id: _present(section, present[section.id]) for section in file.present}
        self._present_keys = tuple(_present_key(section, present[section.id]) for section in file.present)
        self._organizations = {one.id: one.organization for one in self._present.values()}
        self._certificates: dict[str, PlannedCertificate] = {}

    def plan(self, *, rehearsal: bool) -> Plan:
        file = self._file
        made: tuple[_Made, ...] = (*file.root, *file.ca, *file.signer)
        for section in made:
            if not _is_bare(section):
                self._certify(section)
        for rollover in file.rollover:
            self._roll(rollover)
        return Plan(
            rehearsal=rehearsal,
            title=file.title,
            organization=file.organization,
            begins=self._begins,
            folder=file.folder,
            participants=file.participant,
            tokens=file.token,
            present=tuple(self._present.values()),
            keys=(*self._present_keys, *map(_key, made)),
            certificates=tuple(self._certificates.values()),
            bundles=tuple(map(self._bundle, file.bundle)),
            standing={root.id: root.standing for root in file.root},
        )

    def _certify(self, section: _Made) -> None:
        issuer = section.id if isinstance(section, RootSection) else section.issuer
        name, days = section.name, section.validity_days
        if issuer is None or name is None or days is None:
            message = f"signer {section.id!r} has a certificate, so it wants a name, an issuer and validity_days"
            raise CeremonyRefused(message, finding="ceremony.plan.signer")
        organization = self._file.organization if issuer == section.id else self._organizations.get(issuer)
        if organization is None:
            raise _unknown(section.id, issuer)
        self._organizations[section.id] = organization
        profile = _profile(section)
        self._add(
            PlannedCertificate(
                id=section.id,
                profile=profile,
                subject=names.named(organization, name).rfc4514_string(),
                name=name,
                key=section.id,
                issuer=issuer,
                not_before=self._begins - BACKDATE,
                not_after=self._begins + timedelta(days=days),
                extensions=PROFILES[profile],
                file=self._path(section.id),
            )
        )

    def _roll(self, rollover: RolloverSection) -> None:
        old, new = self._find("rollover", rollover.old), self._find("rollover", rollover.new)
        lives = (old.not_before, old.not_after), (new.not_before, new.not_after)
        self._cross(old, new, old_with_new_validity(*lives))
        self._cross(new, old, new_with_old_validity(*lives))

    def _cross(self, subject: _Certificate, issuer: _Certificate, validity: Validity) -> None:
        name = f"{subject.id}-with-{issuer.id}"
        self._add(
            PlannedCertificate(
                id=name,
                profile="rollover",
                subject=subject.subject,
                name=subject.name,
                key=subject.id,
                issuer=issuer.id,
                not_before=validity[0],
                not_after=validity[1],
                extensions=PROFILES["rollover"],
                file=self._path(name),
            )
        )

    def _add(self, certificate: PlannedCertificate) -> None:
        if certificate.id in self._certificates or certificate.id in self._present:
            raise CeremonyRefused(f"certificate {certificate.id!r} is planned twice", finding="ceremony.plan.id")
        self._certificates[certificate.id] = certificate

    def _bundle(self, section: BundleSection) -> PlannedBundle:
        for name in section.certificates:
            self._find(f"bundle {section.file}", name)
        return PlannedBundle(file=section.file, certificates=section.certificates)

    def _find(self, who: str, name: str) -> _Certificate:
        found = self._certificates.get(name) or self._present.get(name)
        if found is None:
            raise _unknown(who, name)
        return found

    def _path(self, name: str) -> str:
        return f"{self._file.folder}/{name}{CERTIFICATE_SUFFIX}"


def _is_bare(section: _Made) -> bool:
    """Tell whether the key gets no certificate: a ledger's is known by its bytes."""
    return isinstance(section, SignerSection) and section.use is SignerUse.LEDGER


def _profile(section: _Made) -> str:
    match section:
        case RootSection():
            return "root"
        case CASection():
            return "rigs-ca" if section.use is CAUse.RIGS else "ca"
        case SignerSection():
            return section.use.value


def _unknown(who: str, name: str) -> CeremonyRefused:
    hint = "an issuer stands before what hangs under it: [[present]], [[root]], [[ca]], [[signer]]"
    return CeremonyRefused(f"{who} refers to {name!r}, which is not there", hint=hint, finding="ceremony.plan.id")


def _key(section: _Made) -> PlannedKey:
    match section:
        case RootSection():
            use = f"root, {section.standing.value}"
        case CASection():
            use = f"{section.use.value} CA"
        case SignerSection():
            use = section.use.value
    return _planned_key(section.id, use, section.algorithm, section.key, present=False)


def _present_key(section: PresentSection, certificate: x509.Certificate) -> PlannedKey:
    algorithm = key_algorithm(certificate.public_key())
    return _planned_key(section.id, "present", algorithm, section.key, present=True)


def _planned_key(name: str, use: str, algorithm: KeyAlgorithm, place: Place, *, present: bool) -> PlannedKey:
    attributes = TOKEN_ATTRIBUTES if isinstance(place, TokenKey) else FILE_ATTRIBUTES
    return PlannedKey(id=name, use=use, algorithm=algorithm, place=place, attributes=attributes, present=present)


def _present(section: PresentSection, certificate: x509.Certificate) -> PresentCertificate:
    organizations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return PresentCertificate(
        id=section.id,
        file=section.certificate,
        subject=certificate.subject.rfc4514_string(),
        name=names.common_name_of(certificate.subject),
        organization=str(organizations[0].value),
        algorithm=key_algorithm(certificate.public_key()),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        sha256=certificate.fingerprint(SHA256()).hex(),
        root=certificate.subject == certificate.issuer,
    )
