# SPDX-License-Identifier: Apache-2.0
"""
An EST client without its network (RFC 7030, 8951, 9908; attestation-freshness).

It is stateless. It repeats a request in one case only: the server has accepted it and asks for time (202), and the
caller has given it patience. Every answer is decoded strictly.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from birthmark.core.errors import DecodeError
from birthmark.core.retry_after import retry_after_s
from birthmark.est import csrattrs, messages, wishes
from birthmark.est.errors import ESTClientRefused, ESTUnexpected
from birthmark.est.messages import NONCE_BYTES, NonceRequest, NonceResponse, Operation, Target

REASON_MAX_CHARACTERS: Final = 500

_REASON = re.compile(r"([a-z0-9]+(?:[.-][a-z0-9]+)*): (.*)")
_LOG = logging.getLogger(__name__)
_OK = 200
_ACCEPTED = 202
_NO_CONTENT = 204
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long a client waits for a certificate that the server has accepted to make (RFC 7030 §4.2.3).

    `wait` is called with seconds; `longest_s` is what it waits in all. A server that wants more than is left is
    answered with giving up at once: to wait in vain helps nobody.
    """

    wait: Callable[[float], None]
    longest_s: int


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

    def __init__(self, exchange: Exchange, label: str | None = None, patience: Patience | None = None) -> None:
        """Without patience, "not yet" (202) is a refusal that says when to come again."""
        self._exchange = exchange
        self._label = label
        self._patience = patience

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
        answer = self._ask(operation, messages.encode_body(csr_der))
        certificates = _certificates(_body(answer, messages.PKCS7_MEDIA_TYPE))
        if len(certificates) != 1:
            # RFC 7030 §4.2.3: only the certificate that was issued. To guess which of several it is would be wrong.
            raise ESTUnexpected(f"{operation} answered with {len(certificates)} certificates instead of one")
        return certificates[0]

    def _ask(self, operation: Operation, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Send the very same request until there is another answer than "not yet", or no patience is left."""
        left_s = 0 if self._patience is None else self._patience.longest_s
        while True:
            answer = self._exchange("POST", self._path(operation), {"content-type": messages.PKCS10_MEDIA_TYPE}, body)
            if answer[0] != _ACCEPTED or self._patience is None:
                return answer
            pending = read_refusal(*answer)
            if pending.retry_after_s is None or max(1, pending.retry_after_s) > left_s:
                return answer
            wait_s = max(1, pending.retry_after_s)
            _LOG.info("est.pending: %s asks to wait %d s: %s", operation, wait_s, pending.reason)
            self._patience.wait(wait_s)
            left_s -= wait_s

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
    return ESTClientRefused(status, finding, reason, retry_after_s(headers))


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
