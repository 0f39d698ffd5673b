# SPDX-License-Identifier: Apache-2.0
"""
An EST client without its network (RFC 7030, 8951, 9908; attestation-freshness).

It is stateless: who waits, repeats or gives up is the caller's business. Every answer is decoded strictly.
"""

import re
from collections.abc import Mapping
from typing import Final, Protocol

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from birthmark.core.errors import DecodeError
from birthmark.est import csrattrs, messages, wishes
from birthmark.est.errors import ESTClientRefused, ESTUnexpected
from birthmark.est.messages import NONCE_BYTES, NonceRequest, NonceResponse, Operation, Target

REASON_MAX_CHARACTERS: Final = 500
RETRY_AFTER_MAX_DIGITS: Final = 9

_REASON = re.compile(r"([a-z0-9]+(?:[.-][a-z0-9]+)*): (.*)")
_OK = 200
_NO_CONTENT = 204
_NOT_FOUND = 404


class Exchange(Protocol):
    """One HTTP exchange over the client's TLS; `net.transport.HTTPTransport.request` is one."""

    def __call__(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, /
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers (names in lower case) and body of the answer, whatever the status."""


class ESTClient:
    """
    The operations of one EST server under one label.

    Each call raises ESTClientRefused when the server says no or not yet, ESTUnexpected when its answer is not the
    operation's, and whatever `exchange` raises.
    """

    def __init__(self, exchange: Exchange, label: str | None = None) -> None:
        self._exchange = exchange
        self._label = label

    def cacerts(self) -> tuple[x509.Certificate, ...]:
        """Return the CA's certificates, in no particular order. They are trusted as far as the TLS session is."""
        answer = self._exchange("GET", self._path(Operation.CACERTS), {}, b"")
        return _certificates(_body(answer, messages.PKCS7_MEDIA_TYPE))

    def csrattrs(self) -> tuple[ObjectIdentifier | csrattrs.Attribute, ...]:
        """Return what the server wants in a CSR; nothing when it has no wishes (204 or 404)."""
        answer = self._exchange("GET", self._path(Operation.CSRATTRS), {}, b"")
        if answer[0] in {_NO_CONTENT, _NOT_FOUND}:
            return ()
        body = _body(answer, messages.CSRATTRS_MEDIA_TYPE)
        try:
            return csrattrs.decode(messages.decode_body(body))
        except DecodeError as error:
            raise _unexpected(error) from error

    def wishes(self) -> wishes.Wishes:
        """Return what the server's CSR attributes mean: its template, or the plain list of an older server."""
        try:
            return wishes.read(self.csrattrs())
        except DecodeError as error:
            raise _unexpected(error) from error

    def nonce(self, statement_type: ObjectIdentifier | None = None, unit: str | None = None) -> NonceResponse:
        """
        Return a fresh nonce of NONCE_BYTES bytes for evidence of this type.

        Args:
            statement_type: what the chip will answer with; None asks by GET, without parameters.
            unit: the unit serial, when a registration authority asks for a device; needs the statement type.

        """
        if statement_type is None and unit is None:
            answer = self._exchange("GET", self._path(Operation.NONCE), {}, b"")
        else:
            request = messages.encode_nonce_request(NonceRequest(NONCE_BYTES, statement_type, unit))
            headers = {"content-type": messages.NONCE_MEDIA_TYPE}
            answer = self._exchange("POST", self._path(Operation.NONCE), headers, request)
        return _nonce(_body(answer, messages.NONCE_MEDIA_TYPE))

    def simpleenroll(self, csr_der: bytes) -> x509.Certificate:
        """Return the certificate that is issued for the PKCS#10 request."""
        return self._enrol(Operation.SIMPLEENROLL, csr_der)

    def simplereenroll(self, csr_der: bytes) -> x509.Certificate:
        """Return the certificate that replaces the one that the TLS session shows."""
        return self._enrol(Operation.SIMPLEREENROLL, csr_der)

    def _enrol(self, operation: Operation, csr_der: bytes) -> x509.Certificate:
        headers = {"content-type": messages.PKCS10_MEDIA_TYPE}
        answer = self._exchange("POST", self._path(operation), headers, messages.encode_body(csr_der))
        certificates = _certificates(_body(answer, messages.PKCS7_MEDIA_TYPE))
        if len(certificates) != 1:
            # RFC 7030 §4.2.3: only the certificate that was issued. To guess which of several it is would be wrong.
            raise ESTUnexpected(f"{operation} answered with {len(certificates)} certificates instead of one")
        return certificates[0]

    def _path(self, operation: Operation) -> str:
        return messages.path_of(Target(self._label, operation))


def _body(answer: tuple[int, Mapping[str, str], bytes], media_type: str) -> bytes:
    status, headers, body = answer
    if status != _OK:
        raise read_refusal(status, headers, body)
    found = headers.get("content-type", "")
    if messages.media_type(found) != media_type:
        raise ESTUnexpected(f"the EST server answered with {found[:80]!r} instead of {media_type}")
    return body


def read_refusal(status: int, headers: Mapping[str, str], body: bytes) -> ESTClientRefused:
    """Return what an answer that is no success says: the finding and reason of its first line, and Retry-After."""
    first, _, _ = body[: 4 * REASON_MAX_CHARACTERS].decode("utf-8", "replace").partition("\n")
    text = "".join(each for each in first if each.isprintable())[:REASON_MAX_CHARACTERS]
    named = _REASON.fullmatch(text)
    finding, reason = named.groups() if named else ("", text or "no reason given")
    wait = headers.get("retry-after", "")
    seconds = int(wait) if wait.isdecimal() and wait.isascii() and len(wait) <= RETRY_AFTER_MAX_DIGITS else None
    return ESTClientRefused(status, finding, reason, seconds)


def _certificates(body: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return messages.read_certs_only(messages.decode_body(body))
    except DecodeError as error:
        raise _unexpected(error) from error


def _nonce(body: bytes) -> NonceResponse:
    try:
        response = messages.decode_nonce_response(body)
    except DecodeError as error:
        raise _unexpected(error) from error
    if len(response.nonce) != NONCE_BYTES:
        raise ESTUnexpected(f"the server gave a nonce of {len(response.nonce)} bytes; {NONCE_BYTES} are wanted")
    return response


def _unexpected(error: DecodeError) -> ESTUnexpected:
    return ESTUnexpected(f"the EST server's answer is not readable: {error.message}")
