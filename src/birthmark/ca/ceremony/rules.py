# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a plan by itself, before anybody looks at disks and tokens. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from posixpath import dirname, normpath
from typing import Final, TypeAlias

from birthmark.ca.ceremony.file import CAUse, FileKey, Place, Role, SignerUse, Standing, TokenKey
from birthmark.ca.ceremony.plan import (
    Plan,
    PlannedCertificate,
    PlannedKey,
    PresentCertificate,
    bare_keys,
    public_key_file,
)
from birthmark.pki.algorithms import is_weaker
from birthmark.pki.errors import KeyPolicyRefused, MechanismMissing
from birthmark.pki.keys.pkcs11.objects import recipe
from birthmark.pki.keys.pkcs11.policy import KeyUse, check_new, use_of
from birthmark.pki.names import COMMON_NAME_MAX

REHEARSAL: Final = "REHEARSAL"
CLOCK_BEFORE: Final = timedelta(days=1)
CLOCK_AFTER: Final = timedelta(days=90)
"""How long before and after the moment that the file names a ceremony may be held."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a plan cannot be run as it is: a dotted id, and the reason for people."""

    id: str
    text: str


Rule: TypeAlias = Callable[[Plan], Iterator[Problem]]


def broken_rules(plan: Plan) -> list[Problem]:
    """Return every rule that the plan breaks."""
    return [problem for rule in RULES for problem in rule(plan)]


def clock_problem(plan: Plan, at: datetime) -> Problem | None:
    """Return what is wrong with holding the ceremony now: an offline machine's clock is often years off."""
    if plan.rehearsal or plan.begins - CLOCK_BEFORE <= at <= plan.begins + CLOCK_AFTER:
        return None
    return Problem(
        "ceremony.clock", f"it is {at.isoformat()} by this machine's clock; planned is {plan.begins.isoformat()}"
    )


def _participants(plan: Plan) -> Iterator[Problem]:
    names = Counter(person.name for person in plan.participants)
    for name in (name for name, times in names.items() if times > 1):
        yield Problem("ceremony.participants", f"{name} is named twice: one person, one role")
    roles = {person.role for person in plan.participants}
    for role in (Role.ADMINISTRATOR, Role.WITNESS):
        if role not in roles:
            yield Problem("ceremony.participants", f"nobody is the {role.value}")


def _spare(plan: Plan) -> Iterator[Problem]:
    active = [name for name, standing in plan.standing.items() if standing is Standing.ACTIVE]
    spare = [name for name, standing in plan.standing.items() if standing is Standing.SPARE]
    if len(active) > 1:
        yield Problem("ceremony.spare", f"{' and '.join(active)} cannot both be active")
    if active and not spare:
        yield Problem("ceremony.spare", f"{active[0]} has no cold spare made in the same ceremony")
    places = {key.id: _container(key.place) for key in plan.keys}
    for name in spare:
        for other in active:
            if places[name] == places[other]:
                yield Problem("ceremony.spare", f"{name} and {other} are kept in one place, {places[name]}")


def _container(place: Place) -> str:
    """Return what is lost when one thing is lost: the token, or the medium or directory of a file."""
    return f"token {place.token}" if isinstance(place, TokenKey) else f"directory {_directory(place.file)}"


def _directory(file: str) -> str:
    return dirname(normpath(file)) or "."


def _names(plan: Plan) -> Iterator[Problem]:
    longest = COMMON_NAME_MAX if plan.rehearsal else COMMON_NAME_MAX - len(f"{REHEARSAL} ")
    names = {one.id: one.name for one in plan.certificates if one.profile != "rollover"}
    for who, name in {"organization": plan.organization, **names}.items():
        if len(name) > longest:
            yield Problem("ceremony.name", f"{who}: {name!r} has more than {longest} characters")
        if not plan.rehearsal and REHEARSAL in name:
            yield Problem("ceremony.name", f"{who}: this is no rehearsal, and {name!r} says that it is one")
    subjects = Counter(_subjects(plan))
    for subject in (subject for subject, times in subjects.items() if times > 1):
        yield Problem("ceremony.name", f"two keys have the name {subject}")


def _subjects(plan: Plan) -> Iterator[str]:
    yield from (certificate.subject for certificate in plan.certificates if certificate.profile != "rollover")
    yield from (present.subject for present in plan.present)


def _issuers(plan: Plan) -> Iterator[Problem]:
    kinds = {key.id: key.use for key in plan.keys} | {one.id: "root" if one.root else "CA" for one in plan.present}
    for certificate in plan.certificates:
        above, wanted = kinds[certificate.issuer].split(",")[0], _wanted_issuers(certificate)
        if wanted and above not in wanted:
            what = f"{certificate.id} ({certificate.profile}) cannot be signed by {certificate.issuer} ({above})"
            yield Problem("ceremony.issuer", f"{what}: only by {' or '.join(wanted)}")
        if certificate.profile == "rollover" and not kinds[certificate.key].startswith("root"):
            yield Problem("ceremony.issuer", f"{certificate.id}: {certificate.key} is no root")


