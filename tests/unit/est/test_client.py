# SPDX-License-Identifier: Apache-2.0
"""The EST client against the EST server, without a network between them."""

import contextlib
from collections.abc import Callable, Mapping

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est import csrattrs, messages, server, template, wishes
from birthmark.est.client import ESTClient, Patience, read_refusal
from birthmark.est.csrattrs import Attribute
from birthmark.est.errors import ESTClientError, ESTClientRefused, ESTRefusal, ESTUnexpected
from birthmark.est.messages import NONCE_BYTES, NonceRequest, NonceResponse, Operation
from birthmark.est.server import ESTAnswer, ESTRequest
from birthmark.pki.algorithms import KeyAlgorithm
from support.est_certificates import certificates

Answer = tuple[int, Mapping[str, str], bytes]
CHAIN = certificates(3)
WISHES = wishes.for_first_request(KeyAlgorithm.P256)
CSR = b"\x30\x03\x02\x01\x05"
NONCE = bytes(range(NONCE_BYTES))


class Server:
    """Answers as an EST server does, and remembers what it was asked."""

    def __init__(self, decide: Callable[[ESTRequest], ESTAnswer]) -> None:
        self.requests: list[ESTRequest] = []
        self._decide = decide

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes, /) -> Answer:
        try:
            self.requests.append(server.read_request(method, path, headers.get("content-type"), body))
            answer = self._decide(self.requests[-1])
        except BirthmarkError as error:
            answer = server.refusal_answer(error.status if isinstance(error, ESTRefusal) else 403, error)
        return answer.status, answer.headers, answer.body


def usual(request: ESTRequest) -> ESTAnswer:
    if request.operation is Operation.CACERTS:
        return server.cacerts_answer(CHAIN[:2])
    if request.operation is Operation.CSRATTRS:
        return server.csrattrs_answer(WISHES)
    if request.operation is Operation.NONCE:
        return server.nonce_answer(NonceResponse(NONCE, 60))
    return server.certificate_answer(CHAIN[2].public_bytes(Encoding.DER))


