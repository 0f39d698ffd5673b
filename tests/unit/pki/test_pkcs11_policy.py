# SPDX-License-Identifier: Apache-2.0
"""The key policy: keys that a token made, and keys that it should not have, each in SoftHSM."""

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag
from pkcs11.util.ec import decode_ec_private_key, decode_ec_public_key

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.errors import KeyMissing, KeyPolicyRefused
from birthmark.pki.keys.pkcs11 import Token
from birthmark.pki.keys.pkcs11.objects import RECIPES, findings_of, mapper
from birthmark.pki.keys.pkcs11.policy import (
    ATTRIBUTE_RULES,
    KEY_RULES,
    LABEL_WORDS,
    Home,
    KeyFacts,
    KeyUse,
    Said,
    judge,
    use_of,
)
from support.softhsm import LABEL, MODULE, PIN, make_token

GOOD = KeyFacts(
    label="issuing-1",
    key_id=b"1",
    public_id=b"1",
    algorithm=KeyAlgorithm.P256,
    attributes=MappingProxyType({rule.name: rule.value for rule in ATTRIBUTE_RULES}),
    mechanisms=("ECDSA",),
)
P256 = RECIPES[KeyAlgorithm.P256].parameters


@pytest.fixture
def token(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path).configuration))
    with Token.open(MODULE, LABEL, PIN) as opened:
        yield opened


@pytest.fixture
def session(token: Token) -> Iterator[pkcs11.Session]:
    """A session of an administrator who does as he likes."""
    with token._connection.token.open(rw=True, attribute_mapper=mapper()) as opened:
        yield opened


def put_key(session: pkcs11.Session, **changed: Any) -> None:
    private = {
        **{Attribute[rule.name]: rule.value for rule in ATTRIBUTE_RULES if rule.said is not Said.HISTORY},
        Attribute.ALLOWED_MECHANISMS: (Mechanism.ECDSA,),
        **{Attribute[name]: value for name, value in changed.items()},
    }
    session.generate_keypair(
        KeyType.EC,
        mechanism=Mechanism.EC_KEY_PAIR_GEN,
        store=True,
        label="issuing",
        id=b"0123456789abcdef",
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        public_template={Attribute.EC_PARAMS: P256},
        private_template=private,
    )


@pytest.mark.parametrize("algorithm", RECIPES)
@pytest.mark.parametrize("use", [KeyUse.LEDGER, KeyUse.EAR])
def test_a_key_that_was_made_here_has_no_findings(token: Token, use: KeyUse, algorithm: KeyAlgorithm) -> None:
    token.generate(f"{use.value}-1", algorithm)
    (facts,) = token.keys()
    assert findings_of(facts) == ()
    assert facts.attributes == {rule.name: rule.value for rule in ATTRIBUTE_RULES}
    assert facts.mechanisms == (RECIPES[algorithm].signature,)
    assert len(facts.key_id) == 16


def test_two_keys_have_two_ids(token: Token) -> None:
    token.generate("issuing-1", KeyAlgorithm.P256)
    token.generate("issuing-2", KeyAlgorithm.P256)
    one, two = token.keys()
    assert one.key_id != two.key_id


def test_a_key_as_the_policy_wants_may_come_from_elsewhere(token: Token, session: pkcs11.Session) -> None:
    put_key(session)
    assert token.key("issuing").public_key().curve.name == "secp256r1"


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ({"EXTRACTABLE": True}, "key.policy.extractable"),
        ({"SENSITIVE": False}, "key.policy.extractable"),
        ({"DECRYPT": True}, "key.policy.usage"),
        ({"UNWRAP": True}, "key.policy.usage"),
        ({"DERIVE": True}, "key.policy.usage"),
        ({"SIGN_RECOVER": True}, "key.policy.usage"),
        ({"SIGN": False}, "key.policy.usage"),
        ({"PRIVATE": False}, "key.policy.storage"),
        ({"ALLOWED_MECHANISMS": (Mechanism.ECDSA, Mechanism.ECDH1_DERIVE)}, "key.policy.mechanism"),
        ({"LABEL": "other"}, "key.policy.label"),
        ({"ID": b"another"}, "key.policy.pair"),
        ({"ID": b""}, "key.policy.pair"),
    ],
    ids=str,
)
def test_a_key_that_is_not_kept_as_it_should_be_is_not_opened(
    token: Token, session: pkcs11.Session, changed: dict[str, Any], finding: str
) -> None:
    put_key(session, **changed)
    (facts,) = token.keys()
    assert finding in {one.finding for one in findings_of(facts)}
    with pytest.raises(KeyPolicyRefused) as refused:
        token.key(changed.get("LABEL", "issuing"))
    assert refused.value.finding.startswith("key.policy.")


