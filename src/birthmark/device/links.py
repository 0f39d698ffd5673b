# SPDX-License-Identifier: Apache-2.0
"""
The connections of the agent: HTTP over mutual TLS to the cloud, EST over mutual TLS to the CA.

Both are pinned to one trust anchor, and the chip signs every handshake. Only the device's own certificate is sent:
CA and cloud hold the issuing CA's, and each certificate costs half a kilobyte of a metered link.
"""

import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.anchors import ANCHORS_MEDIA_TYPE, ANCHORS_PATH, encode_anchors
from birthmark.core.errors import DecodeError
from birthmark.device.errors import CloudAnswerUnreadable, CloudBusy, DeviceError, RefusedByCloud
from birthmark.device.ports import CommandTaken, Identity, Me, WireBytes
from birthmark.est.client import ESTClient, Patience, read_refusal
from birthmark.est.errors import ESTUnexpected
from birthmark.est.wishes import algorithm_of
from birthmark.net import tls
from birthmark.net.transport import HTTPTransport, Response
from birthmark.silicon.keys import ChipPrivateKey
from birthmark.silicon.port import Algorithm, SecureElement
from birthmark.silicon.tls import use_chip_key

REASON_MAX_CHARACTERS = 500
PENDING_LONGEST_S = 120
"""How long one run waits for a certificate that the CA has accepted to make; the next run asks anew."""

A = TypeVar("A", bound=msgspec.Struct)


class _Me(msgspec.Struct, frozen=True):
    unit: str
    rights: tuple[str, ...]


class _Command(msgspec.Struct, frozen=True):
    id: int
    name: str
    payload: dict[str, Any]


class ChipLinks:
    """Opens connections to one cloud and one CA with the identities of one chip (`device.ports.Links`)."""

    def __init__(self, chip: SecureElement, cloud_url: str, ca_url: str, trust_pem: bytes, timeout_s: float) -> None:
        self._chip = chip
        self._cloud_url = cloud_url
        self._ca_url = ca_url
        self._trust_pem = trust_pem
        self._timeout_s = timeout_s

    def cloud(self, identity: Identity) -> "HTTPCloudLink":
        """Return a connection to the cloud; it is made with the first request."""
        return HTTPCloudLink(HTTPTransport(self._cloud_url, self._context(identity), self._timeout_s), self._timeout_s)

    def authority(self, identity: Identity) -> "ESTAuthorityLink":
        """Return a connection to the CA; it is made with the first request."""
        return ESTAuthorityLink(HTTPTransport(self._ca_url, self._context(identity), self._timeout_s))

    def _context(self, identity: Identity) -> ssl.SSLContext:
        context = tls.client_context(self._trust_pem)
        own = identity.certificate.public_bytes(Encoding.DER)
        use_chip_key(context, [own], ChipPrivateKey(self._chip, identity.slot))
        return context


class HTTPCloudLink:
    """The cloud's HTTP interface (`device.ports.CloudLink`)."""

    def __init__(self, transport: HTTPTransport, timeout_s: float) -> None:
        self._transport = transport
        self._longest_wait_s = timeout_s / 2

    def me(self) -> Me:
        """Ask who the cloud takes us for."""
        me = _answer(self._transport.request("GET", "/v1/me"), _Me)
        return Me(me.unit, me.rights)

    def publish(self, unit: str, message: Mapping[str, Any]) -> None:
        """Hand over one message."""
        headers = {"content-type": "application/json"}
        body = msgspec.json.encode(dict(message))
        answer = self._transport.request("POST", f"{_path(unit)}/telemetry", headers, body)
        _require(answer, HTTPStatus.ACCEPTED)

    def next_command(self, unit: str, wait_s: float) -> CommandTaken | None:
        """Return the oldest command that is not done, waiting at most `wait_s` and half of our own time-out."""
        query = urlencode({"wait_s": min(wait_s, self._longest_wait_s)})
        answer = self._transport.request("GET", f"{_path(unit)}/commands?{query}")
        if answer.status == HTTPStatus.NO_CONTENT:
            return None
        command = _answer(answer, _Command)
        return CommandTaken(command.id, command.name, command.payload)

    def finish_command(self, unit: str, command_id: int) -> None:
        """Say that a command is done."""
        answer = self._transport.request("POST", f"{_path(unit)}/commands/{command_id}/done")
        _require(answer, HTTPStatus.NO_CONTENT)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


class ESTAuthorityLink:
    """The CA's EST interface (`device.ports.AuthorityLink`), without a label: the certificate says who asks."""

    def __init__(self, transport: HTTPTransport) -> None:
        self._transport = transport
        self._client = ESTClient(transport.request, patience=Patience(time.sleep, PENDING_LONGEST_S))

    def key_type(self) -> Algorithm | None:
        """Return the type of key that the CA wants next of the unit that asks; None when any will do."""
        wanted = self._client.wishes().key
        try:
            return None if wanted is None else Algorithm(algorithm_of(wanted).value)
        except DecodeError as error:
            raise ESTUnexpected(error.message, hint=error.hint, finding=error.finding) from error

    def nonce(self) -> bytes:
        """Return a fresh nonce for the unit that asks."""
        return self._client.nonce().nonce

    def renew(self, request: bytes) -> x509.Certificate:
        """Return the new certificate for a DER request."""
        return self._client.simplereenroll(request)

    def name_anchors(self, anchors: frozenset[str]) -> None:
        """Say which trust anchors we hold (SHA-256 of each)."""
        headers = {"content-type": ANCHORS_MEDIA_TYPE}
        answer = self._transport.request("POST", ANCHORS_PATH, headers, encode_anchors(anchors))
        if answer.status != HTTPStatus.NO_CONTENT:
            raise read_refusal(*answer)

    def wire_bytes(self) -> WireBytes:
        """Return what the connection has carried since it was open."""
        all_bytes, opening = self._transport.wire_bytes(), self._transport.handshake_bytes()
        return WireBytes(all_bytes.sent - opening.sent, all_bytes.received - opening.received)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def _path(unit: str) -> str:
    return f"/v1/devices/{quote(unit, safe='')}"


def _answer(answer: Response, form: type[A]) -> A:
    _require(answer, HTTPStatus.OK)
    try:
        return msgspec.json.decode(answer.body, type=form)
    except msgspec.MsgspecError as error:
        raise CloudAnswerUnreadable(f"not a {form.__name__.strip('_')}: {error}") from error


def _require(answer: Response, status: HTTPStatus) -> None:
    if answer.status != status:
        raise _refusal(answer)


def _refusal(answer: Response) -> DeviceError:
    """Return the cloud's refusal. Its first line is "<finding>: reason"; anything else has no finding of its own."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return CloudAnswerUnreadable(f"status {answer.status} is not an answer to this call")
    first = answer.body.decode("utf-8", "replace").partition("\n")[0][:REASON_MAX_CHARACTERS]
    finding, colon, reason = first.partition(": ")
    kind = CloudBusy if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else RefusedByCloud
    return kind(reason if colon else f"status {answer.status}: {first}", finding=finding if colon else "")
