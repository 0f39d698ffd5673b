# SPDX-License-Identifier: Apache-2.0
"""
A key that stays in its chip, for mutual TLS with Python's own ssl module.

OpenSSL asks for one ECDSA signature per full handshake; an EC_KEY_METHOD passes that call to Python. Whoever uses the
context (sockets, http.client, urllib3, asyncio) needs to know nothing of it. When the signer fails, `do_handshake`
raises its ChipError and not OpenSSL's silence about it.

The handshake waits for the chip: in asyncio the loop stands still for the time of one signature.
"""

import ctypes
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.silicon import openssl
from birthmark.silicon.errors import ChipError, ChipRefused
from birthmark.silicon.keys import ChipPrivateKey

Signer = Callable[[bytes], bytes]
"""Takes a digest, returns the DER ECDSA signature over it."""

BAD_CERTIFICATE = "chip.tls.certificate"
BAD_SIGNATURE = "chip.tls.signature"


@dataclass(frozen=True, slots=True)
class _Curve:
    nid: int
    digest_bytes: int
    signature_algorithm: bytes


# RFC 8446 §4.2.3 ties each curve to one hash. TLS 1.2 does not, and a chip's key may know only one: it is pinned.
_CURVES = {
    "secp256r1": _Curve(openssl.NID_P256, 32, b"ECDSA+SHA256"),
    "secp384r1": _Curve(openssl.NID_P384, 48, b"ECDSA+SHA384"),
}


@dataclass(frozen=True, slots=True)
class _KeyInUse:
    signer: Signer
    curve: _Curve


# EC_KEY address -> who signs for it. An entry lives as long as the context that owns the EC_KEY.
_keys_in_use: dict[int, _KeyInUse] = {}
_hook_lock = threading.Lock()


class _Failure(threading.local):
    """What made the signer fail in this thread's handshake, until the handshake raises it."""

    error: BaseException | None = None

    def take(self) -> BaseException | None:
        """Return the error, and hold it no longer."""
        error, self.error = self.error, None
        return error


_failure = _Failure()


def use_chip_key(context: ssl.SSLContext, chain_der: Sequence[bytes], key: ChipPrivateKey | Signer) -> None:
    """
    Make `context` present this chain, own certificate first, and have `key` sign for it.

    The public key is the certificate's: nobody asks whether the signer holds its other half. If it does not, the
    peer refuses the handshake. One context is for one identity; make it once and keep it.

    Raises:
        ChipError: finding `chip.tls.unsupported` when this Python cannot do it, `chip.tls.certificate` when the
            certificate is not one for P-256 or P-384 that OpenSSL takes.

    """
    public_key = _public_key(chain_der[0])
    curve = _CURVES[public_key.curve.name]
    pointer = openssl.context_pointer(context)
    with _hooked_key(public_key, curve) as (evp_key, ec_key):
        _install(pointer, chain_der, evp_key, curve)
    in_use = _KeyInUse(key.sign_digest if isinstance(key, ChipPrivateKey) else key, curve)
    _keys_in_use[ec_key] = in_use
    weakref.finalize(context, _forget, ec_key, in_use)
    context.sslsocket_class = ChipTLSSocket
    context.sslobject_class = ChipTLSObject


