# SPDX-License-Identifier: Apache-2.0
"""Whose keys sign what the authority issues: its issuing CAs, by name, and the verifier of its attestation results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.core.ids import fingerprint
from birthmark.evidence.ear import VerifierID, write_ear
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.result import result_of
from birthmark.evidence.verdict import AttestedKey
from birthmark.pki.algorithms import SigningKey, verifying_key
from birthmark.pki.authorities import Authority
from birthmark.pki.extensions import key_identifier

DEFAULT_ISSUER: Final = ""
"""The name of the issuer of profiles that name none."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Signs what the appraisal found, for certificates that do not publish the evidence itself."""

    key: SigningKey = field(repr=False)
    name: VerifierID
    spki: bytes = field(init=False, repr=False)
    """DER SubjectPublicKeyInfo of the key: what an auditor needs to read results with."""
    key_sha256: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute how the log names the key, once."""
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        object.__setattr__(self, "spki", spki)
        object.__setattr__(self, "key_sha256", fingerprint(spki))

    def result(self, attested: AttestedKey, bundle: bytes, endorsements: Endorsements, at: datetime) -> bytes:
        """Return the signed result of an appraisal under these endorsements. What the key raises passes through."""
        return write_ear(result_of(attested, bundle, endorsements, self.name, at), self.key)


@dataclass(frozen=True, slots=True)
class Signers:
    """
    The issuing CAs of one authority: `issuing`, and `others` by name; `verifier` where results are signed.

    In the ledger an issuer is known by its key identifier, which outlives names and certificates.
    """

    issuing: Authority
    others: Mapping[str, Authority] = field(default_factory=dict)
    verifier: Verifier | None = None
    ids: Mapping[str, str] = field(init=False)
    """The key identifiers (hexadecimal) by name."""
    fingerprints: Mapping[str, str] = field(init=False)
    """The SHA-256 of the certificates by key identifier, "" for the first: how the log names an issuer."""

    def __post_init__(self) -> None:
        """Compute each key identifier and fingerprint once."""
        ids = {name: _id(authority) for name, authority in self.all().items()}
        sums = {name: _fingerprint(authority) for name, authority in self.all().items()}
        by_id = {"": sums[DEFAULT_ISSUER]} | {ids[name]: sums[name] for name in ids}
        object.__setattr__(self, "ids", MappingProxyType(ids))
        object.__setattr__(self, "fingerprints", MappingProxyType(by_id))

    def all(self) -> dict[str, Authority]:
        """Return every issuer by its name."""
        return {DEFAULT_ISSUER: self.issuing, **self.others}

    def of(self, issuer_id: str) -> Authority | None:
        """Return the issuer with a key identifier; "" is an earlier release's only one. None when there is no such."""
        if not issuer_id:
            return self.issuing
        named = (name for name, known in self.ids.items() if known == issuer_id)
        name = next(named, None)
        return None if name is None else self.all()[name]

    def id_of(self, name: str) -> str:
        """Return the key identifier of the issuer with this name."""
        return self.ids[name]

    def issued_by(self, name: str) -> frozenset[str]:
        """Return what the ledger says of certificates that this issuer signed; an earlier release's are the first's."""
        return frozenset({self.ids[name], ""} if name == DEFAULT_ISSUER else {self.ids[name]})


def _id(authority: Authority) -> str:
    return key_identifier(verifying_key(authority.certificate.public_key())).hex()


def _fingerprint(authority: Authority) -> str:
    return fingerprint(authority.certificate.public_bytes(Encoding.DER))
