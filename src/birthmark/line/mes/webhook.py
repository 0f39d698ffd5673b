# SPDX-License-Identifier: Apache-2.0
"""
Events for a MES that is called: one signed HTTPS POST for each.

The body is the event as receivers get it (`core.line_events`). Headers and what is signed are those of Standard
Webhooks 1.0.0: `webhook-id` (the idempotency key, also as `Idempotency-Key`), `webhook-timestamp` (Unix seconds of
this attempt), `webhook-signature` over `<id>.<timestamp>.<body>`: `v1,` HMAC-SHA256, or, which is ours, `es256,` an
ECDSA signature with P-256 and SHA-256 as r and s of 32 bytes each (RFC 7518 §3.4). Both are in base64.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from birthmark.core.clock import Clock
from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, Parcel
from birthmark.core.errors import ConfigError
from birthmark.core.line_events import delivered_form
from birthmark.core.retry_after import retry_after_s
from birthmark.core.secret_files import read_secret
from birthmark.line.config import WebhookSignature
from birthmark.net.errors import NetError
from birthmark.net.transport import HTTPTransport, Response

ANSWER_MAX_BYTES: Final = 65_536
SECRET_MIN_BYTES: Final = 24
"""As Standard Webhooks has it."""
_SHOWN_CHARACTERS: Final = 200
_HALF_BYTES: Final = 32
_REFUSED: Final = frozenset({HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY})
_REDIRECTIONS: Final = range(300, 400)
_SUCCESSES: Final = range(200, 300)
_STANDARD_PREFIX: Final = b"whsec_"
Signer: TypeAlias = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the calls go: a server, and a path with its query there."""

    server: str
    path: str


def target_of(url: str) -> Target:
    """Take the URL of a webhook apart. Raises ConfigError: not https, or with a user or a fragment."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"the webhook's url: {error}", hint="write https://host[:port]/path") from error
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment or not url.isascii():
        raise ConfigError("the webhook's url is not one", hint="write https://host[:port]/path")
    query = f"?{parts.query}" if parts.query else ""
    return Target(f"https://{parts.netloc}", f"{parts.path or '/'}{query}")


def read_signer(path: Path, signature: WebhookSignature) -> Signer:
    """Return what signs calls with the secret in the file. Raises ConfigError, and never shows the secret."""
    secret = read_secret(path)
    return _es256(path, secret) if signature is WebhookSignature.ES256 else _hmac(path, secret)


class Webhook:
    """A destination (`line.ports.Destination`). It owns its transport."""

    def __init__(self, transport: HTTPTransport, path: str, signer: Signer, clock: Clock) -> None:
        self._transport = transport
        self._path = path
        self._signer = signer
        self._clock = clock

    def deliver(self, parcel: Parcel) -> None:
        """
        Post the event; return when the receiver says 2xx.

        Raises:
            DeliveryDeferred: unreachable, too slow, not trusted, or any answer that is not named here; with the
                Retry-After of the answer. A redirection is not followed.
            DeliveryRefused: 409, 410 or 422.
            DecodeError: not an event, or not a birth record in it.

        """
        body = delivered_form(parcel.event())
        try:
            answer = self._transport.request("POST", self._path, self._headers(parcel.key, body), body)
        except NetError as error:
            raise DeliveryDeferred(error.message, hint=error.hint, finding=error.finding) from error
        if answer.status not in _SUCCESSES:
            raise _turned_away(answer)

    def _headers(self, key: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock().timestamp()))
        return {
            "content-type": "application/json",
            "idempotency-key": key,
            "webhook-id": key,
            "webhook-timestamp": timestamp,
            "webhook-signature": self._signer(f"{key}.{timestamp}.".encode() + body),
        }

    def close(self) -> None:
        """Close the connections. No delivery may follow."""
        self._transport.close()


def _turned_away(answer: Response) -> DeliveryDeferred | DeliveryRefused:
    said = "".join(each for each in answer.body.decode("utf-8", "replace") if each.isprintable())[:_SHOWN_CHARACTERS]
    problem = f"the MES answers {answer.status}{f': {said}' if said else ''}"
    if answer.status in _REFUSED:
        return DeliveryRefused(problem, finding="delivery.webhook.refused")
    hint = "name the place itself: redirections are not followed" if answer.status in _REDIRECTIONS else ""
    return DeliveryDeferred(
        problem, hint=hint, finding="delivery.webhook.answer", retry_after_s=retry_after_s(answer.headers)
    )


def _hmac(path: Path, secret: bytes) -> Signer:
    if secret.startswith(_STANDARD_PREFIX):
        try:
            secret = base64.b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True)
        except ValueError as error:
            raise ConfigError(f"{path}: what follows whsec_ is not base64") from error
    if len(secret) < SECRET_MIN_BYTES:
        raise ConfigError(
            f"{path}: a secret of {len(secret)} bytes; {SECRET_MIN_BYTES} at least", hint="openssl rand -hex 32"
        )
    return lambda content: f"v1,{_base64(hmac.digest(secret, content, hashlib.sha256))}"


def _es256(path: Path, pem: bytes) -> Signer:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{path}: not a private key in PEM without a passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{path}: es256 signs with a key on P-256")

    def sign(content: bytes) -> str:
        r, s = decode_dss_signature(key.sign(content, ec.ECDSA(hashes.SHA256())))
        return f"es256,{_base64(r.to_bytes(_HALF_BYTES, 'big') + s.to_bytes(_HALF_BYTES, 'big'))}"

    return sign


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
