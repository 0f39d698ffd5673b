# SPDX-License-Identifier: Apache-2.0
"""The EST server's edge: what is let through to the CA, and how the rest is answered."""

import contextlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.core.registry import EST_NONCE_MEDIA_TYPE, PKIX_EVIDENCE
from birthmark.est import messages, server, wishes
from birthmark.est.errors import ESTRefusal
from birthmark.est.messages import NonceRequest, NonceResponse, Operation
from birthmark.pki.algorithms import KeyAlgorithm
from support.est_certificates import certificates

EST = "/.well-known/est"
SEQUENCE = messages.encode_body(b"\x30\x03\x02\x01\x05")
PKCS10 = "application/pkcs10"
NONCE = EST_NONCE_MEDIA_TYPE


def test_cacerts_is_read_with_and_without_a_label() -> None:
    assert server.read_request("GET", f"{EST}/cacerts", None, b"") == server.ESTRequest(None, Operation.CACERTS)
    labelled = server.read_request("GET", f"{EST}/order-7/csrattrs", None, b"")
    assert labelled == server.ESTRequest("order-7", Operation.CSRATTRS)


@pytest.mark.parametrize("operation", [Operation.SIMPLEENROLL, Operation.SIMPLEREENROLL])
@pytest.mark.parametrize("content_type", [PKCS10, "Application/PKCS10", "application/pkcs10; charset=utf-8"])
def test_a_csr_is_handed_on_as_its_der(operation: Operation, content_type: str) -> None:
    request = server.read_request("POST", f"{EST}/order-7/{operation}", content_type, SEQUENCE + b"\r\n")
    assert request == server.ESTRequest("order-7", operation, b"\x30\x03\x02\x01\x05")


def test_a_nonce_request_is_handed_on_decoded() -> None:
    wanted = NonceRequest(32, PKIX_EVIDENCE, "BM-000001")
    body = messages.encode_nonce_request(wanted)
    assert server.read_request("POST", f"{EST}/order-7/nonce", NONCE, body).payload == wanted


def test_a_nonce_by_get_has_the_defaults() -> None:
    assert server.read_request("GET", f"{EST}/nonce", None, b"").payload == NonceRequest()


@pytest.mark.parametrize(
    ("method", "path", "content_type", "body", "status", "finding"),
    [
        ("GET", "/", None, b"", 404, "est.unknown-operation"),
        ("GET", f"{EST}/other", None, b"", 404, "est.unknown-operation"),
        ("POST", f"{EST}/serverkeygen", PKCS10, SEQUENCE, 501, "est.not-offered"),
        ("GET", f"{EST}/order-7/serverkeygen", None, b"", 501, "est.not-offered"),
        ("POST", f"{EST}/fullcmc", "application/pkcs7-mime", SEQUENCE, 501, "est.not-offered"),
        ("POST", f"{EST}/cacerts", PKCS10, SEQUENCE, 405, "est.method"),
        ("HEAD", f"{EST}/cacerts", None, b"", 405, "est.method"),
        ("GET", f"{EST}/simpleenroll", PKCS10, SEQUENCE, 405, "est.method"),
        ("PUT", f"{EST}/nonce", NONCE, b"{}", 405, "est.method"),
        ("POST", f"{EST}/simpleenroll", None, SEQUENCE, 415, "est.media-type"),
        ("POST", f"{EST}/simpleenroll", "application/pkcs10x", SEQUENCE, 415, "est.media-type"),
        ("POST", f"{EST}/nonce", "application/json", b"{}", 415, "est.media-type"),
        ("POST", f"{EST}/simpleenroll", PKCS10, b"A" * (messages.EST_MAX_BODY_BYTES + 1), 413, "est.too-large"),
        ("POST", f"{EST}/nonce", NONCE, b" " * (messages.NONCE_MAX_BODY_BYTES + 1), 413, "est.too-large"),
        ("POST", f"{EST}/simpleenroll", PKCS10, b"\x30\x03\x02\x01\x05", 400, "est.base64"),
        ("POST", f"{EST}/simpleenroll", PKCS10, b"", 400, "est.base64"),
        ("POST", f"{EST}/simpleenroll", PKCS10, messages.encode_body(b"\x30\x00\x00"), 400, "est.der"),
        ("POST", f"{EST}/nonce", NONCE, b'{"len":32,"colour":"red"}', 400, "est.nonce"),
    ],
)
def test_the_first_check_that_fails_is_the_answer(
    method: str, path: str, content_type: str | None, body: bytes, status: int, finding: str
) -> None:
    with pytest.raises(ESTRefusal) as refused:
        server.read_request(method, path, content_type, body)
    assert (refused.value.status, refused.value.finding) == (status, finding)


def test_a_wrong_method_is_told_the_right_ones() -> None:
    with pytest.raises(ESTRefusal) as refused:
        server.read_request("DELETE", f"{EST}/nonce", None, b"")
    answer = server.refusal_answer(refused.value.status, refused.value)
    assert answer.headers["allow"] == "GET, POST"
    assert answer.body == b"est.method: nonce is called with GET or POST\n"


@given(
    method=st.sampled_from(["GET", "POST"]),
    operation=st.sampled_from(Operation),
    content_type=st.sampled_from([PKCS10, NONCE]),
    body=st.binary(max_size=60),
)
def test_reading_a_request_raises_nothing_but_a_refusal(
    method: str, operation: Operation, content_type: str, body: bytes
) -> None:
    with contextlib.suppress(ESTRefusal):
        server.read_request(method, f"{EST}/{operation}", content_type, body)


def test_a_refusal_is_one_plain_line_without_the_hint() -> None:
    error = BirthmarkError("not\r\nthis order\x0bnow", hint="ask the CA's operator", finding="ca.8.order-closed")
    answer = server.refusal_answer(403, error)
    assert answer.status == 403
    assert answer.headers == {"content-type": "text/plain; charset=utf-8"}
    assert answer.body == b"ca.8.order-closed: not this order now\n"


def test_a_refusal_can_say_when_to_come_again() -> None:
    answer = server.refusal_answer(503, DecodeError("the token is away"), retry_after_s=30)
    assert answer.headers["retry-after"] == "30"


def test_a_long_reason_is_cut() -> None:
    answer = server.refusal_answer(400, DecodeError("x" * 10_000))
    assert len(answer.body) < server.REASON_MAX_CHARACTERS + 100


def test_answers_carry_the_media_types_of_the_rfc_and_one_line_of_base64() -> None:
    chain = certificates(2)
    answers = [
        (server.cacerts_answer(chain), "application/pkcs7-mime"),
        (
            server.certificate_answer(chain[0].public_bytes(Encoding.DER)),
            "application/pkcs7-mime; smime-type=certs-only",
        ),
        (server.csrattrs_answer(wishes.for_renewal(KeyAlgorithm.MLDSA65)), "application/csrattrs"),
    ]
    for answer, media_type in answers:
        assert (answer.status, answer.headers["content-type"]) == (200, media_type)
        assert answer.headers["content-transfer-encoding"] == "base64"
        assert not set(answer.body) & set(b"\r\n \t")
        assert messages.decode_body(answer.body)


def test_a_nonce_answer_may_not_be_stored() -> None:
    answer = server.nonce_answer(NonceResponse(bytes(32), 60))
    assert answer.headers == {"content-type": NONCE, "cache-control": "no-store"}
