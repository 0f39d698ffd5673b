# SPDX-License-Identifier: Apache-2.0
"""The webhook: what is signed, how answers are sorted, which files and addresses are taken."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused
from birthmark.core.errors import ConfigError
from birthmark.line.config import WebhookSignature
from birthmark.line.mes.webhook import Webhook, read_signer, target_of
from birthmark.net.tls import client_context, server_context
from birthmark.net.transport import HTTPTransport
from support.births import Births
from support.https_server import serving
from support.parcels import birth_parcel, parcel, started
from support.tls_files import TLSFiles, key_pem, new_key, write_key

NOW = datetime.now(UTC)
SECRET = b"0123456789abcdef0123456789abcdef"
PARCEL = parcel(started("BM-000001"))


@dataclass
class MES:
    """An ASGI application that gives one answer to everything, and keeps what it got."""

    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        where = f"{request.url.path}?{request.url.query}"
        self.got.append((request.method, where, dict(request.headers), await request.body()))
        await Response(self.body, self.status, self.headers)(scope, receive, send)


@pytest.fixture
def mes() -> MES:
    return MES()


@pytest.fixture
def webhook(mes: MES, tmp_path: Path) -> Iterator[Webhook]:
    files = TLSFiles(tmp_path, NOW)
    server = files.server()
    write_key(tmp_path / "secret", SECRET + b"\n")
    with serving(mes, server_context(server.certificate, server.key, files.trust)) as running:
        target = target_of(f"{running.url}/mes/events?line=1")
        transport = HTTPTransport(target.server, client_context(files.trust), 2.0)
        made = Webhook(transport, target.path, read_signer(tmp_path / "secret", WebhookSignature.HMAC), lambda: NOW)
        yield made
        made.close()


def test_the_call_is_what_standard_webhooks_says(mes: MES, webhook: Webhook) -> None:
    webhook.deliver(PARCEL)
    ((method, where, headers, body),) = mes.got
    assert (method, where) == ("POST", "/mes/events?line=1")
    assert body == PARCEL.body
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == headers["webhook-id"] == PARCEL.key
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    content = f"{PARCEL.key}.{int(NOW.timestamp())}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_body_of_a_birth_has_its_record_in_plain(mes: MES, webhook: Webhook) -> None:
    birth = birth_parcel(Births(), "BM-000001")
    webhook.deliver(birth)
    assert b'"record":{"record":"birthmark.birth.v1","unit_serial":"BM-000001"' in mes.got[0][3]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_success_is_taken(mes: MES, webhook: Webhook, status: int) -> None:
    mes.status = status
    webhook.deliver(PARCEL)


@pytest.mark.parametrize("status", [409, 410, 422])
def test_what_the_mes_will_never_take_is_refused_with_its_words(mes: MES, webhook: Webhook, status: int) -> None:
    mes.status, mes.body = status, b"no such order\x1b[2J"
    with pytest.raises(DeliveryRefused, match=re.escape(f"the MES answers {status}: no such order[2J")) as caught:
        webhook.deliver(PARCEL)
    assert caught.value.finding == "delivery.webhook.refused"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 425, 429, 500, 502, 503, 504])
def test_everything_else_is_deferred(mes: MES, webhook: Webhook, status: int) -> None:
    mes.status = status
    with pytest.raises(DeliveryDeferred) as caught:
        webhook.deliver(PARCEL)
    assert (caught.value.finding, caught.value.retry_after_s) == ("delivery.webhook.answer", None)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("17", 17.0), ("0", 0.0), ("soon", None), ("-1", None), ("Mon, 04 May 2026 12:00:30 GMT", 30.0)],
)
def test_the_patience_that_is_asked_for_is_told(
    mes: MES, webhook: Webhook, retry_after: str, seconds: float | None
) -> None:
    mes.status, mes.headers = 503, {"retry-after": retry_after, "date": "Mon, 04 May 2026 12:00:00 GMT"}
    with pytest.raises(DeliveryDeferred) as caught:
        webhook.deliver(PARCEL)
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed(mes: MES, webhook: Webhook, status: int) -> None:
    mes.status, mes.headers = status, {"location": "/elsewhere"}
    with pytest.raises(DeliveryDeferred, match="redirections are not followed"):
        webhook.deliver(PARCEL)
    assert [where for _, where, _, _ in mes.got] == ["/mes/events?line=1"]


def test_a_server_under_another_root_gets_nothing(mes: MES, tmp_path: Path) -> None:
    other = TLSFiles(tmp_path, NOW, organization="Other")
    server = TLSFiles(tmp_path, NOW).server()
    write_key(tmp_path / "secret", SECRET)
    with serving(mes, server_context(server.certificate, server.key, other.trust)) as running:
        transport = HTTPTransport(running.url, client_context(other.trust), 2.0)
        made = Webhook(transport, "/", read_signer(tmp_path / "secret", WebhookSignature.HMAC), lambda: NOW)
        with pytest.raises(DeliveryDeferred) as caught:
            made.deliver(PARCEL)
        made.close()
    assert caught.value.finding == "tls.untrusted-server"
    assert mes.got == []


# --- keys and addresses ---


def test_a_standard_secret_is_read_as_the_key_that_it_stands_for(tmp_path: Path) -> None:
    write_key(tmp_path / "plain", SECRET)
    write_key(tmp_path / "standard", b"whsec_" + base64.b64encode(SECRET))
    plain, standard = (read_signer(tmp_path / name, WebhookSignature.HMAC) for name in ("plain", "standard"))
    assert plain(b"content") == standard(b"content")


def test_the_vector_of_standard_webhooks_is_ours(tmp_path: Path) -> None:
    # The example by which the reference libraries of Standard Webhooks 1.0.0 test themselves.
    write_key(tmp_path / "secret", b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    sign = read_signer(tmp_path / "secret", WebhookSignature.HMAC)
    content = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    assert sign(content) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_es256_signature_verifies_under_the_public_key(tmp_path: Path) -> None:
    key = new_key()
    write_key(tmp_path / "key", key_pem(key))
    version, _, encoded = read_signer(tmp_path / "key", WebhookSignature.ES256)(b"content").partition(",")
    signature = base64.b64decode(encoded, validate=True)
    assert (version, len(signature)) == ("es256", 64)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key.public_key().verify(encode_dss_signature(r, s), b"content", ec.ECDSA(hashes.SHA256()))


RSA = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
P384 = key_pem(ec.generate_private_key(ec.SECP384R1()))


@pytest.mark.parametrize(
    ("content", "signature"),
    [
        pytest.param(b"short", WebhookSignature.HMAC, id="a short secret"),
        pytest.param(b"whsec_!!!", WebhookSignature.HMAC, id="no base64"),
        pytest.param(SECRET, WebhookSignature.ES256, id="no key"),
        pytest.param(RSA, WebhookSignature.ES256, id="RSA"),
        pytest.param(P384, WebhookSignature.ES256, id="P-384"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: bytes, signature: WebhookSignature) -> None:
    write_key(tmp_path / "secret", content)
    with pytest.raises(ConfigError) as caught:
        read_signer(tmp_path / "secret", signature)
    assert content.decode()[:16] not in str(caught.value)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    write_key(tmp_path / "secret", SECRET)
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640"):
        read_signer(tmp_path / "secret", WebhookSignature.HMAC)


@pytest.mark.parametrize(
    ("url", "server", "path"),
    [
        ("https://mes.example", "https://mes.example", "/"),
        ("https://mes.example:8443/in/box", "https://mes.example:8443", "/in/box"),
        ("https://[::1]:9/x?line=1&rig=a", "https://[::1]:9", "/x?line=1&rig=a"),
    ],
)
def test_an_address_is_a_server_and_a_path(url: str, server: str, path: str) -> None:
    target = target_of(url)
    assert (target.server, target.path) == (server, path)


@pytest.mark.parametrize(
    "url",
    ["http://mes.example/", "mes.example", "https://", "https://u:p@mes.example/", "https://m/#x", "https://[::1/"],
)
def test_what_is_no_address_of_a_webhook_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        target_of(url)
    assert "u:p" not in str(caught.value)
