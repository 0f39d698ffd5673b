# SPDX-License-Identifier: Apache-2.0
"""
What the cloud demands of an attested device's certificate. Pure: time, trust and revocations are arguments.

The steps, in order; the first that fails ends it, and all that it found is in the verdict
(docs/reference/cloud-verification.md has the same numbers):

1. chain       the certificate chains to a trust anchor          cloud.chain.unknown-issuer | malformed | algorithm
2. time        every certificate of the path is in its time      cloud.chain.expired | not-yet-valid
3. purpose     it may authenticate a TLS client                  cloud.chain.purpose
4. revocation  its issuer's list is in force and does not name it  cloud.revocation-unknown, cloud.revoked
5. evidence    it carries one bundle of evidence in id-pe-cmw,   cloud.evidence.missing | malformed
               or one signed attestation result
6. appraisal   an endorsed chip made the evidence; or a verifier evidence.*, evidence.result.*
               that is believed says that one did
7. key         the attested key is the certificate's key         cloud.key.mismatch (evidence.key.mismatch comes first)
8. chip        the SAN names the chip that the AK names          cloud.chip.mismatch | malformed
9. names       the subject carries one unit serial               cloud.names

Steps 1 to 3 are one path validation; its finding says which of them failed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from birthmark.cloud.errors import CloudRefused, RevocationUnknown
from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.core.ids import unit_serial
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.ear import NO_SIGNERS, ResultSigners
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.result import appraise_result
from birthmark.evidence.verdict import AttestedKey, Finding, Verdict, require
from birthmark.pki.cmw import Record, read_cmw_record
from birthmark.pki.crl import RevocationList
from birthmark.pki.errors import PathError
from birthmark.pki.names import read_hardware_module_name, unit_serial_of
from birthmark.pki.paths import Path, Purpose, TrustAnchors, validate_path

_PATH_STEPS: Final = ("cloud.chain", "cloud.time", "cloud.purpose")


@dataclass(frozen=True, slots=True)
class IssuerLists:
    """A CA and its lists, the full one or all partitions by index: they speak of its certificates and of no others."""

    issuer: x509.Certificate
    lists: tuple[RevocationList, ...]

    def deciding(self, serial: int) -> RevocationList:
        """Return the list that names this serial if one does."""
        return self.lists[serial % len(self.lists)]


@dataclass(frozen=True, slots=True)
class Revocations:
    """What is revoked: the lists by their issuer's name, and what was pushed since, by serial."""

    by_issuer: Mapping[x509.Name, IssuerLists]
    pushed: Mapping[int, datetime]
    until: datetime
    """The end of the list that ends first."""

    @classmethod
    def of(
        cls, lists: Iterable[tuple[x509.Certificate, RevocationList]], pushed: Mapping[int, datetime] | None = None
    ) -> "Revocations":
        """Return the sum of at least one list. A CA of which a partition is missing is left out: it is unknown."""
        found = list(lists)
        grouped: dict[x509.Name, list[tuple[x509.Certificate, RevocationList]]] = {}
        for issuer, crl in found:
            grouped.setdefault(issuer.subject, []).append((issuer, crl))
        complete = {name: _complete(members) for name, members in grouped.items()}
        return cls(
            {name: lists for name, lists in complete.items() if lists is not None},
            dict(pushed or {}),
            min(crl.next_update for _, crl in found),
        )

    def clear(self, issuer_name: x509.Name, serial: int, at: datetime) -> bool:
        """Say whether a certificate that was accepted before is not revoked; when nobody can know, it is not clear."""
        known = self.by_issuer.get(issuer_name)
        return known is not None and not self._names(known, serial, at)

    def require_not_revoked(self, path: Path, at: datetime) -> None:
        """Take step 4. Raises RevocationUnknown, or CloudRefused `cloud.revoked`."""
        leaf = path[0]
        known = self.by_issuer.get(leaf.issuer)
        # The key decides: a roll-over certificate of the same CA is as good as the one that is configured.
        if known is None or len(path) == 1 or path[1].public_key() != known.issuer.public_key():
            raise RevocationUnknown(f"no revocation list of {leaf.issuer.rfc4514_string()!r} is at hand")
        if self._names(known, leaf.serial_number, at):
            raise CloudRefused(f"certificate {leaf.serial_number:x} is revoked", finding="cloud.revoked")

    def _names(self, known: IssuerLists, serial: int, at: datetime) -> bool:
        pushed = self.pushed.get(serial)
        return serial in known.deciding(serial).serials or (pushed is not None and pushed <= at)


