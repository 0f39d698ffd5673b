# SPDX-License-Identifier: Apache-2.0
"""
What RFC 8951 (base64, white space, errors) and RFC 9908 (CSR attributes) demand of an EST server, over the wire.

docs/reference/est-divergences.md says which clause each test is for.
"""

import base64
import re

import pytest
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import AttributeOID

from birthmark.core import der
from birthmark.core.registry import ID_AA_ATTESTATION
from birthmark.est import csrattrs, template, wishes
from birthmark.est.csrattrs import Attribute
from birthmark.est.template import ID_EXTENSION_REQUEST, ID_EXTENSION_TEMPLATE, ID_TEMPLATE
from birthmark.net.transport import Response
from birthmark.pki.algorithms import KeyAlgorithm
from support.ca_parts import Board
from support.ca_process import ORDER, RunningCA
from support.est_parts import RIG, born, enrolment

EST = "/.well-known/est"
ENROL = f"{EST}/{ORDER}/simpleenroll"
PKCS10 = {"Content-Type": "application/pkcs10"}
EC_PUBLIC_KEY = ObjectIdentifier("1.2.840.10045.2.1")
P256 = der.encode(ObjectIdentifier("1.2.840.10045.3.1.7"))


def lines(text: bytes, columns: int, end: bytes) -> bytes:
    return b"".join(text[start : start + columns] + end for start in range(0, len(text), columns))


@pytest.fixture(scope="module")
def board(ca: RunningCA) -> Board:
    """A board that comes again and again: the same chip and key get the same certificate."""
    return ca.files.board("BM-000801")


# --- RFC 8951 §3 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [None, "base64", "binary", "8bit", "quoted-printable", "x-unknown", ""])
def test_a_content_transfer_encoding_in_a_request_is_ignored(ca: RunningCA, board: Board, encoding: str | None) -> None:
    headers = PKCS10 if encoding is None else PKCS10 | {"Content-Transfer-Encoding": encoding}
    answer = ca.transport(RIG).request("POST", ENROL, headers, base64.b64encode(enrolment(ca, board)))
    assert answer.status == 200, answer.body


