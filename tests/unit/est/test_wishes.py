# SPDX-License-Identifier: Apache-2.0
"""What a server wants of a CSR: ours says it twice, and other servers' spellings are understood."""

import base64
import contextlib

import pytest
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import AttributeOID, ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_AA_ATTESTATION
from birthmark.est import csrattrs, template, wishes
from birthmark.est.csrattrs import Attribute
from birthmark.est.template import ID_EXTENSION_REQUEST, ID_TEMPLATE, ExtensionWish, KeyWish, NameWish, Template
from birthmark.est.wishes import Wishes
from birthmark.pki.algorithms import KeyAlgorithm

EC = ObjectIdentifier("1.2.840.10045.2.1")
RSA = ObjectIdentifier("1.2.840.113549.1.1.1")


def curve(dotted: str) -> KeyWish:
    return KeyWish(EC, der.encode(ObjectIdentifier(dotted)))


P256, P384, P521 = curve("1.2.840.10045.3.1.7"), curve("1.3.132.0.34"), curve("1.3.132.0.35")

# RFC 9908, sections 5.1 to 5.6, as printed there.
ACP = """MGgwZgYJKoZIhvcNAQkOMVkwVzBVBgNVHREBAf8ESzBJoEcGCCsGAQUFBwgKoDsWOXJmYzg5OTQrZmQ3MzlmYzIzYzM0NDAx
MTIyMzM0NDU1MDAwMDAwMDArQGFjcC5leGFtcGxlLmNvbQ=="""
MAC = "MDIGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgcrBgEBAQEWBggqhkjOPQQDAw=="
DRINK = "MEUGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAjBgkqhkiG9w0BCRQGCgmSJomT8ixkAQUGA1UEBQYIKoZIzj0EAwQ="
RSA_4096 = "MCkGCSqGSIb3DQEJBzARBgkqhkiG9w0BAQExBAICEAAGCSqGSIb3DQEBCw=="
CURVE = "MC4GCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgNVBAUGCCqGSM49BAMD"


@pytest.mark.parametrize(
    ("example", "key", "linking", "extensions"),
    [
        (ACP, None, False, [(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, True)]),
        (MAC, P384, True, []),
        (DRINK, P521, True, []),
        (RSA_4096, KeyWish(RSA, bytes.fromhex("02021000")), True, []),
        (CURVE, P384, True, []),
    ],
    ids=["5.1", "5.2", "5.3 and 5.6", "5.4", "5.5"],
)
def test_the_examples_of_rfc_9908_are_understood(
    example: str, key: KeyWish | None, *, linking: bool, extensions: list[tuple[ObjectIdentifier, bool]]
) -> None:
    found = wishes.read(csrattrs.decode(base64.b64decode(example)))
    assert (found.key, found.linking, found.attestation) == (key, linking, False)
    assert [(each.oid, each.critical) for each in found.extensions] == extensions


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_what_our_ca_wants_is_what_our_client_reads(algorithm: KeyAlgorithm) -> None:
    first, renewal = (
        wishes.read(csrattrs.decode(csrattrs.encode(wanted(algorithm))))
        for wanted in (wishes.for_first_request, wishes.for_renewal)
    )
    for each in (first, renewal):
        assert each.attestation
        assert not each.linking
        assert each.key is not None
        assert wishes.algorithm_of(each.key) is algorithm
    assert first.subject == ((NameWish(NameOID.SERIAL_NUMBER),),)
    assert first.extensions == ()
    assert [rdn[0].type for rdn in renewal.subject or ()] == [
        NameOID.ORGANIZATION_NAME,
        NameOID.COMMON_NAME,
        NameOID.SERIAL_NUMBER,
    ]
    assert renewal.extensions == (ExtensionWish(ExtensionOID.SUBJECT_ALTERNATIVE_NAME),)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_client_that_knows_no_template_reads_the_same_key_and_evidence(algorithm: KeyAlgorithm) -> None:
    *plain, last = wishes.for_first_request(algorithm)
    assert isinstance(last, Attribute)
    assert last.type == ID_TEMPLATE
    whole = wishes.read([*plain, last])
    assert wishes.read(plain) == Wishes(key=whole.key, attestation=True)


def test_beside_a_template_nothing_else_counts() -> None:
    wanted = Template(key=P256)
    items = [
        AttributeOID.CHALLENGE_PASSWORD,
        ID_AA_ATTESTATION,
        Attribute(EC, (der.encode(ObjectIdentifier("1.3.132.0.34")),)),
        Attribute(ID_TEMPLATE, (template.encode(wanted),)),
    ]
    assert wishes.read(items) == Wishes(key=P256)


def test_what_is_not_known_is_passed_over() -> None:
    unknown = ObjectIdentifier("1.2.3.4")
    assert wishes.read([unknown, Attribute(unknown, (b"\x05\x00",))]) == Wishes()


TEMPLATE = Attribute(ID_TEMPLATE, (template.encode(Template()),))
KEY = Attribute(EC, (der.encode(ObjectIdentifier("1.3.132.0.34")),))
EXTENSIONS = Attribute(ID_EXTENSION_REQUEST, (template.encode_extensions([ExtensionWish(EC)]),))


@pytest.mark.parametrize(
    "items",
    [
        [TEMPLATE, TEMPLATE],
        [Attribute(ID_TEMPLATE, ())],
        [Attribute(ID_TEMPLATE, (b"\x05\x00",))],
        [KEY, Attribute(RSA, ())],
        [Attribute(EC, (b"\x05\x00", b"\x30\x00"))],
        [EXTENSIONS, EXTENSIONS],
        [Attribute(ID_EXTENSION_REQUEST, ())],
        # The example of RFC 8951 §4, which RFC 9908 §5.2 calls not correct: an OID where Extensions should stand.
        [Attribute(ID_EXTENSION_REQUEST, (der.encode(ObjectIdentifier("1.3.6.1.1.1.1.22")),))],
    ],
    ids=str,
)
def test_wishes_that_contradict_themselves_are_refused(items: list[Attribute]) -> None:
    with pytest.raises(DecodeError) as refused:
        wishes.read(items)
    assert refused.value.finding == "est.csrattrs"


def test_a_key_that_we_do_not_make_is_named() -> None:
    with pytest.raises(DecodeError, match=r"1\.2\.840\.113549\.1\.1\.1") as refused:
        wishes.algorithm_of(KeyWish(RSA))
    assert refused.value.finding == "est.csrattrs.key"


@given(
    st.lists(
        st.sampled_from([EC, ID_AA_ATTESTATION, TEMPLATE, KEY, EXTENSIONS])
        | st.builds(
            Attribute,
            st.sampled_from([ID_TEMPLATE, EC, ID_EXTENSION_REQUEST]),
            st.binary(max_size=30).map(der.encode).map(lambda x: (x,)),
        ),
        max_size=5,
    )
)
def test_reading_wishes_raises_nothing_but_its_own_error(items: list[wishes.Item]) -> None:
    with contextlib.suppress(DecodeError):
        wishes.read(items)
