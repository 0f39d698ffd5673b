# SPDX-License-Identifier: Apache-2.0
"""
Threat: the edge. Whoever reaches the CA's port tries to be somebody else, or to get in with something weaker.

What fails in TLS, or as HTTP, has no entry in the ledger: nobody was there whom it could name. The CA's own log has a
line about it.
"""

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est.client import ESTClient
from birthmark.est.errors import ESTClientRefused
from birthmark.net.errors import Unreachable
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki.authorities import Authority, make_rig, make_root
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.errors import CutOff, Refused
from birthmark.testing.attacks.hellos import (
    FALLBACK_SCSV,
    GOOD_CIPHERS,
    TLS_1_1,
    TLS_1_2,
    WEAK_CIPHERS,
    client_hello,
    knock,
    shake_hands,
)
from birthmark.testing.attacks.intruder import RIG, Intruder, signer_of
from birthmark.testing.forge import new_key
from birthmark.testing.lab.ceremony import ORGANIZATION, offline_authority
from birthmark.testing.lab.files import ORDER_OF_THE_OTHER_RIG
from birthmark.testing.lab.record import RIGS

THREAT = "edge"
CHAIN_CERTIFICATES = 400
"""About 240 kB of certificates."""
SILENCE_S = 1.0
"""Who has not answered by then does not."""
LONG_HEAD_BYTES = 100_000
LONG_BODY_BYTES = 1_000_000
_TLS_LINE = ("tls.handshake-refused",)
_OK = range(200, 300)
_LONG_AGO = timedelta(days=4_000)

_VOUCHING = {"ssl-client-verify": "SUCCESS", "x-ssl-client-verify": "SUCCESS", "x-forwarded-proto": "https"}


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _base64(certificate: x509.Certificate) -> str:
    return base64.b64encode(_der(certificate)).decode()


def _quoted(certificate: x509.Certificate) -> str:
    return quote(certificate.public_bytes(Encoding.PEM).decode(), safe="")


DIALECTS: dict[str, Callable[[x509.Certificate], str]] = {
    "x-forwarded-client-cert": lambda it: f'Hash={hashlib.sha256(_der(it)).hexdigest()};Chain="{_quoted(it)}"',
    "ssl-client-cert": _quoted,
    "x-ssl-client-cert": _quoted,
    "x-ssl-cert": _quoted,
    "x-client-cert": _quoted,
    "x-amzn-mtls-clientcert": _quoted,
    "x-forwarded-tls-client-cert": lambda it: quote(_base64(it), safe=""),
    "x-ssl-client-der": _base64,
    "x-arr-clientcert": _base64,
    "client-cert": lambda it: f":{_base64(it)}:",
}
"""Envoy, nginx and its ingress, Apache, AWS, Traefik, HAProxy, Azure; RFC 9440."""


def forged_header(intruder: Intruder) -> None:
    """Enrol a software key without any client certificate, as a rig that a proxy's header names: in each dialect."""
    _in_each_dialect(intruder, intruder.stranger(), RIG, intruder.lab.order)


def borrowed_header(intruder: Intruder) -> None:
    """Work under another rig's order: with one's own certificate in TLS, and that rig's in a header."""
    _in_each_dialect(intruder, intruder.rig(), RIGS[1], ORDER_OF_THE_OTHER_RIG.name)