def _public_key(certificate_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        public_key = x509.load_der_x509_certificate(certificate_der).public_key()
    except ValueError as error:
        raise ChipError("the certificate for TLS is malformed", finding=BAD_CERTIFICATE) from error
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name not in _CURVES:
        raise ChipError("the certificate for TLS has neither a P-256 nor a P-384 key", finding=BAD_CERTIFICATE)
    return public_key


@contextmanager
def _hooked_key(public_key: ec.EllipticCurvePublicKey, curve: _Curve) -> Iterator[tuple[int, int]]:
    """Yield the addresses of an EVP_PKEY without a private half and of its EC_KEY; give up our reference after."""
    functions = openssl.library()
    point = public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    ec_key: int = functions.EC_KEY_new_by_curve_name(curve.nid)
    evp_key: int = functions.EVP_PKEY_new()
    try:
        openssl.require(functions.EC_KEY_oct2key(ec_key, point, len(point), None), "public key")
        # The method comes before the assignment: that is when OpenSSL notes that the key is none of its own.
        openssl.require(functions.EC_KEY_set_method(ec_key, _hook().method), "key method")
        openssl.require(functions.EVP_PKEY_set1_EC_KEY(evp_key, ec_key), "key")
        yield evp_key, ec_key
    finally:
        functions.EVP_PKEY_free(evp_key)
        functions.EC_KEY_free(ec_key)


def _install(pointer: int, chain_der: Sequence[bytes], evp_key: int, curve: _Curve) -> None:
    functions = openssl.library()
    own, *issuers = chain_der
    openssl.require(
        functions.SSL_CTX_use_certificate_ASN1(pointer, len(own), own), "certificate", finding=BAD_CERTIFICATE
    )
    for issuer in issuers:
        _add_issuer(pointer, issuer)
    openssl.require(functions.SSL_CTX_use_PrivateKey(pointer, evp_key), "key", finding=BAD_CERTIFICATE)
    pinned = functions.SSL_CTX_ctrl(pointer, openssl.SSL_CTRL_SET_CLIENT_SIGALGS_LIST, 0, curve.signature_algorithm)
    openssl.require(pinned, "signature algorithm")


def _add_issuer(pointer: int, certificate_der: bytes) -> None:
    functions = openssl.library()
    start = ctypes.byref(ctypes.c_char_p(certificate_der))
    certificate = functions.d2i_X509(None, start, len(certificate_der))
    openssl.require(certificate, "issuer's certificate", finding=BAD_CERTIFICATE)
    # The 1 makes the context take a reference of its own; ours is freed in any case.
    added = functions.SSL_CTX_ctrl(pointer, openssl.SSL_CTRL_CHAIN_CERT, 1, certificate)
    functions.X509_free(certificate)
    openssl.require(added, "issuer's certificate", finding=BAD_CERTIFICATE)


def _forget(ec_key: int, in_use: _KeyInUse) -> None:
    # The address may belong to another context's key by now, if this context was given a second identity.
    if _keys_in_use.get(ec_key) is in_use:
        del _keys_in_use[ec_key]


@dataclass(frozen=True, slots=True)
class _Hook:
    method: int
    callback: Any


def _hook() -> _Hook:
    """Return the one EC_KEY_METHOD of the process. It is never freed: an EC_KEY reads it until its last breath."""
    # `cache` alone would let threads that come first at the same moment each make one, and keep only the last alive.
    with _hook_lock:
        return _only_hook()


@cache
def _only_hook() -> _Hook:
    functions = openssl.library()
    callback = openssl.SIGN_CALLBACK(_sign)
    method: int = functions.EC_KEY_METHOD_new(functions.EC_KEY_OpenSSL())
    functions.EC_KEY_METHOD_set_sign(method, callback, None, None)
    return _Hook(method, callback)


def _sign(
    _kind: int, digest: int, digest_bytes: int, signature: int, signature_bytes: Any, _kinv: int, _r: int, ec_key: int
) -> int:  # the arguments are OpenSSL's
    try:
        made = _signature(ec_key, ctypes.string_at(digest, digest_bytes))
    except BaseException as error:  # noqa: BLE001 no exception crosses C; the handshake raises it again
        _failure.error = error
        return 0
    ctypes.memmove(signature, made, len(made))
    signature_bytes[0] = len(made)
    return 1


def _signature(ec_key: int, digest: bytes) -> bytes:
    in_use = _keys_in_use[ec_key]
    if len(digest) != in_use.curve.digest_bytes:
        raise ChipRefused(f"TLS asks for a signature over {len(digest)} bytes, which the chip's key does not make")
    signature = in_use.signer(digest)
    # OpenSSL's buffer has this size and no more.
    if len(signature) > openssl.library().ECDSA_size(ec_key):
        raise ChipError("the signer's answer is longer than any ECDSA signature", finding=BAD_SIGNATURE)
    return signature


@contextmanager
def _signer_errors() -> Iterator[None]:
    """Raise what made the signer fail, in place of the ssl module's complaint that something did."""
    _failure.take()
    try:
        yield
    except ssl.SSLError as error:
        failure = _failure.take()
        if failure is None:
            raise
        if isinstance(failure, ChipError) or not isinstance(failure, Exception):
            raise failure from error
        raise ChipError(f"the signer for TLS failed: {type(failure).__name__}", finding=BAD_SIGNATURE) from failure


class ChipTLSSocket(ssl.SSLSocket):
    """What a context with a chip's key makes of a socket."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 the signature is the ssl module's
        """Do the handshake. Raises ChipError when the chip did not sign; the socket is closed then."""
        try:
            with _signer_errors():
                super().do_handshake(block)
        except ChipError:
            self.close()
            raise


class ChipTLSObject(ssl.SSLObject):
    """What a context with a chip's key makes of a pair of memory buffers, as asyncio uses them."""

    def do_handshake(self) -> None:
        """Do the handshake, as far as the buffers go. Raises SSLError with the ChipError as its cause."""
        try:
            with _signer_errors():
                super().do_handshake()
        except ChipError as error:
            # asyncio ends a handshake upon an SSLError; after anything else its caller waits for ever.
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, str(error)) from error


def self_test() -> None:
    """
    Prove that this Python can do mutual TLS with a key outside of it: one handshake per version, in memory.

    Both ends use a key made for the occasion. Run it once before the first real handshake.

    Raises:
        ChipError: finding `chip.tls.unsupported`; the hint says what is needed.

    """
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        signer = _CountingSigner()
        try:
            _handshake(*(_self_test_context(role, version, signer) for role in _ROLES))
        except ssl.SSLError as error:
            raise ChipError(f"the self-test of {version.name} failed: {error}", finding=openssl.UNSUPPORTED) from error
        if signer.signatures != len(_ROLES):
            raise ChipError(f"OpenSSL did not ask the signer in {version.name}", finding=openssl.UNSUPPORTED)


_ROLES = (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)
# TLS 1.2 takes most: hello, server's flight, client's flight, server's end.
_MOST_FLIGHTS = 8


class _CountingSigner:
    """A key in software, its certificate, and the number of signatures made."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "self-test")])
        builder = x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
        # Valid always, so that a device without a clock passes.
        builder = builder.not_valid_before(datetime(1970, 1, 1)).not_valid_after(datetime(9999, 12, 31))  # noqa: DTZ001 pyca takes a naive time as UTC
        self.certificate = builder.sign(self._key, SHA256())
        self.signatures = 0

    def __call__(self, digest: bytes) -> bytes:
        self.signatures += 1
        return self._key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))


def _self_test_context(role: int, version: ssl.TLSVersion, signer: _CountingSigner) -> ssl.SSLContext:
    context = ssl.SSLContext(role)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(cadata=signer.certificate.public_bytes(Encoding.DER))
    use_chip_key(context, [signer.certificate.public_bytes(Encoding.DER)], signer)
    return context


def _handshake(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up)
    server = server_context.wrap_bio(up, down, server_side=True)
    for _ in range(_MOST_FLIGHTS):
        for end in (client, server):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
