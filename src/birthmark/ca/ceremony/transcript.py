# SPDX-License-Identifier: Apache-2.0
"""
The transcript: what was planned, what was done and when, with which software, signed by the roots that were made.

`verify_transcript` needs the folder of the ceremony and nothing else: it holds every certificate that the plan names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.ca.ceremony import certificates, signature
from birthmark.ca.ceremony.acts import Bench, acts
from birthmark.ca.ceremony.errors import CeremonyChanged, TranscriptRefused
from birthmark.ca.ceremony.journal import Facts
from birthmark.ca.ceremony.plan import Plan, PlannedCertificate, digest, public_key_file
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError, DecodeError
from birthmark.core.ids import fingerprint
from birthmark.pki.algorithms import verifying_key
from birthmark.pki.authorities import Authority
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.paths import read_certificates

TYPE: Final = "ceremony+jws"


class RunRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One run: when it began, and the versions of what it used."""

    at: datetime
    software: dict[str, str]


class ActRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One act: when, and what there is to say of what it made."""

    act: str
    begun: datetime
    done: datetime
    facts: Facts


class Transcript(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole ceremony."""

    transcript: Literal["birthmark.ceremony-transcript.v1"] = "birthmark.ceremony-transcript.v1"
    rehearsal: bool
    plan_sha256: str
    plan: Plan
    runs: tuple[RunRecord, ...]
    acts: tuple[ActRecord, ...]
    finished: datetime


@dataclass(frozen=True, slots=True)
class Proven:
    """A transcript that holds, and the roots that say so."""

    transcript: Transcript
    signers: tuple[x509.Certificate, ...]


def signer_ids(plan: Plan) -> tuple[str, ...]:
    """Return who signs the transcript: the roots that are made, or where none is, what was there and signed."""
    return tuple(plan.standing) or tuple(present.id for present in plan.present)


def sign_transcript(transcript: Transcript, bench: Bench) -> bytes:
    """Return the signed text."""
    signers: list[Authority] = [bench.authority(name) for name in signer_ids(transcript.plan)]
    return signature.sign(msgspec.json.encode(transcript, order="sorted"), TYPE, signers)


def verify_transcript(path: Path) -> Proven:
    """
    Return the transcript, if it is signed by all that should sign and agrees with the certificates in its folder.

    Whether the roots are the right ones is for the reader to say: compare their fingerprints.

    Raises:
        TranscriptRefused: with what does not hold.
        ConfigError: a file cannot be read.

    """
    text = read_file(path)
    transcript = _read(text)
    plan = transcript.plan
    _require(digest(plan) == transcript.plan_sha256, "the plan in it is another one than its SHA-256 says", "plan")
    _require(plan.rehearsal == transcript.rehearsal, "it does not agree with its plan on being a rehearsal", "plan")
    _require_references(plan)
    there = _certificates(plan, path.parent)
    signers = _signers(text, plan, there)
    _require_acts(transcript)
    _require_certificates(transcript, there)
    _require_keys(transcript, path.parent)
    return Proven(transcript, signers)


def require_known(proven: Proven, plan_sha256: str | None, roots: Sequence[str]) -> None:
    """
    Pass a transcript of the plan that was read aloud, signed by each of the roots whose SHA-256 is given.

    Raises:
        TranscriptRefused: `ceremony.transcript.plan`, `ceremony.transcript.root`.

    """
    planned = proven.transcript.plan_sha256
    _require(plan_sha256 in (None, planned), f"it is of another plan, {planned}", "plan")
    signed = {sha256_of(certificate) for certificate in proven.signers}
    for root in roots:
        _require(root in signed, f"the root {root} has not signed it", "root")


def _read(text: bytes) -> Transcript:
    try:
        payload = signature.payload_of(text)
        transcript = msgspec.json.decode(payload, type=Transcript)
    except (DecodeError, msgspec.MsgspecError, ValueError) as error:
        raise TranscriptRefused(f"not a transcript: {error}", finding="ceremony.transcript.malformed") from error
    canonical = msgspec.json.encode(transcript, order="sorted") == payload
    _require(canonical, "not a transcript as we write it", "malformed")
    return transcript


def _require_references(plan: Plan) -> None:
    """A transcript comes from outside: its plan may refer to what it does not hold."""
    certified, keys = set(_certificate_ids(plan)), {key.id for key in plan.keys}
    wanted = {*plan.standing, *(name for bundle in plan.bundles for name in bundle.certificates)}
    wanted |= {one.issuer for one in plan.certificates}
    wanted |= {one.key for one in plan.certificates if one.profile == "rollover"}
    whole = wanted <= certified and {one.key for one in plan.certificates} <= keys
    _require(whole, "its plan refers to what it does not hold", "plan")


