# SPDX-License-Identifier: Apache-2.0
"""
Keys as objects in a token: made as the policy wants, found by label, described for the policy's judgement.

All functions call the module: their caller holds a seat. They raise python-pkcs11's errors as they are.
"""

import contextlib
import secrets
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from birthmark.pki.algorithms import KeyAlgorithm, VerifyingKey
from birthmark.pki.errors import KeyMissing, KeyStoreError, MechanismMissing
from birthmark.pki.keys.pkcs11.module import python_pkcs11
from birthmark.pki.keys.pkcs11.policy import ATTRIBUTE_RULES, KEY_ID_BYTES, KeyFacts, PolicyFinding, Said, judge

if TYPE_CHECKING:
    import pkcs11
    from pkcs11.attributes import AttributeMapper

_ULONG: Final = struct.calcsize("L")
_OCTET_STRING: Final = 0x04
_PROBE_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """
    How a token makes a kind of key and signs with it: names of python-pkcs11's KeyType and Mechanism.

    `parameters` is CKA_EC_PARAMS, the curve's OID in DER; `point_bytes` how long the encoded public point is.
    """

    key_type: str
    generation: str
    signature: str
    parameters: bytes
    point_bytes: int


RECIPES: Final[Mapping[KeyAlgorithm, Recipe]] = MappingProxyType(
    {
        KeyAlgorithm.P256: Recipe("EC", "EC_KEY_PAIR_GEN", "ECDSA", bytes.fromhex("06082a8648ce3d030107"), 65),
        KeyAlgorithm.P384: Recipe("EC", "EC_KEY_PAIR_GEN", "ECDSA", bytes.fromhex("06052b81040022"), 97),
        KeyAlgorithm.ED25519: Recipe("EC_EDWARDS", "EC_EDWARDS_KEY_PAIR_GEN", "EDDSA", bytes.fromhex("06032b6570"), 32),
    }
)
"""
Ed25519 with PureEdDSA (CKM_EDDSA without parameters). ML-DSA has mechanisms since PKCS#11 3.2; no token that was to be
had when this was written offers them, so there is nothing to check such a recipe with, and none is here.
"""


def recipe(algorithm: KeyAlgorithm) -> Recipe:
    """Return how a token makes such a key. Raises MechanismMissing."""
    if algorithm not in RECIPES:
        names = ", ".join(one.value for one in RECIPES)
        raise MechanismMissing(
            f"{algorithm.value} in a token is not supported",
            hint=f"in a token use one of {names}; ML-DSA keys live in encrypted files for now",
        )
    return RECIPES[algorithm]


def mapper() -> "AttributeMapper":
    """Return python-pkcs11's attribute mapper with CKA_ALLOWED_MECHANISMS, which it leaves out."""
    p11 = python_pkcs11()
    made: AttributeMapper = p11.attributes.AttributeMapper()
    made.register_handler(p11.Attribute.ALLOWED_MECHANISMS, _packed, _unpacked)
    return made


def make(session: "pkcs11.Session", label: str, algorithm: KeyAlgorithm) -> None:
    """Make a key pair as the policy wants. What the token does not know of the optional attributes is left out."""
    p11 = python_pkcs11()
    try:
        _generate(session, label, algorithm, {Said.ASKED, Said.OFFERED})
    except (p11.AttributeTypeInvalid, p11.AttributeValueInvalid, p11.TemplateInconsistent):
        _generate(session, label, algorithm, {Said.ASKED})


def search(session: "pkcs11.Session", wanted: Mapping[Any, Any]) -> list[Any]:
    """
    Return every object with these attributes.

    A search that does not begin leaves python-pkcs11 0.10 with an object that ends the search when it is collected:
    some time later, outside any seat. So the session is asked for something else first, which fails without that.
    """
    with contextlib.suppress(python_pkcs11().RandomNoRNG):
        session.generate_random(_PROBE_BITS)
    return list(session.get_objects(dict(wanted)))


def is_taken(session: "pkcs11.Session", label: str) -> bool:
    """Tell whether anything in the token has this label."""
    return bool(search(session, {python_pkcs11().Attribute.LABEL: label}))


def private_keys(session: "pkcs11.Session") -> list[Any]:
    """Return the private keys that the login shows."""
    p11 = python_pkcs11()
    return search(session, {p11.Attribute.CLASS: p11.ObjectClass.PRIVATE_KEY})


def find_private(session: "pkcs11.Session", label: str) -> Any:
    """Return the only private key of this label. Raises KeyMissing for none and for two."""
    p11 = python_pkcs11()
    wanted = {p11.Attribute.CLASS: p11.ObjectClass.PRIVATE_KEY, p11.Attribute.LABEL: label}
    found = search(session, wanted)
    if len(found) != 1:
        raise KeyMissing(f"the token has {f'{len(found)} keys' if found else 'no key'} {label!r}; one is wanted")
    return found[0]


