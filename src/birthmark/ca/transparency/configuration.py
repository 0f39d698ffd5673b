# SPDX-License-Identifier: Apache-2.0
"""
What of ca.toml decides what is signed, as one text: the log names it by its SHA-256 and keeps it for auditors. Pure.

Certificates and keys stand in it by their SHA-256, so that the same names with other files behind them are another
configuration. Where a key is kept, its PIN, ports, folders and the database are not in it: machines may differ in
those. docs/reference/config.md says which keys are in it and which are not.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.ca.config import (
    RESPONSE_S,
    CAConfig,
    EARSection,
    KeySection,
    ProfileSection,
    ResponderSection,
    RigsSection,
)
from birthmark.ca.issuing.signers import DEFAULT_ISSUER, Signers
from birthmark.ca.policy import Policy
from birthmark.core.ids import fingerprint
from birthmark.pki.authorities import Authority

FORMAT: Final = "birthmark-signing-configuration/1"
NAME: Final = "configuration.json"
CHANGES_MAX: Final = 1_800
"""Characters of an entry's words: beyond, the two texts say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Everything that signs, as it was opened: issuers, the log's verifier key, OCSP responders, the CA of rigs."""

    signers: Signers
    log_key: str
    responders: Mapping[str, x509.Certificate]
    rigs: x509.Certificate | None = None


def signing_configuration(config: CAConfig, policy: Policy, signing: Signing) -> bytes:
    """Return the text: JSON with sorted keys, the same for the same configuration."""
    ocsp = config.ocsp
    text: dict[str, Any] = {
        "format": FORMAT,
        "organization": config.organization,
        "endorsements": policy.endorsements.digest,
        "profile": {each.name: _profile(each) for each in config.profile},
        "issuer": dict(_issuers(config, signing)),
        "handed_out": [_digest(each) for each in policy.ca_chain],
        "client_trust": {
            "anchors": sorted(map(_digest, policy.trust.certs)),
            "intermediates": sorted(map(_digest, policy.trust.intermediates)),
        },
        "denied_clients": sorted(config.denied_clients),
        "nonce_expiry_s": config.nonce_expiry_s,
        "birth_grace_s": config.birth_grace_s,
        "rotation_overlap_s": config.rotation_overlap_s,
        "crl_next_update_s": config.crl_next_update_s,
        "crl_partitions": config.crl_partitions,
        "ocsp_response_s": RESPONSE_S if ocsp is None else ocsp.response_s,
        "ear": None if config.ear is None else _ear(config.ear, signing.signers),
        "log": {"origin": config.log.origin, "key": signing.log_key, "kind": _kind(config.log.key)},
    }
    if config.rigs is not None:
        text["rigs"] = {**_rigs(config.rigs, signing.rigs), "validity_days": config.rigs.validity_days}
    return (json.dumps(text, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def changes(old: bytes | None, new: bytes) -> str:
    """Return in words what has changed from one text to the next."""
    if old is None:
        return "the first one"
    before, after = dict(_flat(json.loads(old))), dict(_flat(json.loads(new)))
    told = [
        f"{name}: {before.get(name, 'nothing')} -> {after.get(name, 'nothing')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    words = "; ".join(told)
    return words if len(words) <= CHANGES_MAX else f"{words[:CHANGES_MAX]}... ({len(told)} changes)"


def _profile(section: ProfileSection) -> dict[str, Any]:
    return {
        "algorithms": [each.value for each in section.algorithms],
        "last_issue": section.last_issue.isoformat(),
        "validity_days": section.validity_days,
        "same_key_days": section.same_key_days,
        "kind": section.kind,
        "max_bytes": section.max_bytes,
        "issuer": section.issuer,
    }


def _issuers(config: CAConfig, signing: Signing) -> Iterator[tuple[str, dict[str, Any]]]:
    sections: dict[str, tuple[KeySection, str | None, ResponderSection | None]] = {
        DEFAULT_ISSUER: (config.issuing_key, config.crl_name, config.ocsp)
    }
    sections |= {each.name: (each.key, each.crl_name, each.ocsp) for each in config.issuer}
    for name, authority in signing.signers.all().items():
        key, crl_name, ocsp = sections[name]
        responder = signing.responders.get(name)
        yield (
            name,
            {
                **_authority(authority),
                "kind": _kind(key),
                "crl_name": crl_name,
                "ocsp": None
                if ocsp is None
                else {"certificate": responder and _digest(responder), "kind": _kind(ocsp.key)},
            },
        )


def _authority(authority: Authority) -> dict[str, str]:
    return {"certificate": _digest(authority.certificate), "subject": authority.certificate.subject.rfc4514_string()}


def _ear(section: EARSection, signers: Signers) -> dict[str, str | None]:
    verifier = signers.verifier
    spki = (
        b""
        if verifier is None
        else verifier.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    return {"key": fingerprint(spki), "kind": _kind(section.key), "developer": section.developer}


def _rigs(section: RigsSection, certificate: x509.Certificate | None) -> dict[str, str | None]:
    digest = None if certificate is None else _digest(certificate)
    return {"certificate": digest, "kind": _kind(section.key)}


def _kind(section: KeySection) -> str:
    return str(section.__struct_config__.tag)


def _digest(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield what stands in a text, by its path; a list as one."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else key)
    else:
        yield name, _plain(value)


def _plain(value: Any) -> str:
    items: Iterable[Any] = value if isinstance(value, list) else (value,)
    return ", ".join("none" if each is None else str(each) for each in items)