def _certificates(plan: Plan, folder: Path) -> dict[str, x509.Certificate]:
    """Return every certificate of the plan from the folder."""
    return {name: _certificate(folder / f"{name}.pem") for name in _certificate_ids(plan)}


def _certificate_ids(plan: Plan) -> tuple[str, ...]:
    return (*(one.id for one in plan.present), *(one.id for one in plan.certificates))


def _certificate(path: Path) -> x509.Certificate:
    try:
        found = read_certificates(read_file(path), str(path))
    except ConfigError as error:
        raise TranscriptRefused(error.message, finding="ceremony.transcript.certificate") from error
    _require(len(found) == 1, f"{path} holds {len(found)} certificates", "certificate")
    return found[0]


def _signers(text: bytes, plan: Plan, there: dict[str, x509.Certificate]) -> tuple[x509.Certificate, ...]:
    wanted = tuple(there[name] for name in signer_ids(plan))
    try:
        signed = signature.verify(text, TYPE, wanted)
    except DecodeError as error:
        raise TranscriptRefused(error.message, finding="ceremony.transcript.signature") from error
    _require(signed == wanted, "not every root of this ceremony has signed it", "signature")
    return signed


def _require_acts(transcript: Transcript) -> None:
    planned = [act.name for act in acts(transcript.plan)]
    _require([record.act for record in transcript.acts] == planned, "its acts are not those of its plan", "acts")
    moments = [transcript.runs[0].at] if transcript.runs else []
    for record in transcript.acts:
        moments += [record.begun, record.done]
    _require(bool(moments) and moments == sorted(moments), "its acts are not in the order of time", "time")
    _require(moments[-1] <= transcript.finished, "it ended before its last act", "time")


def _require_certificates(transcript: Transcript, there: dict[str, x509.Certificate]) -> None:
    plan, facts = transcript.plan, _facts(transcript)
    for present in plan.present:
        same = sha256_of(there[present.id]) == present.sha256
        _require(same, f"{present.id}.pem is not the certificate that was planned with", "certificate")
    for planned in plan.certificates:
        made = there[planned.id]
        same = facts[f"certificate {planned.id}"].get("sha256") == sha256_of(made)
        _require(same, f"{planned.id}.pem is not the certificate that was made", "certificate")
        _require_planned(planned, made, there)
        _require_key(planned, made, facts, there)
    for bundle in plan.bundles:
        content = b"".join(there[name].public_bytes(Encoding.PEM) for name in bundle.certificates)
        same = facts[f"bundle {bundle.file}"].get("sha256") == fingerprint(content)
        _require(same, f"bundle {bundle.file} is not made of its certificates", "bundle")


def _require_planned(planned: PlannedCertificate, made: x509.Certificate, there: dict[str, x509.Certificate]) -> None:
    try:
        issuer = None if planned.profile == "root" else there[planned.issuer]
        certificates.require_planned(planned, made, verifying_key(made.public_key()), issuer)
    except (CeremonyChanged, AlgorithmRefused) as error:
        raise TranscriptRefused(error.message, finding="ceremony.transcript.certificate") from error


def _require_key(
    planned: PlannedCertificate, made: x509.Certificate, facts: dict[str, Facts], there: dict[str, x509.Certificate]
) -> None:
    recorded = facts.get(f"key {planned.key}", {}).get("spki_sha256") or _spki_sha256(there[planned.key])
    _require(_spki_sha256(made) == recorded, f"{planned.id}.pem is for another key than was made", "key")


def _require_keys(transcript: Transcript, folder: Path) -> None:
    facts = _facts(transcript)
    for key in transcript.plan.keys:
        recorded = facts.get(f"key {key.id}")
        if recorded is not None:
            as_planned = set(key.attributes) <= set(recorded.get("attributes", ()))
            _require(as_planned, f"key {key.id} was not made with the attributes that were planned", "key")
    for name, recorded in facts.items():
        kind, _, key_id = name.partition(" ")
        if kind == "public-key":
            same = fingerprint(read_file(folder / public_key_file(key_id))) == recorded.get("sha256")
            _require(same, f"{public_key_file(key_id)} is not what was written", "key")


def _facts(transcript: Transcript) -> dict[str, Facts]:
    return {record.act: record.facts for record in transcript.acts}


def sha256_of(certificate: x509.Certificate) -> str:
    """Return the fingerprint of a certificate in hexadecimal."""
    return certificate.fingerprint(SHA256()).hex()


def _spki_sha256(certificate: x509.Certificate) -> str:
    return fingerprint(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _require(holds: bool, otherwise: str, finding: str) -> None:  # noqa: FBT001 a condition is what it is about
    if not holds:
        raise TranscriptRefused(otherwise, finding=f"ceremony.transcript.{finding}")