def plain_http(intruder: Intruder) -> None:
    """Speak plain HTTP to the TLS port, as a proxy would that ends TLS itself, with a rig's certificate in a header."""
    headers = {**_VOUCHING, "x-forwarded-client-cert": DIALECTS["x-forwarded-client-cert"](_certificate(intruder, RIG))}
    lines = [f"GET /.well-known/est/{intruder.lab.order}/csrattrs HTTP/1.1", "host: ca"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with knock(intruder.lab.ca_url) as link:
        link.settimeout(SILENCE_S)
        link.sendall("\r\n".join([*lines, "", ""]).encode())
        if _answer(link.recv).startswith(b"HTTP/"):
            return
    raise CutOff("the CA does not answer plain HTTP", finding="tls.handshake-refused")


def tls_1_1(intruder: Intruder) -> None:
    """Begin TLS 1.1."""
    shake_hands(intruder.lab.ca_url, client_hello(TLS_1_1, (*GOOD_CIPHERS, *WEAK_CIPHERS)))


def weak_cipher(intruder: Intruder) -> None:
    """Begin TLS 1.2 with ciphers that are broken or keep no secret for later."""
    shake_hands(intruder.lab.ca_url, client_hello(TLS_1_2, WEAK_CIPHERS))


def fallback(intruder: Intruder) -> None:
    """Begin TLS 1.2 as a client does that somebody on the way has made believe that 1.3 does not work."""
    shake_hands(intruder.lab.ca_url, client_hello(TLS_1_2, (*GOOD_CIPHERS, FALLBACK_SCSV)))


def expired_certificate(intruder: Intruder) -> None:
    """Come with a rig's certificate that our own operations CA has issued, and that has ended."""
    _enrol_with(intruder, offline_authority(intruder.lab.path, "operations"), _LONG_AGO)


def another_ca(intruder: Intruder) -> None:
    """Come with a rig's certificate from a CA of one's own that has the name of ours."""
    operations = offline_authority(intruder.lab.path, "operations").certificate
    name = operations.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    _enrol_with(intruder, make_root(ORGANIZATION, str(name), new_key(), intruder.now), timedelta())


def long_chain(intruder: Intruder) -> None:
    """Come with a rig's certificate and hundreds more behind it."""
    pem = (intruder.pki / f"{RIG}.pem").read_bytes()
    more = x509.load_pem_x509_certificates(pem)[-1].public_bytes(Encoding.PEM)
    with TemporaryDirectory() as folder:
        chain = Path(folder) / "chain.pem"
        chain.write_bytes(pem + CHAIN_CERTIFICATES * more)
        context = client_context((intruder.pki / "trust.pem").read_bytes(), chain, intruder.pki / f"{RIG}.key")
    transport = HTTPTransport(intruder.lab.ca_url, context)
    try:
        ESTClient(transport.request, intruder.lab.order).nonce(PKIX_EVIDENCE, intruder.new_unit())
    except Unreachable as error:  # it has closed while we were still sending, and its alert is lost
        raise CutOff(str(error), finding="tls.handshake-refused") from error
    finally:
        transport.close()


def long_head(intruder: Intruder) -> None:
    """Send a request whose head is several times as long as any that is read."""
    answer = intruder.rig().request("GET", "/v1/health", {"x-much": LONG_HEAD_BYTES * "a"})
    if answer.status in _OK:
        return
    finding, _, reason = answer.body.decode(errors="replace").partition(": ")
    raise Refused(f"{answer.status} {reason}", finding=finding)


def long_body(intruder: Intruder) -> None:
    """Send a request for a certificate that has a megabyte."""
    intruder.enrol(LONG_BODY_BYTES * b"\x00")


def _in_each_dialect(intruder: Intruder, transport: HTTPTransport, rig: str, order: str) -> None:
    """Return when one dialect got a certificate. Raises what all of them met, or the one that met something else."""
    met: dict[str, ESTClientRefused] = {}
    for name, written in DIALECTS.items():
        headers = {**_VOUCHING, name: written(_certificate(intruder, rig))}
        try:
            _enrol(_forging(transport, headers, order), intruder.new_unit())
        except ESTClientRefused as refusal:
            met.setdefault(refusal.finding, refusal)
        else:
            return
    raise list(met.values())[-1]


def _forging(transport: HTTPTransport, forged: dict[str, str], order: str) -> ESTClient:
    return ESTClient(
        lambda method, path, headers=None, body=b"": transport.request(
            method, path, {**(headers or {}), **forged}, body
        ),
        order,
    )


def _enrol(client: ESTClient, unit: str) -> None:
    client.simpleenroll(build_csr(new_key(), request_subject(unit), None))


def _enrol_with(intruder: Intruder, authority: Authority, ago: timedelta) -> None:
    key = new_key()
    certificate = make_rig(authority, RIG, key.public_key(), intruder.now - ago)
    _enrol(intruder.as_device(certificate, signer_of(key)), intruder.new_unit())


def _answer(receive: Callable[[int], bytes]) -> bytes:
    try:
        return receive(64)
    except (ConnectionError, TimeoutError):
        return b""


def _certificate(intruder: Intruder, rig: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((intruder.pki / f"{rig}.pem").read_bytes())


ATTACKS = (
    Attack("edge.forged-header", THREAT, "a rig by a proxy's header", ("ca.1.rig",), forged_header, ("ca.1.rig",)),
    Attack("edge.borrowed-header", THREAT, "another rig by a proxy's header", ("ca.1.order-rig",), borrowed_header),
    Attack("edge.plain-http", THREAT, "plain HTTP to the TLS port", ("tls.handshake-refused",), plain_http, _TLS_LINE),
    Attack("edge.tls-1.1", THREAT, "TLS 1.1", ("tls.protocol-version",), tls_1_1, _TLS_LINE),
    Attack(
        "edge.weak-cipher", THREAT, "TLS 1.2 with broken ciphers", ("tls.handshake-failure",), weak_cipher, _TLS_LINE
    ),
    Attack("edge.fallback", THREAT, "TLS 1.2, talked down to", ("tls.inappropriate-fallback",), fallback, _TLS_LINE),
    Attack(
        "edge.expired",
        THREAT,
        "a rig's certificate that has ended",
        ("tls.certificate-expired",),
        expired_certificate,
        _TLS_LINE,
    ),
    Attack("edge.another-ca", THREAT, "a rig's certificate of another CA", ("tls.unknown-ca",), another_ca, _TLS_LINE),
    Attack(
        "edge.long-chain",
        THREAT,
        "a chain of 240 kB",
        ("tls.illegal-parameter", "tls.handshake-refused"),
        long_chain,
        _TLS_LINE,
    ),
    Attack(
        "edge.long-head",
        THREAT,
        "a head of 100 kB",
        ("net.head-too-large",),
        long_head,
        ("net.head-too-large", "net.front.refused"),
    ),
    Attack(
        "edge.long-body",
        THREAT,
        "a request of a megabyte",
        ("net.body-too-large",),
        long_body,
        ("net.body-too-large", "net.front.refused"),
    ),
)
