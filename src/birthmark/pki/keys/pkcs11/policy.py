# SPDX-License-Identifier: Apache-2.0
"""
The key policy: what each key of the CA is for, and with which PKCS#11 attributes it lives in its token.

This is data. Generation follows it, opening a key checks it, docs/reference/hsm-keys.md says it in words and is held to
it by a test. The label says what a key is for, so that whoever looks into the token can judge every key in it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.errors import KeyPolicyRefused

KEY_ID_BYTES: Final = 16
"""CKA_ID: random, and the same in both halves of a pair."""
LABEL_MAX_CHARS: Final = 32
_LABEL: Final = re.compile(r"([a-z]+)(?:-[a-z0-9]+)*")


class KeyUse(Enum):
    """What a key signs. The value is the first word of its label; the ledger's key may say `log` as well."""

    ROOT = "root"
    OPERATIONS = "operations"
    ISSUING = "issuing"
    RIGS = "rigs"
    CRL = "crl"
    OCSP = "ocsp"
    LEDGER = "ledger"
    EAR = "ear"


LABEL_WORDS: Final[Mapping[str, KeyUse]] = MappingProxyType({use.value: use for use in KeyUse} | {"log": KeyUse.LEDGER})


class Home(Enum):
    """Where the token is."""

    OFFLINE = "in a safe, used in ceremonies only"
    ONLINE = "with the CA"


@dataclass(frozen=True, slots=True)
class KeyRule:
    """What holds for the keys of one use. Of the ledger's algorithms the first is what most verifiers know."""

    signs: str
    home: Home
    algorithms: tuple[KeyAlgorithm, ...]


_ANY: Final = tuple(KeyAlgorithm)
_NOTES: Final = (KeyAlgorithm.ED25519, KeyAlgorithm.P256, KeyAlgorithm.P384)
KEY_RULES: Final[Mapping[KeyUse, KeyRule]] = MappingProxyType(
    {
        KeyUse.ROOT: KeyRule("CA certificates and the root's revocation list", Home.OFFLINE, _ANY),
        KeyUse.OPERATIONS: KeyRule("certificates of rigs, servers and people", Home.OFFLINE, _ANY),
        KeyUse.ISSUING: KeyRule("device certificates and their revocation lists", Home.ONLINE, _ANY),
        KeyUse.RIGS: KeyRule("certificates of rigs that enrol themselves", Home.ONLINE, _ANY),
        KeyUse.CRL: KeyRule("revocation lists, where another key than the CA's own does", Home.ONLINE, _ANY),
        KeyUse.OCSP: KeyRule("OCSP responses", Home.ONLINE, _ANY),
        KeyUse.LEDGER: KeyRule("checkpoints of the ledger", Home.ONLINE, _NOTES),
        KeyUse.EAR: KeyRule("attestation results", Home.ONLINE, _ANY),
    }
)


class Said(Enum):
    """Who says the value of an attribute."""

    ASKED = "asked for at generation, and required"
    HISTORY = "set by the token alone, and required"
    OFFERED = "asked for at generation where the token knows it, and not required"


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """One boolean attribute of the private key: its name without CKA_, its value, and the finding if it differs."""

    name: str
    said: Said
    finding: str
    because: str
    value: bool


ATTRIBUTE_RULES: Final = (
    AttributeRule("TOKEN", Said.ASKED, "key.policy.storage", "it outlives the session", value=True),
    AttributeRule("PRIVATE", Said.ASKED, "key.policy.storage", "it is not seen without a login", value=True),
    AttributeRule("SENSITIVE", Said.ASKED, "key.policy.extractable", "its value is never shown", value=True),
    AttributeRule("EXTRACTABLE", Said.ASKED, "key.policy.extractable", "it does not leave, even wrapped", value=False),
    AttributeRule("ALWAYS_SENSITIVE", Said.HISTORY, "key.policy.extractable", "its value never was shown", value=True),
    AttributeRule("NEVER_EXTRACTABLE", Said.HISTORY, "key.policy.extractable", "it never could leave", value=True),
    AttributeRule("LOCAL", Said.HISTORY, "key.policy.imported", "it was made in this token", value=True),
    AttributeRule("SIGN", Said.ASKED, "key.policy.usage", "it signs", value=True),
    AttributeRule("SIGN_RECOVER", Said.ASKED, "key.policy.usage", "and does nothing else", value=False),
    AttributeRule("DECRYPT", Said.ASKED, "key.policy.usage", "and does nothing else", value=False),
    AttributeRule("UNWRAP", Said.ASKED, "key.policy.usage", "and does nothing else", value=False),
    AttributeRule("DERIVE", Said.ASKED, "key.policy.usage", "and does nothing else", value=False),
    AttributeRule("MODIFIABLE", Said.OFFERED, "", "its attributes stay as they are", value=False),
    AttributeRule("COPYABLE", Said.OFFERED, "", "it has no second copy with other attributes", value=False),
)
"""Besides these: CKA_ALLOWED_MECHANISMS, where the token knows it, names the one mechanism that the key signs with."""


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """
    What a token says about a private key.

    `attributes` has no entry for what the token does not say. `mechanisms` is CKA_ALLOWED_MECHANISMS, by name without
    CKM_; None if the token does not say it or does not limit them. `public_id` is None without a public key.
    """

    label: str
    key_id: bytes
    public_id: bytes | None
    algorithm: KeyAlgorithm | None
    attributes: Mapping[str, bool]
    mechanisms: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """One way in which a key is not as the policy wants."""

    finding: str
    text: str