def answering(status: int, media_type: str, body: bytes, **headers: str) -> ESTClient:
    named = {"content-type": media_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    return ESTClient(lambda *_: (status, named, body), "order-7")


def test_each_operation_reaches_the_server_under_the_label() -> None:
    there = Server(usual)
    client = ESTClient(there.exchange, "order-7")
    assert set(client.cacerts()) == set(CHAIN[:2])
    assert client.csrattrs() == WISHES
    assert client.nonce(PKIX_EVIDENCE, "BM-000001") == NonceResponse(NONCE, 60)
    assert client.simpleenroll(CSR) == CHAIN[2]
    assert client.simplereenroll(CSR) == CHAIN[2]
    assert there.requests == [
        ESTRequest("order-7", Operation.CACERTS),
        ESTRequest("order-7", Operation.CSRATTRS),
        ESTRequest("order-7", Operation.NONCE, NonceRequest(NONCE_BYTES, PKIX_EVIDENCE, "BM-000001")),
        ESTRequest("order-7", Operation.SIMPLEENROLL, CSR),
        ESTRequest("order-7", Operation.SIMPLEREENROLL, CSR),
    ]


def test_a_nonce_without_parameters_is_asked_for_by_get() -> None:
    asked: list[str] = []

    def exchange(method: str, path: str, headers: Mapping[str, str], body: bytes, /) -> Answer:
        asked.append(f"{method} {path}")
        return Server(usual).exchange(method, path, headers, body)

    assert ESTClient(exchange).nonce().nonce == NONCE
    assert asked == ["GET /.well-known/est/nonce"]


def test_a_refusal_arrives_with_its_dotted_id_and_reason() -> None:
    def refuse(_: ESTRequest) -> ESTAnswer:
        raise DecodeError("order order-7 has no unit left", finding="ca.8.quota")

    with pytest.raises(ESTClientRefused) as refused:
        ESTClient(Server(refuse).exchange, "order-7").simpleenroll(CSR)
    assert refused.value.status == 403
    assert refused.value.finding == "ca.8.quota"
    assert refused.value.reason == "order order-7 has no unit left"
    assert refused.value.retry_after_s is None


def pending(times: int, retry_after_s: int) -> Callable[[ESTRequest], ESTAnswer]:
    """Answer "not yet" so many times, then with the certificate."""
    left = iter([True] * times)

    def decide(_: ESTRequest) -> ESTAnswer:
        if next(left, False):
            return server.pending_answer(DecodeError("the order waits", finding="ca.8.approval"), retry_after_s)
        return server.certificate_answer(CHAIN[2].public_bytes(Encoding.DER))

    return decide


def test_a_client_with_patience_waits_as_told_and_sends_the_same_request() -> None:
    waits: list[float] = []
    there = Server(pending(3, 20))
    client = ESTClient(there.exchange, "order-7", Patience(waits.append, 60))
    assert client.simpleenroll(CSR) == CHAIN[2]
    assert waits == [20, 20, 20]
    assert there.requests == [ESTRequest("order-7", Operation.SIMPLEENROLL, CSR)] * 4


@pytest.mark.parametrize(("longest_s", "waited"), [(59, [20, 20]), (19, []), (0, [])])
def test_a_client_gives_up_before_its_patience_is_over(longest_s: int, waited: list[float]) -> None:
    waits: list[float] = []
    with pytest.raises(ESTClientRefused) as refused:
        ESTClient(Server(pending(9, 20)).exchange, "order-7", Patience(waits.append, longest_s)).simplereenroll(CSR)
    assert (refused.value.status, refused.value.finding, refused.value.retry_after_s) == (202, "ca.8.approval", 20)
    assert waits == waited


@pytest.mark.parametrize(("retry_after", "waited"), [("0", [1, 1, 1]), ("later", []), ("", [])])
def test_a_server_that_names_no_time_is_not_asked_without_end(retry_after: str, waited: list[float]) -> None:
    waits: list[float] = []

    def exchange(method: str, path: str, headers: Mapping[str, str], body: bytes, /) -> Answer:
        del method, path, headers, body
        return 202, {"retry-after": retry_after}, b""

    with pytest.raises(ESTClientRefused):
        ESTClient(exchange, "order-7", Patience(waits.append, 3)).simpleenroll(CSR)
    assert waits == waited


def test_a_client_waits_for_nothing_but_202() -> None:
    waits: list[float] = []

    def exchange(method: str, path: str, headers: Mapping[str, str], body: bytes, /) -> Answer:
        del method, path, headers, body
        return 503, {"retry-after": "1"}, b"ca.store: later"

    with pytest.raises(ESTClientRefused):
        ESTClient(exchange, "order-7", Patience(waits.append, 60)).simpleenroll(CSR)
    assert waits == []


def test_not_yet_without_a_wait_is_never_said() -> None:
    with pytest.raises(ValueError, match="without end"):
        server.pending_answer(DecodeError("later"), 0)


NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("retry_after", "date", "seconds"),
    [
        ("Wed, 21 Oct 2026 07:29:30 GMT", NOW, 90),
        ("Wed, 21 Oct 2026 07:27:00 GMT", NOW, 0),
        ("Wed, 21 Oct 2026 07:29:30 GMT", "", None),
        ("Wed, 21 Oct 2026 07:29:30 -0000", NOW, None),
        ("Wed, 21 Oct 99999999999 07:29:30 GMT", NOW, None),
        ("soon", NOW, None),
    ],
)
def test_a_moment_to_come_again_counts_from_the_server_s_own_date(
    retry_after: str, date: str, seconds: int | None
) -> None:
    refused = read_refusal(503, {"retry-after": retry_after, "date": date}, b"")
    assert refused.retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (202, "30", 30),
        (503, "5", 5),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", None),
        (503, "-5", None),
        (503, "9" * 40, None),
        (503, "٣", None),
    ],
)
def test_not_yet_is_a_refusal_that_says_how_long_to_wait(status: int, retry_after: str, seconds: int | None) -> None:
    with pytest.raises(ESTClientRefused) as refused:
        answering(status, "text/plain", b"later", retry_after=retry_after).simpleenroll(CSR)
    assert refused.value.status == status
    assert refused.value.retry_after_s == seconds


@pytest.mark.parametrize(
    ("body", "finding", "reason"),
    [
        (b"plain words", "est.refused", "plain words"),
        (b"", "est.refused", "no reason given"),
        (b"<html>\n<body>", "est.refused", "<html>"),
        (b"ca.2.csr: bad\x1b[31m request\nmore", "ca.2.csr", "bad[31m request"),
        (b"\xff\xfe", "est.refused", "\ufffd\ufffd"),
        (b"Not A Finding: text", "est.refused", "Not A Finding: text"),
        (b"x" * 100_000, "est.refused", "x" * 500),
    ],
)
def test_another_server_s_reason_is_shown_in_one_printable_line(body: bytes, finding: str, reason: str) -> None:
    with pytest.raises(ESTClientRefused) as refused:
        answering(400, "text/html", body).cacerts()
    assert (refused.value.finding, refused.value.reason) == (finding, reason)


@pytest.mark.parametrize("status", [204, 404])
def test_a_server_without_csr_wishes_has_none(status: int) -> None:
    assert answering(status, "text/plain", b"").csrattrs() == ()


def test_wishes_are_read_or_unexpected() -> None:
    client = ESTClient(Server(usual).exchange, "order-7")
    assert client.wishes().key == wishes.KeyWish(
        ObjectIdentifier("1.2.840.10045.2.1"), b"\x06\x08*\x86H\xce=\x03\x01\x07"
    )
    twice = messages.encode_body(csrattrs.encode([Attribute(template.ID_TEMPLATE, ())]))
    with pytest.raises(ESTUnexpected):
        answering(200, "application/csrattrs", twice).wishes()


def test_csr_wishes_that_are_refused_are_an_error() -> None:
    with pytest.raises(ESTClientRefused):
        answering(403, "text/plain", b"est.refused: no").csrattrs()


