# SPDX-License-Identifier: Apache-2.0
"""
What an EST server wants of a CSR: how our CA says it, and how our client understands it (RFC 9908).

Our CA says everything twice: as the plain list that RFC 7030 clients read, and as a template for those that know
RFC 9908; whoever knows both reads the template alone (§4). That evidence is wanted is said with the attribute's bare
OID in the list and with an attribute without a value in the template: a convention of ours, no text has one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import AttributeOID, ExtensionOID, NameOID, PublicKeyAlgorithmOID

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_AA_ATTESTATION
from birthmark.est import template
from birthmark.est.csrattrs import FINDING, Attribute
from birthmark.est.template import (
    ID_EXTENSION_REQUEST,
    ID_EXTENSION_TEMPLATE,
    ID_TEMPLATE,
    ExtensionWish,
    KeyWish,
    NameWish,
    Template,
)
from birthmark.pki.algorithms import KeyAlgorithm

Item = ObjectIdentifier | Attribute

_EC = PublicKeyAlgorithmOID.EC_PUBLIC_KEY
_KEYS: Final[Mapping[KeyAlgorithm, KeyWish]] = MappingProxyType(
    {
        KeyAlgorithm.P256: KeyWish(_EC, der.encode(ObjectIdentifier("1.2.840.10045.3.1.7"))),
        KeyAlgorithm.P384: KeyWish(_EC, der.encode(ObjectIdentifier("1.3.132.0.34"))),
        KeyAlgorithm.ED25519: KeyWish(PublicKeyAlgorithmOID.ED25519),
        KeyAlgorithm.MLDSA44: KeyWish(KeyAlgorithm.MLDSA44.signature_oid),
        KeyAlgorithm.MLDSA65: KeyWish(KeyAlgorithm.MLDSA65.signature_oid),
        KeyAlgorithm.MLDSA87: KeyWish(KeyAlgorithm.MLDSA87.signature_oid),
    }
)
"""ML-DSA and Ed25519: one OID for key and signature, no parameters (RFC 9881 §2, RFC 8410 §3)."""
_ALGORITHMS: Final = MappingProxyType({wish: algorithm for algorithm, wish in _KEYS.items()})
_KEY_TYPES: Final = frozenset(
    {*(wish.algorithm for wish in _KEYS.values()), template.RSA_ENCRYPTION, PublicKeyAlgorithmOID.ED448}
)
_RENEWAL_SUBJECT: Final = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER)


@dataclass(frozen=True, slots=True)
class Wishes:
    """
    What a server wants, as far as we know what it means; the rest is passed over (RFC 8951 §4).

    `key` is None when any will do. `linking` says that it wants a challengePassword (RFC 7030 §3.5). `subject` is None
    when it says nothing of names.
    """

    key: KeyWish | None = None
    attestation: bool = False
    linking: bool = False
    subject: tuple[tuple[NameWish, ...], ...] | None = None
    extensions: tuple[ExtensionWish, ...] = ()


# --- server ----------------------------------------------------------------------------------------------------


def for_first_request(algorithm: KeyAlgorithm) -> tuple[Item, ...]:
    """Return what our CA wants of a unit's first request: its serial, evidence, and a key of this type."""
    subject = ((NameWish(NameOID.SERIAL_NUMBER),),)
    return _wanted(algorithm, subject, ())


def for_renewal(algorithm: KeyAlgorithm) -> tuple[Item, ...]:
    """Return what our CA wants of a renewal: the current names, evidence, and a key of this type."""
    subject = tuple((NameWish(each),) for each in _RENEWAL_SUBJECT)
    names = template.encode_extensions([ExtensionWish(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)])
    return _wanted(algorithm, subject, (Attribute(ID_EXTENSION_TEMPLATE, (names,)),))


def _wanted(
    algorithm: KeyAlgorithm, subject: tuple[tuple[NameWish, ...], ...], extensions: tuple[Attribute, ...]
) -> tuple[Item, ...]:
    key = _KEYS[algorithm]
    wanted = Template(subject, key, (Attribute(ID_AA_ATTESTATION, ()), *extensions))
    parameters = () if key.parameters is None else (key.parameters,)
    return (
        ID_AA_ATTESTATION,
        Attribute(key.algorithm, parameters),
        Attribute(ID_TEMPLATE, (template.encode(wanted),)),
    )


# --- client ----------------------------------------------------------------------------------------------------


def read(items: Iterable[Item]) -> Wishes:
    """
    Return what the items of a CsrAttrs mean; of a template, if there is one, and of nothing beside it (RFC 9908 §4).

    Raises:
        DecodeError: two templates, or two key types; a template or extension request without exactly one value, or
            with a malformed one; finding est.csrattrs.

    """
    found = list(items)
    held = _attributes(found, ID_TEMPLATE)
    if not held:
        return Wishes(
            key=_plain_key(found),
            attestation=_asks_for(found, ID_AA_ATTESTATION),
            linking=_asks_for(found, AttributeOID.CHALLENGE_PASSWORD),
            extensions=_extensions(found),
        )
    filled = template.decode(_only_value(held))
    return Wishes(
        key=filled.key,
        attestation=_asks_for(filled.attributes, ID_AA_ATTESTATION),
        linking=_asks_for(filled.attributes, AttributeOID.CHALLENGE_PASSWORD),
        subject=filled.subject,
        extensions=_extensions(filled.attributes),
    )


def algorithm_of(key: KeyWish) -> KeyAlgorithm:
    """Return the key type that a server wants. Raises DecodeError (est.csrattrs.key) for one that we do not make."""
    if key not in _ALGORITHMS:
        raise DecodeError(
            f"the server wants a key of type {key.algorithm.dotted_string}, which we do not make",
            finding="est.csrattrs.key",
        )
    return _ALGORITHMS[key]


def _plain_key(items: Sequence[Item]) -> KeyWish | None:
    found = [each for each in items if isinstance(each, Attribute) and each.type in _KEY_TYPES]
    if not found:
        return None
    if len(found) > 1 or len(found[0].values) > 1:
        raise DecodeError("the server wants keys of more than one type at once", finding=FINDING)
    return KeyWish(found[0].type, *found[0].values)


def _extensions(items: Sequence[Item]) -> tuple[ExtensionWish, ...]:
    found = _attributes(items, ID_EXTENSION_REQUEST) + _attributes(items, ID_EXTENSION_TEMPLATE)
    return template.decode_extensions(_only_value(found)) if found else ()


def _asks_for(items: Sequence[Item], wanted: ObjectIdentifier) -> bool:
    return any((each.type if isinstance(each, Attribute) else each) == wanted for each in items)


def _attributes(items: Sequence[Item], wanted: ObjectIdentifier) -> list[Attribute]:
    return [each for each in items if isinstance(each, Attribute) and each.type == wanted]


def _only_value(attributes: Sequence[Attribute]) -> bytes:
    if len(attributes) != 1 or len(attributes[0].values) != 1:
        raise DecodeError("an attribute that must be there once, with one value, is not", finding=FINDING)
    return attributes[0].values[0]