def use_of(label: str) -> KeyUse:
    """Return what a key of this label is for. Raises KeyPolicyRefused, `key.policy.label`."""
    match = _LABEL.fullmatch(label)
    word = match[1] if match and len(label) <= LABEL_MAX_CHARS else ""
    if word not in LABEL_WORDS:
        raise KeyPolicyRefused(
            f"the label {label[: 2 * LABEL_MAX_CHARS]!r} does not say what the key is for",
            hint=f"a label is a word out of {', '.join(LABEL_WORDS)}, and more after hyphens: issuing-2027",
            finding="key.policy.label",
        )
    return LABEL_WORDS[word]


def check_new(label: str, algorithm: KeyAlgorithm) -> None:
    """Pass a key that may be made. Raises KeyPolicyRefused: `key.policy.label`, `key.policy.algorithm`."""
    for found in (*_label_findings(label), *_algorithm_findings(label, algorithm)):
        raise KeyPolicyRefused(found.text, finding=found.finding, hint="see docs/reference/hsm-keys.md")


def judge(facts: KeyFacts, mechanism: str) -> tuple[PolicyFinding, ...]:
    """Return every way in which a key differs from the policy; `mechanism` is the one it is to sign with."""
    return (
        *_label_findings(facts.label),
        *_algorithm_findings(facts.label, facts.algorithm),
        *_identity_findings(facts),
        *_attribute_findings(facts.attributes),
        *_mechanism_findings(facts.mechanisms, mechanism),
    )


def check(label: str, found: tuple[PolicyFinding, ...]) -> None:
    """Pass a key without findings. Raises KeyPolicyRefused with the first finding and every text."""
    if found:
        texts = "; ".join(one.text for one in found)
        raise KeyPolicyRefused(f"key {label!r} is refused: {texts}", finding=found[0].finding)


def _label_findings(label: str) -> Iterator[PolicyFinding]:
    try:
        use_of(label)
    except KeyPolicyRefused as error:
        yield PolicyFinding(error.finding, error.message)


def _algorithm_findings(label: str, algorithm: KeyAlgorithm | None) -> Iterator[PolicyFinding]:
    if algorithm is None:
        yield PolicyFinding("key.policy.algorithm", "it is of a kind that is not used here")
        return
    use = LABEL_WORDS.get(label.split("-", maxsplit=1)[0])
    if use and algorithm not in (rule := KEY_RULES[use]).algorithms:
        names = ", ".join(one.value for one in rule.algorithms)
        yield PolicyFinding("key.policy.algorithm", f"{algorithm.value} is not for {label!r}, which is {names}")


def _identity_findings(facts: KeyFacts) -> Iterator[PolicyFinding]:
    if facts.public_id is None:
        yield PolicyFinding("key.policy.pair", "there is no public key beside it")
    elif facts.public_id != facts.key_id:
        yield PolicyFinding("key.policy.pair", "CKA_ID of its public key is another")
    if not facts.key_id:
        yield PolicyFinding("key.policy.pair", "CKA_ID is empty")


def _attribute_findings(attributes: Mapping[str, bool]) -> Iterator[PolicyFinding]:
    for rule in ATTRIBUTE_RULES:
        if rule.said is Said.OFFERED:
            continue
        value = attributes.get(rule.name)
        if value is None:
            yield PolicyFinding("key.policy.unknown", f"the token does not say CKA_{rule.name}")
        elif value is not rule.value:
            yield PolicyFinding(rule.finding, f"CKA_{rule.name} is {str(value).upper()}")


def _mechanism_findings(allowed: tuple[str, ...] | None, mechanism: str) -> Iterator[PolicyFinding]:
    if allowed is not None and set(allowed) != {mechanism}:
        yield PolicyFinding("key.policy.mechanism", f"CKA_ALLOWED_MECHANISMS is {', '.join(allowed)}, not {mechanism}")
