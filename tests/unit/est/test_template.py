# SPDX-License-Identifier: Apache-2.0
"""The certification request information template of RFC 9908 §3.4."""

import contextlib
import subprocess
from pathlib import Path

import pytest
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.est import template
from birthmark.est.csrattrs import CSRATTRS_MAX_ITEMS, Attribute
from birthmark.est.template import ID_EXTENSION_TEMPLATE, ExtensionWish, KeyWish, NameWish, Template

EC = ObjectIdentifier("1.2.840.10045.2.1")
P256 = der.encode(ObjectIdentifier("1.2.840.10045.3.1.7"))

# RFC 9908 §3.4 prints this structure and no bytes; OpenSSL makes the bytes. The OID is the registered one.
RFC_EXAMPLE = """
asn1 = SEQUENCE:template
[template]
version = INTEGER:0
subject = SEQUENCE:names
key = IMPLICIT:0,SEQUENCE:key
attributes = IMPLICIT:1,SET:attributes
[names]
1 = SET:cn
2 = SET:department
3 = SET:group
[cn]
1 = SEQUENCE:cn_alone
[cn_alone]
1 = OID:2.5.4.3
[department]
1 = SEQUENCE:my_department
[my_department]
1 = OID:2.5.4.11
2 = UTF8:myDept
[group]
1 = SEQUENCE:my_group
[my_group]
1 = OID:2.5.4.11
2 = UTF8:myGroup
[key]
1 = SEQUENCE:algorithm
[algorithm]
1 = OID:1.2.840.10045.2.1
2 = OID:1.2.840.10045.3.1.7
[attributes]
1 = SEQUENCE:attribute
[attribute]
1 = OID:1.2.840.113549.1.9.16.2.62
2 = SET:value
[value]
1 = SEQUENCE:extensions
[extensions]
1 = SEQUENCE:san
2 = SEQUENCE:usage
3 = SEQUENCE:eku
[san]
1 = OID:2.5.29.17
2 = OCTWRAP,SEQUENCE:san_names
[san_names]
1 = IMPLICIT:2,IA5:www.myServer.com
2 = IMPLICIT:7,OCTETSTRING:
[usage]
1 = OID:2.5.29.15
2 = BOOLEAN:TRUE
3 = OCTWRAP,FORMAT:BITLIST,BITSTRING:0,4
[eku]
1 = OID:2.5.29.37
"""


def made_by_openssl(folder: Path, description: str) -> bytes:
    source, out = folder / "asn1.cnf", folder / "asn1.der"
    source.write_text(description)
    command = ["openssl", "asn1parse", "-genconf", str(source), "-noout", "-out", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return out.read_bytes()


def test_the_example_of_rfc_9908_is_read_and_written(tmp_path: Path) -> None:
    example = made_by_openssl(tmp_path, RFC_EXAMPLE)
    found = template.decode(example)
    assert found.subject == (
        (NameWish(NameOID.COMMON_NAME),),
        (NameWish(NameOID.ORGANIZATIONAL_UNIT_NAME, der.encode("myDept")),),
        (NameWish(NameOID.ORGANIZATIONAL_UNIT_NAME, der.encode("myGroup")),),
    )
    assert found.key == KeyWish(EC, P256)
    (attribute,) = found.attributes
    assert attribute.type == ID_EXTENSION_TEMPLATE
    wanted = template.decode_extensions(attribute.values[0])
    assert [(each.oid, each.critical, each.value is None) for each in wanted] == [
        (ExtensionOID.SUBJECT_ALTERNATIVE_NAME, False, False),
        (ExtensionOID.KEY_USAGE, True, False),
        (ExtensionOID.EXTENDED_KEY_USAGE, False, True),
    ]
    assert template.encode(found) == example
    assert template.encode_extensions(wanted) == attribute.values[0]


OIDS = st.lists(st.integers(0, 2**40), min_size=1, max_size=6).map(
    lambda arcs: ObjectIdentifier(".".join(["1", "2", *map(str, arcs)]))
)
ANY = st.integers(0, 2**64).map(der.encode) | st.text(max_size=8).map(der.encode)
NAMES = st.builds(NameWish, OIDS, st.none() | ANY)
KEYS = st.builds(KeyWish, OIDS, st.none() | ANY) | st.builds(
    KeyWish, st.just(template.RSA_ENCRYPTION), st.none() | ANY, st.binary(max_size=40)
)
# DER orders the members of a SET: one value has one spelling, several are sorted by their encoding.
VALUES = st.sets(ANY, max_size=3).map(lambda found: tuple(sorted(found)))
TEMPLATES = st.builds(
    Template,
    st.none() | st.lists(NAMES.map(lambda name: (name,)), max_size=4).map(tuple),
    st.none() | KEYS,
    st.lists(st.builds(Attribute, OIDS, VALUES), max_size=1).map(tuple),
)


@given(TEMPLATES)
def test_what_is_written_is_read_again(wanted: Template) -> None:
    assert template.decode(template.encode(wanted)) == wanted


@given(
    st.lists(st.builds(ExtensionWish, OIDS, st.booleans(), st.none() | st.binary(max_size=20)), min_size=1, max_size=5)
)
def test_extensions_that_are_written_are_read_again(wanted: list[ExtensionWish]) -> None:
    written = template.encode_extensions(wanted)
    if len({each.oid for each in wanted}) == len(wanted):
        assert template.decode_extensions(written) == tuple(wanted)
    else:
        with pytest.raises(DecodeError, match="twice"):
            template.decode_extensions(written)


EMPTY = template.encode(Template())
EXTENSIONS = Attribute(ID_EXTENSION_TEMPLATE, (template.encode_extensions([ExtensionWish(EC)]),))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "DER"),
        (EMPTY + b"\x00", "DER"),
        (EMPTY[:-1], "DER"),
        (EMPTY.replace(b"\x02\x01\x00", b"\x02\x01\x01"), "version 1"),
        (bytes.fromhex("3009020100300231 00a100".replace(" ", "")), "RDN"),
        (template.encode(Template(key=KeyWish(EC, P256, b"\x04key"))), "RSA only"),
        (template.encode(Template(attributes=(EXTENSIONS, EXTENSIONS))), "more than one attribute"),
        (
            template.encode(Template(attributes=(EXTENSIONS, Attribute(template.ID_EXTENSION_REQUEST, ())))),
            "more than one attribute",
        ),
        (template.encode(Template(subject=((NameWish(EC),),) * (CSRATTRS_MAX_ITEMS + 1))), "too many"),
    ],
)
def test_what_is_no_template_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as refused:
        template.decode(data)
    assert refused.value.finding == "est.csrattrs"


@given(st.binary(max_size=80))
def test_decoding_raises_nothing_but_its_own_error(data: bytes) -> None:
    for decode, encode in (
        (template.decode, template.encode),
        (template.decode_extensions, template.encode_extensions),
    ):
        with contextlib.suppress(DecodeError):
            assert encode(decode(data)) == data  # type: ignore[arg-type] # the pairs belong together
