# SPDX-License-Identifier: Apache-2.0
"""
The appraisal: is this evidence from an endorsed chip, about this key, and does the key live as it should?

One function for everyone: the rig's pre-check, the CA, the cloud, the auditor. Pure and total: whatever the bytes
are, the answer is a Verdict. Freshness is not judged here: only the CA knows its nonces (`AttestedKey.nonce`).

1. bundle     it is there, well formed, of a format that we read
              evidence.missing | malformed | statement.unknown
2. ak         the AK certificate chains to an endorsed maker's root, and every certificate sent is on that path
              evidence.ak.unendorsed | path | algorithm | ca-denied | denied
3. model      the chip's model is endorsed for this format, not withdrawn, and not all its certifications are revoked
              evidence.model.unknown | model.withdrawn | certification.revoked | statement.unendorsed
4. signature  the AK signed the statement
              evidence.malformed | signature | key.mismatch (a TPM's statement about another key than it shows)
5. chip       the statement names the AK's own chip, which was delivered and is not denied, with debug closed and
              firmware that is neither denied nor too old
              evidence.chip.mismatch | chip.undelivered | chip.denied | chip.debug | firmware.denied | firmware.minimum
6. key        the attested key is the expected one, made in the chip, cannot leave it, and signs only
              evidence.key.mismatch | key.imported | key.extractable | key.purpose

Steps 1 to 4 stop at their first failure, since nothing after it would mean anything; 5 and 6 collect all that they
find.

Step 3 ties the format to the model for a reason. A restricted TPM key signs foreign bytes too, as long as they do not
begin like a TPMS_ATTEST: without the tie, a TPM's AK would sign PKIX Evidence of anyone's invention.
"""

from collections.abc import Iterator
from datetime import datetime
from types import MappingProxyType
from typing import Final

from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.evidence.attestation_key import AttestationKey, read_attestation_key
from birthmark.evidence.bundle import AttestationBundle, read_bundle
from birthmark.evidence.claims import KeyClaims
from birthmark.evidence.endorsements import ChipModel, Endorsements
from birthmark.evidence.errors import AttestationKeyError, EvidenceError
from birthmark.evidence.firmware import read_version
from birthmark.evidence.formats import FORMATS
from birthmark.evidence.verdict import AttestedKey, Chip, Finding, Verdict
from birthmark.pki.errors import PathError
from birthmark.pki.paths import Purpose, validate_path
from birthmark.pki.reading import subject_text

_PATH_FINDINGS: Final = MappingProxyType(
    {"pki.path.unknown-issuer": "evidence.ak.unendorsed", "pki.path.algorithm": "evidence.ak.algorithm"}
)


def appraise(bundle_der: bytes, spki: bytes, endorsements: Endorsements, at: datetime) -> Verdict:
    """
    Return the verdict on a bundle as evidence for the key `spki` (canonical DER), at the moment `at` (aware).

    Never raises on what a peer may send. A Verdict without findings has `attested`; ask `require`.
    """
    passed: list[str] = []
    try:
        # 1. bundle
        bundle = _bundle(bundle_der)
        passed.append("evidence.bundle")
        # 2. ak
        maker = _maker(bundle, endorsements, at)
        ak = _attestation_key(bundle, endorsements)
        passed.append("evidence.ak")
        # 3. model
        model = _model(bundle, ak, maker, endorsements, at)
        passed.append("evidence.model")
        # 4. signature
        claims = FORMATS[bundle.statement_type](bundle.statement, ak)
        passed.append("evidence.signature")
    except DecodeError as error:
        return Verdict((Finding("evidence.malformed", error.message),), tuple(passed))
    except EvidenceError as error:
        return Verdict((Finding(error.finding, error.message),), tuple(passed))
    # 5. chip, 6. key
    findings = (
        *_about_the_chip(claims, ak, model),
        *_about_the_firmware(claims, model),
        *_about_this_one_chip(ak, model, endorsements),
        *_about_the_key(claims, ak, spki),
    )
    if findings:
        return Verdict(findings, tuple(passed))
    chip = Chip(maker, model.id, ak.chip_serial, claims.firmware, model.certification)
    attested = AttestedKey(claims.spki, claims.nonce, chip, bundle.statement_type, ak.fingerprint)
    return Verdict((), (*passed, "evidence.chip", "evidence.key"), attested)


def _bundle(bundle_der: bytes) -> AttestationBundle:
    if not bundle_der:
        raise EvidenceError("there is no evidence", finding="evidence.missing")
    bundle = read_bundle(bundle_der)
    if bundle.statement_type not in FORMATS:
        raise EvidenceError(
            f"nobody reads statements of type {bundle.statement_type.dotted_string}",
            finding="evidence.statement.unknown",
        )
    return bundle


