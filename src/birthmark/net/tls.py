# SPDX-License-Identifier: Apache-2.0
"""
TLS contexts: explicit trust only, TLS 1.2 and 1.3, OpenSSL security level 2.

Level 2 refuses RSA below 2048 bits in every certificate of a path, and SHA-1 signatures in all but the anchor, whose
own signature proves nothing here (`pki.paths` refuses it all the same). No context reads the system's trust store. A
certificate in a trust file is an anchor only if it is self-signed; others are there to build paths with.
"""

import logging
import ssl
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.errors import ConfigError
from birthmark.core.secret_files import demand_private

TRUST_MAX_BYTES: Final = 4 << 20
_LOG: Final = logging.getLogger(__name__)
_PROBLEMS: Final = {
    "KEY_VALUES_MISMATCH": "the private key belongs to another certificate",
    "EE_KEY_TOO_SMALL": "the key is weaker than 112 bits of security",
    "CA_KEY_TOO_SMALL": "a CA key in the chain is weaker than 112 bits of security",
    "CA_MD_TOO_WEAK": "a certificate is signed with a digest that is too weak",
}
TLS12_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""TLS 1.2 with forward secrecy and AEAD only; TLS 1.3 has nothing else."""


def server_context(certificate: Path, key: Path, client_trust_pem: bytes) -> ssl.SSLContext:
    """
    Return a server context that asks for a client certificate and accepts none (EST: cacerts is open to all).

    A certificate that is presented is verified against `client_trust_pem`; a bad one ends the handshake.

    Raises:
        ConfigError: a file is missing, not PEM, encrypted; others than its owner may read the key, or it is another
            certificate's; finding net.tls-files.

    """
    return _server_context(certificate, key, client_trust_pem, ssl.CERT_OPTIONAL)


def mutual_server_context(certificate: Path, key: Path, client_trust_pem: bytes) -> ssl.SSLContext:
    """Return a server context that refuses a client without a good certificate. Raises as `server_context` does."""
    return _server_context(certificate, key, client_trust_pem, ssl.CERT_REQUIRED)


def client_context(trust_pem: bytes, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """
    Return a client context that trusts `trust_pem` alone and checks the server's name.

    Args:
        trust_pem: the anchors, and intermediates to build paths with.
        certificate: PEM file with our own certificate and its chain; None for no client certificate.
        key: PEM file of its key; None when it stands in the certificate's file.

    Raises:
        ConfigError: as `server_context`.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = True
    _harden(context)
    _trust(context, trust_pem)
    if certificate is not None:
        _load_identity(context, certificate, key or certificate)
    return context


def _server_context(certificate: Path, key: Path, client_trust_pem: bytes, ask: ssl.VerifyMode) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    _trust(context, client_trust_pem)
    context.verify_mode = ask
    # A resumed session knows the client's leaf but not its chain; a ticket that is never used costs 0.8 kB.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.sslobject_class = _AlertingSSLObject
    _load_identity(context, certificate, key)
    return context


_WITHOUT_ALERT: Final = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST"})
"""OpenSSL answers these with nothing: the connection is closed at once."""


class _AlertingSSLObject(ssl.SSLObject):
    """
    A server's TLS session whose fatal alert reaches the client.

    asyncio and uvloop drop the bytes that OpenSSL leaves behind when a handshake fails, so the client would see a
    closed connection and no reason. "Wants to read" makes them send those bytes; the failure is raised on the next
    call, which the client's close or the handshake's time limit brings.
    """

    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Take the handshake further. Raises as the base class, a fatal error one call later."""
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            _LOG.warning("tls.handshake-refused: %s", error.reason)
            if error.reason in _WITHOUT_ALERT:
                raise
            self._failure = error
            raise ssl.SSLWantReadError from error


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS12_CIPHERS)


def _trust(context: ssl.SSLContext, trust_pem: bytes) -> None:
    if len(trust_pem) > TRUST_MAX_BYTES:
        raise _unusable(f"{len(trust_pem)} bytes of trust anchors; at most {TRUST_MAX_BYTES} are read")
    try:
        certificates = x509.load_pem_x509_certificates(trust_pem)
        context.load_verify_locations(cadata=b"".join(each.public_bytes(Encoding.DER) for each in certificates))
    except (ValueError, x509.InvalidVersion, ssl.SSLError) as error:
        raise _unusable("the trust anchors are not PEM certificates") from error


def _load_identity(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _require_readable(certificate)
    _require_private(key)
    try:
        context.load_cert_chain(certificate, key, password=lambda: _refuse_passphrase(key))
    except ssl.SSLError as error:
        problem = _PROBLEMS.get(error.reason or "", "no PEM certificate with its PEM private key")
        raise _unusable(f"{certificate} and {key}: {problem}") from error


def _refuse_passphrase(key: Path) -> NoReturn:
    # Without this callback OpenSSL would ask for the passphrase on the terminal of a server.
    raise _unusable(f"{key}: the private key is encrypted; TLS keys are read without a passphrase")


def _require_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise _unusable(f"{path}: {error.strerror}") from error


def _require_private(key: Path) -> None:
    try:
        demand_private(key)
    except ConfigError as error:
        raise ConfigError(error.message, hint=error.hint, finding="net.tls-files") from error


def _unusable(problem: str) -> ConfigError:
    return ConfigError(problem, hint="name readable PEM files that belong together", finding="net.tls-files")
