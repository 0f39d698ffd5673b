# SPDX-License-Identifier: Apache-2.0
"""
One table of right and wrong paths, for every type of key.

pyca/cryptography judges those of ECDSA and ML-DSA, our own step those where Ed25519 issues
(docs/adr/0011-ed25519-paths.md): each is the other's judge, for both must say the same of every line.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from birthmark.pki import extensions, names
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey, signature_hash
from birthmark.pki.authorities import Authority
from birthmark.pki.errors import PathError
from birthmark.pki.keys.software import generate
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from support.hierarchy import AT

ANY_CA = extensions.authority(None)
DAY = timedelta(days=1)
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.58270.99"), b"\x05\x00")
PERMITTED = x509.NameConstraints([x509.DirectoryName(names.named("Acme", "elsewhere"))], None)


@dataclass(frozen=True)
class Recipe:
    """What a certificate says. None leaves an extension out."""

    constraints: x509.BasicConstraints | None = ANY_CA
    constraints_critical: bool = True
    usage: x509.KeyUsage | None = extensions.SIGNS_CERTIFICATES
    purposes: x509.ExtendedKeyUsage | None = None
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    begin: datetime = AT - DAY
    end: datetime = AT + 30 * DAY


LEAF = Recipe(constraints=extensions.END_ENTITY, usage=extensions.SIGNS_DATA, purposes=CLIENT)


@dataclass(frozen=True)
class Case:
    root: Recipe = Recipe()
    issuing: Recipe = Recipe(constraints=extensions.authority(0))
    leaf: Recipe = LEAF
    purpose: Purpose = Purpose.CLIENT
    deeper: int = 0
    """How many more CAs there are between issuing CA and leaf."""


RIGHT = {
    "as it should be": Case(),
    "no basic constraints in the leaf": Case(leaf=replace(LEAF, constraints=None)),
    "a purpose that the CA hands down": Case(issuing=Recipe(purposes=CLIENT)),
    "an unknown extension that is not critical": Case(leaf=replace(LEAF, extra=((UNKNOWN, False),))),
    "an IDevID, without any purpose": Case(leaf=replace(LEAF, purposes=None), purpose=Purpose.IDEVID),
    "as deep as it may be": Case(issuing=Recipe(), deeper=2),
}
WRONG = {
    "leaf expired": (Case(leaf=replace(LEAF, end=AT - timedelta(seconds=1))), "pki.path.expired"),
    "leaf not yet valid": (Case(leaf=replace(LEAF, begin=AT + DAY)), "pki.path.not-yet-valid"),
    "issuing CA expired": (Case(issuing=Recipe(end=AT - timedelta(seconds=1))), "pki.path.expired"),
    "root expired": (Case(root=Recipe(end=AT - timedelta(seconds=1))), "pki.anchor.expired"),
    "another purpose": (Case(leaf=replace(LEAF, purposes=SERVER)), "pki.path.purpose"),
    "no purpose": (Case(leaf=replace(LEAF, purposes=None)), "pki.path.purpose"),
    "an IDevID with a purpose": (Case(purpose=Purpose.IDEVID), "pki.path.purpose"),
    "the leaf is a CA": (Case(leaf=replace(LEAF, constraints=extensions.authority(None))), "pki.path.malformed"),
    "the leaf may not sign": (
        Case(leaf=replace(LEAF, usage=extensions.SIGNS_CERTIFICATES)),
        "pki.path.malformed",
    ),
    "the leaf has no key usage": (Case(leaf=replace(LEAF, usage=None)), "pki.path.malformed"),
    "the issuer is no CA": (Case(issuing=Recipe(constraints=extensions.END_ENTITY)), "pki.path.malformed"),
    "the issuer has no basic constraints": (Case(issuing=Recipe(constraints=None)), "pki.path.malformed"),
    "the issuer's are not critical": (Case(issuing=Recipe(constraints_critical=False)), "pki.path.malformed"),
    "the issuer may not certify": (Case(issuing=Recipe(usage=extensions.SIGNS_DATA)), "pki.path.malformed"),
    "the issuer has no key usage": (Case(issuing=Recipe(usage=None)), "pki.path.malformed"),
    "the issuer is for servers": (Case(issuing=Recipe(purposes=SERVER)), "pki.path.malformed"),
    "a critical unknown in the leaf": (Case(leaf=replace(LEAF, extra=((UNKNOWN, True),))), "pki.path.malformed"),
    "a critical unknown in a CA": (Case(issuing=Recipe(extra=((UNKNOWN, True),))), "pki.path.malformed"),
    "names that the CA may not certify": (Case(issuing=Recipe(extra=((PERMITTED, True),))), "pki.path.malformed"),
    "a CA below one that may have none": (Case(deeper=1), "pki.path.malformed"),
    "a CA below a root that may have none": (
        Case(root=Recipe(constraints=extensions.authority(0))),
        "pki.path.malformed",
    ),
    "deeper than we follow": (Case(issuing=Recipe(), deeper=3), "pki.path"),
}
KEYS = {algorithm: [generate(algorithm) for _ in range(7)] for algorithm in KeyAlgorithm}


def made(recipe: Recipe, name: str, key: SigningKey, issuer: Authority | None) -> Authority:
    subject = names.named("Acme", name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(recipe.begin)
        .not_valid_after(recipe.end)
    )
    parts = (
        (recipe.constraints, recipe.constraints_critical),
        (recipe.usage, True),
        (recipe.purposes, False),
        *recipe.extra,
    )
    for value, critical in parts:
        if value is not None:
            builder = builder.add_extension(value, critical)
    signer = issuer.key if issuer else key
    return Authority(builder.sign(signer, signature_hash(signer.public_key())), key)


def judged(case: Case, algorithm: KeyAlgorithm, *, issuing_algorithm: KeyAlgorithm | None = None) -> int:
    """Return the length of the valid path, or raise what was wrong."""
    keys = KEYS[algorithm]
    root = made(case.root, "root", keys[0], None)
    chain = [made(case.issuing, "issuing", KEYS[issuing_algorithm or algorithm][1], root)]
    for at in range(case.deeper):
        chain.append(made(Recipe(), f"deeper {at}", keys[2 + at], chain[-1]))
    leaf = made(case.leaf, "leaf", keys[6], chain[-1])
    extra = [authority.certificate for authority in chain]
    return len(validate_path(leaf.certificate, extra, TrustAnchors((root.certificate,)), AT, case.purpose))


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
@pytest.mark.parametrize("case", RIGHT.values(), ids=RIGHT)
def test_a_right_path_is_valid_whatever_the_keys(case: Case, algorithm: KeyAlgorithm) -> None:
    assert judged(case, algorithm) == 3 + case.deeper


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
@pytest.mark.parametrize(("case", "finding"), WRONG.values(), ids=WRONG)
def test_a_wrong_path_is_refused_whatever_the_keys(case: Case, finding: str, algorithm: KeyAlgorithm) -> None:
    with pytest.raises(PathError) as refused:
        judged(case, algorithm)
    assert refused.value.finding.startswith(finding)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
@pytest.mark.parametrize("issuing", KeyAlgorithm)
def test_keys_of_two_types_may_stand_on_one_path(algorithm: KeyAlgorithm, issuing: KeyAlgorithm) -> None:
    assert judged(Case(), algorithm, issuing_algorithm=issuing) == 3


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_signature_by_another_key_of_the_same_name_is_refused(algorithm: KeyAlgorithm) -> None:
    real, forged = (made(Recipe(), "root", key, None) for key in KEYS[algorithm][:2])
    leaf = made(LEAF, "leaf", KEYS[algorithm][6], forged)
    with pytest.raises(PathError) as refused:
        validate_path(leaf.certificate, [], TrustAnchors((real.certificate,)), AT, Purpose.CLIENT)
    assert refused.value.finding == "pki.path.unknown-issuer"


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
@pytest.mark.parametrize("look", [lambda p: p[:1], lambda p: p[1:]], ids=["anchor alone", "nothing above the leaf"])
def test_a_path_without_its_anchor_is_refused(
    look: Callable[[list[x509.Certificate]], list[x509.Certificate]], algorithm: KeyAlgorithm
) -> None:
    root = made(Recipe(), "root", KEYS[algorithm][0], None)
    issuing = made(Recipe(), "issuing", KEYS[algorithm][1], root)
    leaf = made(LEAF, "leaf", KEYS[algorithm][6], issuing)
    stranger = made(Recipe(), "stranger", KEYS[algorithm][2], None)
    presented = look([root.certificate, issuing.certificate])
    with pytest.raises(PathError) as refused:
        validate_path(leaf.certificate, presented, TrustAnchors((stranger.certificate,)), AT, Purpose.CLIENT)
    assert refused.value.finding == "pki.path.unknown-issuer"
