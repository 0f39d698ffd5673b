# SPDX-License-Identifier: Apache-2.0
"""
An EST server without its network: a request is read or refused, an answer is written.

`read_request` checks in this order, and the first failure is the refusal:

1. the path names an operation                      404 est.unknown-operation
2. the operation is offered here                    501 est.not-offered
3. the method is one of the operation's             405 est.method, with Allow
4. the media type is the operation's                415 est.media-type
5. the body has at most EST_MAX_BODY_BYTES          413 est.too-large
6. the body is base64 of one DER SEQUENCE, or the   400 est.base64, est.der, est.nonce
   JSON of a nonce request
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.est import csrattrs, messages
from birthmark.est.errors import ESTRefusal
from birthmark.est.messages import NonceRequest, NonceResponse, Operation

REASON_MAX_CHARACTERS: Final = 500
ACCEPTED: Final = 202

_METHODS: Final[Mapping[Operation, tuple[str, ...]]] = MappingProxyType(
    {
        Operation.CACERTS: ("GET",),
        Operation.CSRATTRS: ("GET",),
        Operation.SIMPLEENROLL: ("POST",),
        Operation.SIMPLEREENROLL: ("POST",),
        Operation.NONCE: ("GET", "POST"),
    }
)
_NOT_OFFERED: Final[Mapping[Operation, str]] = MappingProxyType(
    {
        Operation.SERVERKEYGEN: "serverkeygen is not offered: a device's key is made in its chip and nowhere else",
        Operation.FULLCMC: "fullcmc is not offered: use simpleenroll or simplereenroll",
    }
)


@dataclass(frozen=True, slots=True)
class ESTRequest:
    """
    A request that is well formed; whether it is allowed is the CA's question.

    `payload` is the DER of the PKCS#10 request (parsed by nobody yet) for simpleenroll and simplereenroll, a
    NonceRequest for nonce, and b"" for cacerts and csrattrs. Content of a GET is passed over.
    """

    label: str | None
    operation: Operation
    payload: bytes | NonceRequest = b""


@dataclass(frozen=True, slots=True)
class ESTAnswer:
    """An HTTP answer; header names in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


# --- requests --------------------------------------------------------------------------------------------------


def read_request(method: str, path: str, content_type: str | None, body: bytes) -> ESTRequest:
    """
    Return the request, or raise the refusal that answers it.

    Args:
        method: in capitals.
        path: without the query, percent-decoded.
        content_type: the header's value, or None when there is none.
        body: the whole body, as read from the wire.

    Raises:
        ESTRefusal: one of the six above.

    """
    target = _target(path)
    _require_method(target.operation, method)
    if method == "GET":
        return ESTRequest(target.label, target.operation, _payload_of_get(target.operation))
    _require_media_type(target.operation, content_type)
    try:
        payload = _payload_of_post(target.operation, body)
    except DecodeError as error:
        status = 413 if error.finding == "est.too-large" else 400
        raise ESTRefusal(status, error.finding, error.message) from error
    return ESTRequest(target.label, target.operation, payload)


def _target(path: str) -> messages.Target:
    try:
        target = messages.parse_path(path)
    except DecodeError as error:
        raise ESTRefusal(404, error.finding, error.message) from error
    if target.operation in _NOT_OFFERED:
        raise ESTRefusal(501, "est.not-offered", _NOT_OFFERED[target.operation])
    return target


def _require_method(operation: Operation, method: str) -> None:
    allowed = _METHODS[operation]
    if method not in allowed:
        headers = {"allow": ", ".join(allowed)}
        raise ESTRefusal(405, "est.method", f"{operation} is called with {' or '.join(allowed)}", headers)


def _require_media_type(operation: Operation, content_type: str | None) -> None:
    wanted = messages.NONCE_MEDIA_TYPE if operation is Operation.NONCE else messages.PKCS10_MEDIA_TYPE
    if content_type is None or messages.media_type(content_type) != wanted:
        raise ESTRefusal(415, "est.media-type", f"{operation} wants {wanted}")


def _payload_of_get(operation: Operation) -> bytes | NonceRequest:
    return NonceRequest() if operation is Operation.NONCE else b""


def _payload_of_post(operation: Operation, body: bytes) -> bytes | NonceRequest:
    if operation is Operation.NONCE:
        return messages.decode_nonce_request(body)
    payload = messages.decode_body(body)
    messages.require_sequence(payload, "the PKCS#10 request")
    return payload


# --- answers ---------------------------------------------------------------------------------------------------


def cacerts_answer(certificates: Sequence[x509.Certificate]) -> ESTAnswer:
    """Return the CA's certificates (RFC 7030 §4.1.3)."""
    return _encoded(messages.PKCS7_MEDIA_TYPE, messages.certs_only(certificates))


def certificate_answer(certificate: bytes) -> ESTAnswer:
    """Return the issued certificate, given as DER, and only that (RFC 7030 §4.2.3)."""
    return _encoded(messages.CERTS_ONLY_MEDIA_TYPE, messages.certs_only_of(certificate))


def csrattrs_answer(items: Iterable[ObjectIdentifier | csrattrs.Attribute]) -> ESTAnswer:
    """Return what a CSR should hold (RFC 9908)."""
    return _encoded(messages.CSRATTRS_MEDIA_TYPE, csrattrs.encode(items))


def nonce_answer(response: NonceResponse) -> ESTAnswer:
    """Return a nonce. It must not be given to a second client, so nobody may store the answer."""
    headers = {"content-type": messages.NONCE_MEDIA_TYPE, "cache-control": "no-store"}
    return ESTAnswer(200, messages.encode_nonce_response(response), headers)


def pending_answer(error: BirthmarkError, retry_after_s: int) -> ESTAnswer:
    """
    Return 202: the request is accepted and its answer not ready (RFC 7030 §4.2.3).

    The client sends the same request again after `retry_after_s` seconds, at least 1; the server keeps all state.
    """
    if retry_after_s < 1:
        raise ValueError("a client that need not wait would ask without end")
    return refusal_answer(ACCEPTED, error, retry_after_s)


def refusal_answer(status: int, error: BirthmarkError, retry_after_s: int | None = None) -> ESTAnswer:
    """
    Return the plain-text answer to a request that gets no result: one line, `<finding>: <message>`.

    Plain text is what RFC 7030 §4.2.3 and RFC 8951 §5.1 want. The hint stays here: it is for who runs the server.
    Headers of an ESTRefusal are carried over.
    """
    headers = dict(error.headers) if isinstance(error, ESTRefusal) else {}
    headers["content-type"] = messages.REASON_MEDIA_TYPE
    if retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s)
    reason = " ".join(error.message.split())[:REASON_MAX_CHARACTERS]
    return ESTAnswer(status, f"{error.finding}: {reason}\n".encode(), headers)


def _encoded(media_type: str, der: bytes) -> ESTAnswer:
    # RFC 8951 §3 has the second header ignored. Clients that know RFC 7030 alone, as BouncyCastle's, need it to decode.
    headers = {"content-type": media_type, "content-transfer-encoding": "base64"}
    return ESTAnswer(200, messages.encode_body(der), headers)
