# SPDX-License-Identifier: Apache-2.0
"""
The CA over the wire: EST for nonces and certificates, two plain calls for states and births.

What the CA or the network answers is sorted here once: come again (AuthorityAway), never (AuthorityRefused), or, for
a birth, later (DeliveryDeferred) or never (DeliveryRefused).
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from http import HTTPStatus
from typing import Final, TypeVar

import msgspec
from cryptography import x509

from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, Parcel
from birthmark.core.errors import DecodeError
from birthmark.core.line_events import UnitBorn
from birthmark.est.client import ESTClient, read_refusal
from birthmark.est.errors import ESTClientRefused, ESTError
from birthmark.est.wishes import algorithm_of
from birthmark.line.errors import AuthorityAway, AuthorityRefused, LineError, UnitInWork
from birthmark.line.ports import CertificateState
from birthmark.net.errors import NetError, Unreachable
from birthmark.net.transport import HTTPTransport
from birthmark.silicon.port import Algorithm

T = TypeVar("T")

CERTIFICATES_PATH: Final = "/v1/certificates/"
BIRTHS_PATH: Final = "/v1/births"
_AWAY: Final = frozenset(
    {
        HTTPStatus.ACCEPTED,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_IN_WORK: Final = "ca.6.unit-in-work"
_AWAY_HINT: Final = "the line waits and resumes alone; see that the CA runs and is reachable"
_IN_WORK_HINT: Final = "the other rig's lease ends by itself; this position waits for it"
_WARM_TIMEOUT_S: Final = 5.0


class WireAuthority:
    """The CA (`line.ports.Authority`) behind one transport with kept-alive connections."""

    def __init__(self, transport: HTTPTransport, order: str) -> None:
        self._transport = transport
        self._est = ESTClient(transport.request, order)

    def issuing_certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the CA certificates that are no roots, as the CA hands them out."""
        return tuple(ca for ca in _asked(self._est.cacerts) if ca.subject != ca.issuer)

    def warm(self, connections: int, threads: Executor) -> None:
        """Open so many connections at once, with one small request on each. Whoever needs one later will see errors."""
        together = threading.Barrier(max(connections, 1))

        def one() -> None:
            together.wait(_WARM_TIMEOUT_S)
            with suppress(AuthorityAway):
                self.issuing_certificates()

        for opened in [threads.submit(one) for _ in range(connections)]:
            opened.result()

    def key_type(self) -> Algorithm:
        """Return the type of key that the CA wants under the order: P-256 where it has no wish."""
        wanted = _asked(self._est.wishes).key
        try:
            return Algorithm.P256 if wanted is None else Algorithm(algorithm_of(wanted).value)
        except DecodeError as error:
            raise AuthorityRefused(error.message, hint=error.hint, finding=error.finding) from error

    def nonce(self, statement_type: x509.ObjectIdentifier, unit: str) -> bytes:
        """Return a fresh nonce for this unit's evidence. It also leases the unit to this rig."""
        return _asked(lambda: self._est.nonce(statement_type, unit)).nonce

    def enrol(self, csr: bytes) -> x509.Certificate:
        """Return the certificate for a CSR. The same chip and key get the same certificate again."""
        return _asked(lambda: self._est.simpleenroll(csr))

    def certificate(self, sha256: str) -> CertificateState | None:
        """Return what the CA knows of the certificate with this fingerprint, or None."""
        answer = _asked(lambda: self._transport.request("GET", CERTIFICATES_PATH + sha256))
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise _turned_away(read_refusal(*answer))
        try:
            return msgspec.json.decode(answer.body, type=CertificateState)
        except msgspec.MsgspecError as error:
            raise AuthorityRefused(f"what the CA says of a certificate is malformed: {error}") from error


class Confirmation:
    """The CA as a destination (`line.ports.Destination`): a birth record confirms its certificate."""

    def __init__(self, transport: HTTPTransport) -> None:
        self._transport = transport

    def deliver(self, parcel: Parcel) -> None:
        """Return once the CA has the birth. Raises DeliveryDeferred, DeliveryRefused or DecodeError."""
        birth = parcel.event()
        if not isinstance(birth, UnitBorn):
            raise DeliveryRefused(f"the CA takes births, not {birth.kind}")
        headers = {"content-type": "application/jose"}
        try:
            answer = self._transport.request("POST", BIRTHS_PATH, headers, birth.jws.encode())
        except NetError as error:
            raise DeliveryDeferred(error.message, hint=error.hint, finding=error.finding) from error
        if answer.status == HTTPStatus.NO_CONTENT:
            return
        refused = read_refusal(*answer)
        later = answer.status in _AWAY or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if later:
            raise DeliveryDeferred(refused.message, finding=refused.finding, retry_after_s=refused.retry_after_s)
        raise DeliveryRefused(refused.message, finding=refused.finding)

    def close(self) -> None:
        """Leave the transport to those who share it."""


def _asked(ask: Callable[[], T]) -> T:
    """Return the CA's answer. Raises AuthorityAway or AuthorityRefused for whatever kept it from us."""
    try:
        return ask()
    except Unreachable as error:
        raise AuthorityAway(error.message, hint=_AWAY_HINT, finding=error.finding) from error
    except ESTClientRefused as error:
        raise _turned_away(error) from error
    except (NetError, ESTError) as error:
        raise AuthorityRefused(error.message, hint=error.hint, finding=error.finding) from error


def _turned_away(refused: ESTClientRefused) -> LineError:
    """Return the error that an answer which is no success stands for."""
    if refused.finding == _IN_WORK:
        return UnitInWork(refused.message, hint=_IN_WORK_HINT, finding=_IN_WORK, retry_after_s=refused.retry_after_s)
    if refused.status in _AWAY:
        return AuthorityAway(
            refused.message, hint=_AWAY_HINT, finding=refused.finding, retry_after_s=refused.retry_after_s
        )
    return AuthorityRefused(refused.message, finding=refused.finding)
