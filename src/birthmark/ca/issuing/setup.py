# SPDX-License-Identifier: Apache-2.0
"""What ca.toml says about issuers, profiles and attestation results, made into who signs and what."""

from importlib.metadata import version
from pathlib import Path

from cryptography import x509

from birthmark.ca.config import CAConfig, EARSection, KeySection, ProfileSection
from birthmark.ca.demands import Terms
from birthmark.ca.issuing.signers import Signers, Verifier
from birthmark.ca.keyring import Keyring
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError
from birthmark.evidence.ear import SIGNING_ALGORITHMS, VerifierID
from birthmark.pki.algorithms import acceptable_certificate, key_algorithm
from birthmark.pki.authorities import Authority
from birthmark.pki.paths import read_certificates
from birthmark.pki.profiles import KINDS, AlgorithmPolicy


def signers_of(config: CAConfig, folder: Path, keys: Keyring) -> Signers:
    """
    Return whose keys sign.

    Raises:
        ConfigError: a key that belongs to another certificate, or that signs no results. KeyStoreError: no such key.
        AlgorithmRefused: a certificate that is too weak to issue.

    """
    return Signers(
        authority_of(config.issuing_certificate, config.issuing_key, folder, keys),
        {each.name: authority_of(each.certificate, each.key, folder, keys) for each in config.issuer},
        None if config.ear is None else _verifier(config.ear, config.organization, keys),
    )


def terms_of(section: ProfileSection) -> Terms:
    """Return what a profile allows."""
    policies = (AlgorithmPolicy(each, section.last_issue, section.max_bytes) for each in section.algorithms)
    return Terms(
        name=section.name,
        algorithms=tuple(policies),
        validity_days=section.validity_days,
        same_key_days=section.same_key_days,
        kind=KINDS[section.kind],
        issuer=section.issuer,
    )


def chains_of(config: CAConfig, folder: Path) -> tuple[x509.Certificate, ...]:
    """Return what `cacerts` serves: every issuer's chain, each certificate once. Raises ConfigError."""
    names = [config.ca_chain, *(each.chain or each.certificate for each in config.issuer)]
    return tuple(dict.fromkeys(found for name in names for found in _certificates(folder, name)))


def authority_of(name: str, section: KeySection, folder: Path, keys: Keyring) -> Authority:
    """Return a CA: its certificate's file and its key. Raises as `signers_of`."""
    certificates = _certificates(folder, name)
    if len(certificates) != 1:
        raise ConfigError(f"{folder / name}: {len(certificates)} certificates", hint="name the issuing CA's alone")
    certificate = certificates[0]
    acceptable_certificate(certificate)
    key = keys.key(section)
    if certificate.public_key() != key.public_key():
        raise ConfigError(
            f"{name}: the issuing key belongs to another certificate",
            hint="compare the certificate with the key that is named beside it",
        )
    return Authority(certificate, key)


def _verifier(section: EARSection, organization: str, keys: Keyring) -> Verifier:
    key = keys.key(section.key)
    algorithm = key_algorithm(key.public_key())
    if algorithm not in SIGNING_ALGORITHMS:
        wanted = ", ".join(each.value for each in SIGNING_ALGORITHMS)
        raise ConfigError(f"[ear]: a key of type {algorithm.value} signs no results", hint=f"use one of {wanted}")
    return Verifier(key, VerifierID(section.developer or organization, f"birthmark {version('birthmark')}"))


def _certificates(folder: Path, name: str) -> tuple[x509.Certificate, ...]:
    return read_certificates(read_file(folder / name), str(folder / name))