SHAPES = {
    "one line": lambda text: text,
    "64 columns, LF": lambda text: lines(text, 64, b"\n"),
    "76 columns, CRLF": lambda text: lines(text, 76, b"\r\n"),
    "spaces and tabs": lambda text: lines(text, 10, b" \t"),
    "white space around": lambda text: b"\r\n " + text + b"\t\r\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_white_space_in_the_base64_of_a_request_is_passed_over(ca: RunningCA, board: Board, shape: str) -> None:
    body = SHAPES[shape](base64.b64encode(enrolment(ca, board)))
    assert ca.transport(RIG).request("POST", ENROL, PKCS10, body).status == 200


def test_every_answer_is_base64_of_der_in_one_line(ca: RunningCA) -> None:
    board = ca.files.board("BM-000803")
    answers = [
        ca.transport().request("GET", f"{EST}/cacerts"),
        ca.transport().request("GET", f"{EST}/csrattrs"),
        ca.transport(RIG).request("POST", ENROL, PKCS10, base64.b64encode(enrolment(ca, board))),
    ]
    for answer in answers:
        assert answer.status == 200
        assert re.fullmatch(rb"[A-Za-z0-9+/]+={0,2}", answer.body)
        der.decode(der.TLV, base64.b64decode(answer.body, validate=True), "the answer")


@pytest.mark.parametrize("encode", [bytes, base64.urlsafe_b64encode, base64.b32encode, bytes.hex])
def test_a_request_in_another_encoding_than_base64_is_refused(ca: RunningCA, encode: object) -> None:
    csr = enrolment(ca, ca.files.board("BM-000804"))
    body = encode(csr)  # type: ignore[operator] # a function of bytes
    answer = ca.transport(RIG).request("POST", ENROL, PKCS10, body.encode() if isinstance(body, str) else body)
    assert answer.status == 400
    assert answer.body.startswith((b"est.base64: ", b"est.der: "))


def test_a_request_in_ber_is_refused(ca: RunningCA) -> None:
    csr = enrolment(ca, ca.files.board("BM-000805"))
    long_length = b"\x30\x83\x00" + csr[2:4] + csr[4:]
    answer = ca.transport(RIG).request("POST", ENROL, PKCS10, base64.b64encode(long_length))
    assert (answer.status, answer.body[:9]) == (400, b"est.der: ")


# --- RFC 8951 §3.2.1, §5 ---------------------------------------------------------------------------------------


def test_certs_only_messages_are_read_by_others(ca: RunningCA) -> None:
    for path in (f"{EST}/cacerts", f"{EST}/{ORDER}/cacerts"):
        body = ca.transport().request("GET", path).body
        assert pkcs7.load_der_pkcs7_certificates(base64.b64decode(body))


def test_an_error_is_text_for_people(ca: RunningCA) -> None:
    body = base64.b64encode(ca.files.board("BM-000806").csr(bytes(32)))
    answer = ca.transport(RIG).request("POST", ENROL, PKCS10, body)
    assert (answer.status, answer.headers["content-type"]) == (403, "text/plain; charset=utf-8")
    assert answer.body == b"ca.6.nonce-unknown: the evidence is fresh for a nonce that is not ours\n"


# --- RFC 8951 §4, RFC 9908 -------------------------------------------------------------------------------------


def items(ca: RunningCA, label: str | None) -> tuple[wishes.Item, ...]:
    answer: Response = ca.transport().request("GET", f"{EST}/{label}/csrattrs" if label else f"{EST}/csrattrs")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/csrattrs")
    return csrattrs.decode(base64.b64decode(answer.body, validate=True))


LABELS = pytest.mark.parametrize("label", [ORDER, None], ids=["order", "renewal"])


@LABELS
def test_csrattrs_names_the_key_that_the_ca_demands_once_and_with_its_curve(ca: RunningCA, label: str | None) -> None:
    keys = [each for each in items(ca, label) if isinstance(each, Attribute) and each.type == EC_PUBLIC_KEY]
    assert keys == [Attribute(EC_PUBLIC_KEY, (P256,))]


@LABELS
def test_csrattrs_asks_for_evidence_and_for_no_link_that_it_does_not_demand(ca: RunningCA, label: str | None) -> None:
    found = items(ca, label)
    assert ID_AA_ATTESTATION in found
    assert AttributeOID.CHALLENGE_PASSWORD not in found


@LABELS
def test_csrattrs_holds_one_template_that_says_the_same(ca: RunningCA, label: str | None) -> None:
    found = items(ca, label)
    (held,) = (each for each in found if isinstance(each, Attribute) and each.type == ID_TEMPLATE)
    (value,) = held.values
    wanted = template.decode(value)
    assert wanted.key is not None
    assert (wanted.key.algorithm, wanted.key.parameters, wanted.key.placeholder) == (EC_PUBLIC_KEY, P256, None)
    assert Attribute(ID_AA_ATTESTATION, ()) in wanted.attributes


@LABELS
def test_the_template_asks_for_extensions_once_at_most(ca: RunningCA, label: str | None) -> None:
    (held,) = (each for each in items(ca, label) if isinstance(each, Attribute) and each.type == ID_TEMPLATE)
    types = [each.type for each in template.decode(held.values[0]).attributes]
    assert ID_EXTENSION_REQUEST not in types
    assert types.count(ID_EXTENSION_TEMPLATE) == (0 if label else 1)


def test_our_client_makes_what_the_template_says(ca: RunningCA) -> None:
    first, renewal = ca.est(None).wishes(), ca.est(None, None).wishes()
    assert first.key is not None
    assert wishes.algorithm_of(first.key) is KeyAlgorithm.P256
    device = born(ca, "BM-000807")
    asked = [each.oid for each in renewal.extensions]
    assert [rdn[0].type for rdn in renewal.subject or ()] == [each.oid for each in device.certificate.subject]
    assert all(device.certificate.extensions.get_extension_for_oid(oid) for oid in asked)