def _maker(bundle: AttestationBundle, endorsements: Endorsements, at: datetime) -> str:
    leaf, *others = bundle.certificates
    try:
        path = validate_path(leaf, others, endorsements.trust, at, Purpose.ATTESTATION_KEY)
    except PathError as error:
        finding = _PATH_FINDINGS.get(error.finding, "evidence.ak.path")
        raise AttestationKeyError(f"the AK certificate: {error.message}", finding=finding) from error
    # What no signature on this path covers could be changed unseen, so it may not be there.
    if any(certificate not in path for certificate in others):
        raise AttestationKeyError("the bundle carries a certificate that is not on the AK's path")
    denied = endorsements.denied_ca(path[1:])
    if denied is not None:
        raise AttestationKeyError(f"the key of {subject_text(denied)} is denied", finding="evidence.ak.ca-denied")
    return endorsements.maker_of_root[path[-1]]


def _attestation_key(bundle: AttestationBundle, endorsements: Endorsements) -> AttestationKey:
    ak = read_attestation_key(bundle.certificates[0])
    if ak.fingerprint in endorsements.denied_aks:
        raise AttestationKeyError(f"attestation key {ak.fingerprint} is denied", finding="evidence.ak.denied")
    return ak


def _model(
    bundle: AttestationBundle, ak: AttestationKey, maker: str, endorsements: Endorsements, at: datetime
) -> ChipModel:
    model = endorsements.model(maker, ak.hw_type, ak.tpm_model)
    if model is None:
        raise EvidenceError(
            f"no model of {maker} with hardware type {ak.hw_type.dotted_string} ({ak.tpm_model}) is endorsed",
            finding="evidence.model.unknown",
        )
    if model.is_withdrawn(at):
        raise EvidenceError(f"the endorsement of {model.id} was withdrawn", finding="evidence.model.withdrawn")
    if model.has_lost_its_certifications():
        raise EvidenceError(f"every certification of {model.id} is revoked", finding="evidence.certification.revoked")
    if bundle.statement_type not in model.statement_types:
        raise EvidenceError(
            f"{model.id} is not endorsed for statements of type {bundle.statement_type.dotted_string}",
            finding="evidence.statement.unendorsed",
        )
    return model


def _about_the_chip(claims: KeyClaims, ak: AttestationKey, model: ChipModel) -> Iterator[Finding]:
    if claims.hw_serial not in {None, ak.chip_serial}:
        yield Finding("evidence.chip.mismatch", f"the AK is of chip {ak.chip_serial}, not {claims.hw_serial}")
    if claims.hw_model not in {None, model.id}:
        yield Finding("evidence.chip.mismatch", f"the AK is of a {model.id}, not of a {claims.hw_model}")
    if claims.debug_disabled is False:
        yield Finding("evidence.chip.debug", "the chip can still be debugged")


def _about_the_firmware(claims: KeyClaims, model: ChipModel) -> Iterator[Finding]:
    if claims.firmware in model.denied_firmware:
        yield Finding("evidence.firmware.denied", f"firmware {claims.firmware} of {model.id} is denied")
    if model.minimum_firmware is not None:
        version = read_version(claims.firmware)
        # What cannot be compared is not known to be new enough.
        if version is None or version < model.minimum_firmware:
            yield Finding("evidence.firmware.minimum", f"firmware {claims.firmware} of {model.id} is too old")


def _about_this_one_chip(ak: AttestationKey, model: ChipModel, endorsements: Endorsements) -> Iterator[Finding]:
    if (model.maker, ak.chip_serial) in endorsements.denied_chips:
        yield Finding("evidence.chip.denied", f"chip {ak.chip_serial} of {model.maker} is denied")
    if not model.is_delivered(ak.chip_serial):
        yield Finding(
            "evidence.chip.undelivered", f"chip {ak.chip_serial} is on no delivery manifest of {model.maker} {model.id}"
        )


def _about_the_key(claims: KeyClaims, ak: AttestationKey, spki: bytes) -> Iterator[Finding]:
    if claims.spki != spki:
        yield Finding("evidence.key.mismatch", "the attested key is not the expected one")
    if not claims.made_in_chip:
        yield Finding("evidence.key.imported", "the key was not made in the chip")
    if claims.extractable:
        yield Finding("evidence.key.extractable", "the key can leave the chip, or could once")
    if not claims.sign_only:
        yield Finding("evidence.key.purpose", "the key may do more, or else, than sign")
    if fingerprint(claims.spki) == ak.fingerprint:
        # A device's key signs whatever its host hands it: as an AK it would sign evidence of anyone's invention.
        yield Finding("evidence.key.purpose", "the key is the attestation key itself")