def facts_of(session: "pkcs11.Session", private: Any) -> KeyFacts:
    """Return what the token says about a private key."""
    p11 = python_pkcs11()
    label = _attribute(private, p11.Attribute.LABEL) or ""
    public = _public_half(session, label)
    return KeyFacts(
        label=label,
        key_id=_attribute(private, p11.Attribute.ID) or b"",
        public_id=None if public is None else _attribute(public, p11.Attribute.ID) or b"",
        algorithm=_algorithm(private if public is None else public),
        attributes=MappingProxyType(_booleans(private)),
        mechanisms=_allowed(private),
    )


def findings_of(facts: KeyFacts) -> tuple[PolicyFinding, ...]:
    """Return every way in which a key differs from the policy."""
    how = RECIPES.get(facts.algorithm) if facts.algorithm else None
    return judge(facts, how.signature if how else "")


def public_key(session: "pkcs11.Session", label: str, algorithm: KeyAlgorithm) -> VerifyingKey:
    """Return the public key of this label. Raises KeyMissing, or KeyStoreError for one that is malformed."""
    public = _public_half(session, label)
    if public is None:
        raise KeyMissing(f"the token has no public key {label!r}")
    encoded = _attribute(public, python_pkcs11().Attribute.EC_POINT) or b""
    try:
        return _decoded(encoded, algorithm)
    except ValueError as error:
        raise KeyStoreError(f"the public key {label!r} is malformed: {error}", finding="key.malformed") from error


def _generate(session: "pkcs11.Session", label: str, algorithm: KeyAlgorithm, said: set[Said]) -> None:
    p11 = python_pkcs11()
    how = recipe(algorithm)
    private: dict[Any, Any] = {p11.Attribute[rule.name]: rule.value for rule in ATTRIBUTE_RULES if rule.said in said}
    if Said.OFFERED in said:
        private[p11.Attribute.ALLOWED_MECHANISMS] = (p11.Mechanism[how.signature],)
    session.generate_keypair(
        p11.KeyType[how.key_type],
        mechanism=p11.Mechanism[how.generation],
        store=True,
        label=label,
        id=secrets.token_bytes(KEY_ID_BYTES),
        capabilities=p11.MechanismFlag.SIGN | p11.MechanismFlag.VERIFY,
        public_template={p11.Attribute.EC_PARAMS: how.parameters, p11.Attribute.PRIVATE: False},
        private_template=private,
    )


def _public_half(session: "pkcs11.Session", label: str) -> Any | None:
    p11 = python_pkcs11()
    wanted = {p11.Attribute.CLASS: p11.ObjectClass.PUBLIC_KEY, p11.Attribute.LABEL: label}
    found = search(session, wanted)
    return found[0] if len(found) == 1 else None


def _algorithm(key: Any) -> KeyAlgorithm | None:
    p11 = python_pkcs11()
    key_type = _attribute(key, p11.Attribute.KEY_TYPE)
    parameters = _attribute(key, p11.Attribute.EC_PARAMS)
    for algorithm, how in RECIPES.items():
        if key_type == p11.KeyType[how.key_type] and parameters == how.parameters:
            return algorithm
    return None


def _booleans(private: Any) -> dict[str, bool]:
    p11 = python_pkcs11()
    values = {rule.name: _attribute(private, p11.Attribute[rule.name]) for rule in ATTRIBUTE_RULES}
    return {name: value for name, value in values.items() if value is not None}


def _allowed(private: Any) -> tuple[str, ...] | None:
    numbers = _attribute(private, python_pkcs11().Attribute.ALLOWED_MECHANISMS)
    return tuple(_mechanism_name(number) for number in numbers) if numbers else None


def _mechanism_name(number: int) -> str:
    try:
        return str(python_pkcs11().Mechanism(number).name)
    except ValueError:
        return f"0x{number:x}"


def _attribute(key: Any, attribute: int) -> Any:
    """Return an attribute's value, or None where the token does not say it."""
    p11 = python_pkcs11()
    try:
        return key[attribute]
    except (p11.AttributeTypeInvalid, p11.AttributeSensitive, ValueError, KeyError):
        return None


def _decoded(encoded: bytes, algorithm: KeyAlgorithm) -> VerifyingKey:
    """CKA_EC_POINT is the point in an OCTET STRING; some tokens leave that out (PKCS#11 2.40 §2.3.3 and its errata)."""
    length = RECIPES[algorithm].point_bytes
    if len(encoded) == length + 2 and encoded[:2] == bytes((_OCTET_STRING, length)):
        encoded = encoded[2:]
    if algorithm is KeyAlgorithm.ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(encoded)
    return ec.EllipticCurvePublicKey.from_encoded_point(algorithm.curve, encoded)


def _packed(mechanisms: Iterable[int]) -> bytes:
    numbers = tuple(mechanisms)
    return struct.pack(f"{len(numbers)}L", *numbers)


def _unpacked(value: bytes) -> tuple[int, ...]:
    return struct.unpack(f"{len(value) // _ULONG}L", value[: len(value) // _ULONG * _ULONG])