P7 = "application/pkcs7-mime"


@pytest.mark.parametrize(
    ("call", "media_type", "body"),
    [
        ("cacerts", "text/html", messages.encode_body(messages.certs_only(CHAIN))),
        ("cacerts", P7, messages.certs_only(CHAIN)),
        ("cacerts", P7, b""),
        ("cacerts", P7, messages.encode_body(messages.certs_only(CHAIN) + b"\x00")),
        ("csrattrs", "application/csrattrs", messages.encode_body(b"\x05\x00")),
        ("csrattrs", P7, messages.encode_body(b"\x30\x00")),
        ("nonce", "application/json", messages.encode_nonce_response(NonceResponse(NONCE))),
        ("nonce", messages.NONCE_MEDIA_TYPE, b"{}"),
        ("nonce", messages.NONCE_MEDIA_TYPE, messages.encode_nonce_response(NonceResponse(b""))),
        ("nonce", messages.NONCE_MEDIA_TYPE, messages.encode_nonce_response(NonceResponse(bytes(8)))),
    ],
)
def test_success_with_another_content_is_unexpected(call: str, media_type: str, body: bytes) -> None:
    with pytest.raises(ESTUnexpected):
        getattr(answering(200, media_type, body), call)()


def test_more_than_the_issued_certificate_is_unexpected() -> None:
    chain = messages.encode_body(messages.certs_only(CHAIN))
    with pytest.raises(ESTUnexpected, match="3 certificates instead of one"):
        answering(200, P7, chain).simpleenroll(CSR)


class Hostile:
    """Answers whatever it was given."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._answer = status, headers, body

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: bytes, /) -> Answer:
        del method, path, headers, body
        return self._answer


MEDIA_TYPES = st.sampled_from(
    ["", "text/html", P7, messages.CERTS_ONLY_MEDIA_TYPE, messages.CSRATTRS_MEDIA_TYPE, messages.NONCE_MEDIA_TYPE]
)
GOOD = [
    messages.encode_body(messages.certs_only(CHAIN)),
    messages.encode_body(csrattrs.encode(WISHES)),
    messages.encode_nonce_response(NonceResponse(NONCE, 60)),
]


def damaged(body: bytes, start: int, end: int, middle: bytes) -> bytes:
    return body[:start] + middle + body[end:]


SPOTS = st.integers(0, 3_000)
BODIES = st.binary(max_size=200) | st.builds(damaged, st.sampled_from(GOOD), SPOTS, SPOTS, st.binary(max_size=4))


@given(status=st.sampled_from([200, 201, 202, 204, 302, 400, 404, 503]), media_type=MEDIA_TYPES, body=BODIES)
def test_whatever_a_server_answers_the_client_raises_nothing_but_its_own_errors(
    status: int, media_type: str, body: bytes
) -> None:
    client = ESTClient(Hostile(status, {"content-type": media_type}, body), "order-7")
    calls: tuple[Callable[[], object], ...] = (
        client.cacerts,
        client.csrattrs,
        client.wishes,
        client.nonce,
        lambda: client.simpleenroll(CSR),
    )
    for call in calls:
        with contextlib.suppress(ESTClientError):
            call()


def test_no_answer_that_is_cut_short_is_taken() -> None:
    whole = messages.encode_body(messages.certs_only(CHAIN))
    for length in range(len(whole)):
        with pytest.raises(ESTUnexpected):
            ESTClient(Hostile(200, {"content-type": P7}, whole[:length])).cacerts()


@pytest.mark.parametrize(
    ("call", "media_type", "body"),
    [
        ("cacerts", P7, b"A" * (messages.EST_MAX_BODY_BYTES + 1)),
        ("csrattrs", messages.CSRATTRS_MEDIA_TYPE, b"A" * (messages.EST_MAX_BODY_BYTES + 1)),
        ("nonce", messages.NONCE_MEDIA_TYPE, b" " * (messages.NONCE_MAX_BODY_BYTES + 1)),
        ("nonce", messages.NONCE_MEDIA_TYPE, b'{"a":' * 600),
    ],
)
def test_an_oversized_or_endless_answer_is_unexpected(call: str, media_type: str, body: bytes) -> None:
    with pytest.raises(ESTUnexpected):
        getattr(ESTClient(Hostile(200, {"content-type": media_type}, body)), call)()


@pytest.mark.parametrize("status", [301, 302, 307, 401])
def test_neither_redirection_nor_a_demand_for_a_password_is_followed(status: int) -> None:
    asked: list[str] = []

    def exchange(method: str, path: str, headers: Mapping[str, str], body: bytes, /) -> Answer:
        asked.append(f"{method} {path} {sorted(headers)}")
        del body
        return status, {"location": "https://other.example/", "www-authenticate": "Basic"}, b""

    with pytest.raises(ESTClientRefused):
        ESTClient(exchange, "order-7").simpleenroll(CSR)
    assert asked == ["POST /.well-known/est/order-7/simpleenroll ['content-type']"]