def test_a_key_that_was_made_extractable_and_locked_later_is_still_refused(
    token: Token, session: pkcs11.Session
) -> None:
    put_key(session, EXTRACTABLE=True, SENSITIVE=False, MODIFIABLE=True)
    (private,) = session.get_objects({Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})
    private[Attribute.EXTRACTABLE] = False
    private[Attribute.SENSITIVE] = True
    with pytest.raises(
        KeyPolicyRefused, match="CKA_ALWAYS_SENSITIVE is FALSE; CKA_NEVER_EXTRACTABLE is FALSE"
    ) as refused:
        token.key("issuing")
    assert refused.value.finding == "key.policy.extractable"


def test_an_imported_key_is_refused(token: Token, session: pkcs11.Session) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = decode_ec_private_key(key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public = decode_ec_public_key(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    common = {Attribute.LABEL: "issuing", Attribute.ID: b"1", Attribute.TOKEN: True}
    asked = {Attribute[rule.name]: rule.value for rule in ATTRIBUTE_RULES if rule.said is Said.ASKED}
    session.create_object({**public, **common, Attribute.VERIFY: True})
    session.create_object({**private, **asked, **common})
    with pytest.raises(KeyPolicyRefused, match="CKA_LOCAL is FALSE"):
        token.key("issuing")
    assert "key.policy.imported" in {one.finding for one in findings_of(token.keys()[0])}


def test_two_private_keys_of_one_label_are_no_key(token: Token, session: pkcs11.Session) -> None:
    put_key(session)
    put_key(session)
    with pytest.raises(KeyMissing, match="2 keys 'issuing'"):
        token.key("issuing")


@pytest.mark.parametrize("rule", [rule for rule in ATTRIBUTE_RULES if rule.said is not Said.OFFERED], ids=str)
def test_each_required_attribute_is_judged(rule: Any) -> None:
    wrong = replace(GOOD, attributes={**GOOD.attributes, rule.name: not rule.value})
    assert [one.finding for one in judge(wrong, "ECDSA")] == [rule.finding]
    silent = replace(GOOD, attributes={name: value for name, value in GOOD.attributes.items() if name != rule.name})
    assert [one.finding for one in judge(silent, "ECDSA")] == ["key.policy.unknown"]


@pytest.mark.parametrize("rule", [rule for rule in ATTRIBUTE_RULES if rule.said is Said.OFFERED], ids=str)
def test_what_not_every_token_knows_is_not_required(rule: Any) -> None:
    assert (
        judge(replace(GOOD, attributes={**GOOD.attributes, rule.name: not rule.value}, mechanisms=None), "ECDSA") == ()
    )


@pytest.mark.parametrize(
    ("facts", "finding"),
    [
        (replace(GOOD, label="signing"), "key.policy.label"),
        (replace(GOOD, label="issuing_1"), "key.policy.label"),
        (replace(GOOD, label="ISSUING"), "key.policy.label"),
        (replace(GOOD, label="issuing-" + 40 * "1"), "key.policy.label"),
        (replace(GOOD, label=""), "key.policy.label"),
        (replace(GOOD, algorithm=None), "key.policy.algorithm"),
        (replace(GOOD, label="ledger", algorithm=KeyAlgorithm.MLDSA65), "key.policy.algorithm"),
        (replace(GOOD, public_id=None), "key.policy.pair"),
        (replace(GOOD, public_id=b"2"), "key.policy.pair"),
        (replace(GOOD, mechanisms=("ECDH1_DERIVE",)), "key.policy.mechanism"),
    ],
)
def test_each_other_rule_is_judged(facts: KeyFacts, finding: str) -> None:
    assert finding in {one.finding for one in judge(facts, "ECDSA")}


def test_a_good_key_has_no_findings() -> None:
    assert judge(GOOD, "ECDSA") == ()


def test_every_use_has_a_rule_and_a_word() -> None:
    assert set(KEY_RULES) == set(KeyUse) == set(LABEL_WORDS.values())
    assert {use for use, rule in KEY_RULES.items() if rule.home is Home.OFFLINE} == {KeyUse.ROOT, KeyUse.OPERATIONS}
    assert use_of("log-2027") is KeyUse.LEDGER


@pytest.mark.parametrize(
    ("label", "algorithm", "finding"),
    [
        ("signing", KeyAlgorithm.P256, "key.policy.label"),
        ("ledger-1", KeyAlgorithm.MLDSA44, "key.policy.algorithm"),
    ],
)
def test_a_key_against_the_policy_is_not_made(token: Token, label: str, algorithm: KeyAlgorithm, finding: str) -> None:
    with pytest.raises(KeyPolicyRefused) as refused:
        token.generate(label, algorithm)
    assert refused.value.finding == finding
    assert token.keys() == ()