def _complete(members: Sequence[tuple[x509.Certificate, RevocationList]]) -> IssuerLists | None:
    """Return one CA's lists by the index of their partition, if all are there and count alike."""
    count = len(members)
    by_index = {0 if crl.partition is None else crl.partition.index: crl for _, crl in members}
    alike = all((1 if crl.partition is None else crl.partition.count) == count for _, crl in members)
    if not alike or len(by_index) < count:
        return None
    return IssuerLists(members[0][0], tuple(by_index[index] for index in range(count)))


@dataclass(frozen=True, slots=True)
class Believed:
    """Whom the cloud believes about chips: their makers and, if there are any, verifiers that appraised evidence."""

    endorsements: Endorsements
    signers: ResultSigners = NO_SIGNERS


def verify(
    leaf: x509.Certificate,
    chain: Sequence[x509.Certificate],
    trust: TrustAnchors,
    believed: Believed,
    revoked: Revocations | None,
    at: datetime,
) -> Verdict:
    """
    Return the verdict on `leaf`; never raises on what a peer may send.

    `chain` is what the peer sent beside its certificate: looked at, never trusted. Without `revoked` step 4 is not
    taken and does not stand among the verdict's steps: for an auditor without a list, never for the service.
    """
    passed: list[str] = []
    try:
        # 1, 2, 3. chain, time, purpose
        path = checked_path(leaf, chain, trust, at, "cloud")
        passed.extend(_PATH_STEPS)
        # 4. revocation
        if revoked is not None:
            revoked.require_not_revoked(path, at)
            passed.append("cloud.revocation")
        # 5. evidence
        record, value = _carried(leaf)
        passed.append("cloud.evidence")
        # 6. appraisal
        appraisal = _appraise(record, value, _spki(leaf), believed, at)
        passed.extend(appraisal.steps)
        if appraisal.findings:
            return Verdict(appraisal.findings, tuple(passed))
        attested = require(appraisal)
        passed.append("cloud.appraisal")
        # 7. key
        _same_key(leaf, attested)
        passed.append("cloud.key")
        # 8. chip
        _same_chip(leaf, attested)
        passed.append("cloud.chip")
        # 9. names
        unit_of(leaf)
        passed.append("cloud.names")
    except BirthmarkError as refusal:
        return Verdict(findings=(Finding(refusal.finding, refusal.message),), steps=tuple(passed))
    return Verdict(findings=(), steps=tuple(passed), attested=attested)


def checked_path(
    leaf: x509.Certificate, chain: Sequence[x509.Certificate], trust: TrustAnchors, at: datetime, door: str
) -> Path:
    """
    Take steps 1 to 3 for one of the two doors, "cloud" or "legacy", and return the path up to the anchor.

    Raises:
        CloudRefused: `<door>.chain.*`, after the path validation's own finding `pki.path.*`.

    """
    try:
        return validate_path(leaf, chain, trust, at, Purpose.CLIENT)
    except PathError as error:
        kind = error.finding.removeprefix("pki.").removeprefix("path.").replace(".", "-")
        raise CloudRefused(error.message, finding=f"{door}.chain.{kind}") from error


def unit_of(leaf: x509.Certificate) -> str:
    """Return the unit serial in the subject. Raises CloudRefused "cloud.names" (step 9)."""
    try:
        return unit_serial(unit_serial_of(leaf.subject))
    except (BirthmarkError, ValueError) as error:
        raise CloudRefused(f"the subject does not name one unit: {error}", finding="cloud.names") from error


def _carried(leaf: x509.Certificate) -> tuple[Record, bytes]:
    try:
        return read_cmw_record(leaf)
    except DecodeError as error:
        kind = "missing" if error.finding == "cmw.missing" else "malformed"
        raise CloudRefused(error.message, finding=f"cloud.evidence.{kind}") from error


def _appraise(record: Record, value: bytes, spki: bytes, believed: Believed, at: datetime) -> Verdict:
    if record is Record.RESULT:
        return appraise_result(value, spki, believed.signers, believed.endorsements, at)
    return appraise(value, spki, believed.endorsements, at)


def _same_key(leaf: x509.Certificate, attested: AttestedKey) -> None:
    if attested.spki != _spki(leaf):
        raise CloudRefused("the evidence is about another key than the certificate's", finding="cloud.key.mismatch")


def _same_chip(leaf: x509.Certificate, attested: AttestedKey) -> None:
    try:
        named = read_hardware_module_name(leaf).serial
    except (BirthmarkError, ValueError) as error:
        raise CloudRefused(f"the certificate names no chip: {error}", finding="cloud.chip.malformed") from error
    if named != attested.chip.serial:
        raise CloudRefused(
            f"the certificate names chip {named}, the evidence chip {attested.chip.serial}",
            finding="cloud.chip.mismatch",
        )


def _spki(leaf: x509.Certificate) -> bytes:
    der = serialization.Encoding.DER
    return leaf.public_key().public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo)