def _wanted_issuers(certificate: PlannedCertificate) -> tuple[str, ...]:
    """Return who may sign: only roots sign CAs, and an issuing CA signs besides devices its responder, nothing else."""
    match certificate.profile:
        case "ca" | "rigs-ca" | "rollover":
            return ("root",)
        case SignerUse.OCSP.value:
            return (f"{CAUse.ISSUING.value} CA", "CA")
        case SignerUse.EAR.value:
            return (f"{CAUse.OPERATIONS.value} CA", "CA", "root")
    return ()


def _validity(plan: Plan) -> Iterator[Problem]:
    lives: dict[str, PlannedCertificate | PresentCertificate] = {one.id: one for one in plan.present}
    lives |= {one.id: one for one in plan.certificates}
    for certificate in plan.certificates:
        issuer = lives[certificate.issuer]
        if certificate.not_before >= certificate.not_after:
            yield Problem("ceremony.validity", f"{certificate.id} would end before it begins")
        if certificate.not_after > issuer.not_after:
            dates = f"{certificate.not_after:%Y-%m-%d}, {issuer.not_after:%Y-%m-%d}"
            yield Problem("ceremony.validity", f"{certificate.id} would outlive {issuer.id} ({dates})")
        if certificate.profile != "rollover" and certificate.not_before < issuer.not_before:
            yield Problem("ceremony.validity", f"{certificate.id} would begin before {issuer.id}")


def _strength(plan: Plan) -> Iterator[Problem]:
    algorithms = {key.id: key.algorithm for key in plan.keys}
    for certificate in plan.certificates:
        if certificate.profile == "rollover":
            continue
        mine, above = algorithms[certificate.key], algorithms[certificate.issuer]
        if is_weaker(above, mine):
            text = f"{certificate.issuer} ({above.value}) is weaker than {certificate.id} ({mine.value}) under it"
            yield Problem("ceremony.algorithm", text)


def _places(plan: Plan) -> Iterator[Problem]:
    listed = {section.label for section in plan.tokens}
    for key in plan.keys:
        if isinstance(key.place, TokenKey) and key.place.token not in listed:
            yield Problem("ceremony.token", f"key {key.id}: there is no [[token]] {key.place.token!r}")
    for label, times in Counter(section.label for section in plan.tokens).items():
        if times > 1:
            yield Problem("ceremony.token", f"the token {label!r} is listed {times} times")
    labels = Counter((key.place.token, key.place.label) for key in plan.keys if isinstance(key.place, TokenKey))
    for (token, label), times in labels.items():
        if times > 1:
            yield Problem("ceremony.key-place", f"{times} keys have the label {label!r} in token {token}")
    for file, times in Counter(normpath(name) for name in planned_files(plan)).items():
        if times > 1:
            yield Problem("ceremony.file", f"{file} would be written {times} times")


def _key_policy(plan: Plan) -> Iterator[Problem]:
    """Hold the keys that are made to the key policy: algorithms for each use, labels in tokens that say the use."""
    for key in plan.keys:
        if not key.present:
            try:
                _require_policy(key, KeyUse(key.use.split(",")[0].removesuffix(" CA")))
            except (KeyPolicyRefused, MechanismMissing) as error:
                yield Problem(error.finding, f"key {key.id}: {error.message}")


def _require_policy(key: PlannedKey, use: KeyUse) -> None:
    check_new(use.value, key.algorithm)
    if not isinstance(key.place, TokenKey):
        return
    recipe(key.algorithm)
    if use_of(key.place.label) is not use:
        raise KeyPolicyRefused(f"it is labelled {key.place.label!r}, as for another use", finding="key.policy.label")


def planned_files(plan: Plan) -> list[str]:
    """Return every file that the plan makes, but for journal and transcript."""
    names = [f"{plan.folder}/{one.id}.pem" for one in plan.present] + [one.file for one in plan.certificates]
    for key in plan.keys:
        if isinstance(key.place, FileKey) and not key.present:
            names += [key.place.file, *key.place.passphrase_files]
    names += [one.file for one in plan.bundles]
    return names + [f"{plan.folder}/{public_key_file(key)}" for key in bare_keys(plan)]


RULES: Final[tuple[Rule, ...]] = (_participants, _spare, _names, _issuers, _validity, _strength, _places, _key_policy)


def remarks(plan: Plan) -> list[str]:
    """Return what a reviewer should know and may accept."""
    said = [_software_remark(key) for key in plan.keys if not key.present and isinstance(key.place, FileKey)]
    return [text for text in said if text]


def _software_remark(key: PlannedKey) -> str:
    if not isinstance(key.place, FileKey):
        return ""
    if not key.use.startswith("root"):
        return f"key {key.id} ({key.use}) is used every day and lives in a file: not for production"
    folders = {_directory(name) for name in (key.place.file, *key.place.passphrase_files)}
    return "" if len(folders) > 1 else f"key {key.id} and its whole passphrase are kept in one place, {folders.pop()}"
