# SPDX-License-Identifier: Apache-2.0
"""
The rig's own key and certificate: made here, certified by the CA, renewed with the present one.

The key is made on this rig and never leaves it. It is on the disk before the CA is asked, so that whatever ends the
program, the same command goes on with the same key, and the CA gives it the same certificate. A renewal makes the next
key and certificate beside the present ones, and puts them in their places when both are there (`put_in_place`).
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from birthmark.core import strict_json
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError, DecodeError
from birthmark.core.files import write_whole
from birthmark.line.config import RigConfig
from birthmark.line.errors import AuthorityAway, AuthorityRefused, CredentialUnusable
from birthmark.net.errors import NetError
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport, Response
from birthmark.pki import names
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey
from birthmark.pki.csr import build_csr
from birthmark.pki.errors import PathError
from birthmark.pki.keys import software
from birthmark.pki.paths import Purpose, key_digest, read_certificates, read_trust, validate_path
from birthmark.pki.rig_scope import scope_of

ENROLMENT_PATH: Final = "/v1/rigs/enrolment"
RENEWAL_PATH: Final = "/v1/rigs/renewal"
NEXT: Final = ".next"
RENEW_AT: Final = 2 / 3
"""The part of its life after which a certificate is due for renewal."""
_AWAY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT})


@dataclass(frozen=True, slots=True)
class RigCredential:
    """What a rig has. `orders` is None where the certificate is good for every order that names the rig."""

    certificate: x509.Certificate
    orders: frozenset[str] | None

    @property
    def key_sha256(self) -> str:
        """How `birthmark ca client deny key:...` names its key."""
        return key_digest(self.certificate)

    @property
    def renew_at(self) -> datetime:
        """From when on it is due for renewal."""
        begin, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return begin + RENEW_AT * (end - begin)


class _Told(msgspec.Struct, frozen=True):
    certificate: str


class _Refusal(msgspec.Struct, frozen=True):
    finding: str
    message: str
    hint: str = ""


def enrol(rig: RigConfig, ticket: str, at: datetime) -> RigCredential:
    """
    Make the rig's key, where there is none, and get its certificate for the ticket. With both there, do nothing.

    Raises:
        ConfigError: a file that cannot be used, or a key that is another certificate's. CredentialUnusable: the
            certificate that is there has ended, or the one that came is not for this rig. AuthorityAway,
            AuthorityRefused. KeyStoreError, OSError: a file cannot be written.

    """
    with _alone(rig):
        put_in_place(rig)
        if rig.certificate.exists():
            return _present(rig, at)
        key = _key_at(rig.key)
        body = {"ticket": ticket, "request": _request(rig, key)}
        chain = _asked(rig, ENROLMENT_PATH, body, with_certificate=False)
        _demand_ours(rig, chain, key, at)
        write_whole(rig.certificate, _pem(chain))
        return show(rig)


def renew(rig: RigConfig, at: datetime) -> RigCredential:
    """
    Get the next certificate, for a new key, with the present one, and put both in their places.

    Raises as `enrol`.
    """
    with _alone(rig):
        put_in_place(rig)
        _present(rig, at)
        key = _key_at(_next(rig.key))
        chain = _asked(rig, RENEWAL_PATH, {"request": _request(rig, key)}, with_certificate=True)
        _demand_ours(rig, chain, key, at)
        write_whole(_next(rig.certificate), _pem(chain))
        put_in_place(rig)
        return show(rig)


def show(rig: RigConfig) -> RigCredential:
    """Return what the rig has. Raises ConfigError, DecodeError (pki.rig-scope)."""
    certificate = read_certificates(read_file(rig.certificate), str(rig.certificate))[0]
    return RigCredential(certificate, scope_of(certificate))


def put_in_place(rig: RigConfig) -> None:
    """
    Finish a renewal whose certificate has come: the key first, the certificate then. Without one, do nothing.

    Whatever ended it in between, the certificate that lies beside is the one of the key that is in its place.
    """
    fresh = _next(rig.certificate)
    if not fresh.exists():
        return
    for path in (rig.key, rig.certificate):
        if _next(path).exists():
            _next(path).replace(path)
            _flush(path.parent)


def _next(path: Path) -> Path:
    return path.with_name(path.name + NEXT)


@contextmanager
def _alone(rig: RigConfig) -> Iterator[None]:
    """Let no second program make another key at the same time."""
    with rig.key.with_name(rig.key.name + ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _present(rig: RigConfig, at: datetime) -> RigCredential:
    present = show(rig)
    if software.load_plain(rig.key).public_key() != present.certificate.public_key():
        raise ConfigError(f"{rig.key} is not the key of {rig.certificate}", hint="name the two that belong together")
    if at >= present.certificate.not_valid_after_utc:
        raise CredentialUnusable(
            f"{rig.certificate} ended on {present.certificate.not_valid_after_utc:%Y-%m-%d}",
            hint="move key and certificate away, and enrol with a new ticket",
        )
    return present


def _key_at(path: Path) -> SigningKey:
    """Return the key in a file, made there (mode 0600) when there is none."""
    if not path.exists():
        software.save_plain(path, software.generate(KeyAlgorithm.P256))
    return software.load_plain(path)


def _request(rig: RigConfig, key: SigningKey) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, rig.rig)])
    return x509.load_der_x509_csr(build_csr(key, subject, None)).public_bytes(Encoding.PEM).decode("ascii")


def _asked(
    rig: RigConfig, path: str, body: Mapping[str, str], *, with_certificate: bool
) -> tuple[x509.Certificate, ...]:
    """Return the certificate that the CA hands out, and its chain. Raises AuthorityAway, AuthorityRefused."""
    own = (rig.certificate, rig.key) if with_certificate else ()
    context = client_context(read_file(rig.trust), *own)
    with closing(HTTPTransport(rig.ca_url, context, rig.ca_timeout_s)) as transport:
        try:
            answer = transport.request(
                "POST", path, {"content-type": "application/json"}, msgspec.json.encode(dict(body))
            )
        except NetError as error:
            raise AuthorityAway(error.message, hint=error.hint, finding=error.finding) from error
    try:
        if answer.status != HTTPStatus.OK:
            raise _turned_away(answer)
        return read_certificates(strict_json.decode(answer.body, _Told).certificate.encode(), "the CA's answer")
    except (DecodeError, ConfigError, msgspec.MsgspecError) as error:
        raise AuthorityRefused(f"{answer.status}, and not the answer of a CA", finding="line.ca.refused") from error


def _turned_away(answer: Response) -> AuthorityAway | AuthorityRefused:
    refusal = msgspec.json.decode(answer.body, type=_Refusal)
    if answer.status in _AWAY or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return AuthorityAway(refusal.message, hint=refusal.hint or "run the command again", finding=refusal.finding)
    return AuthorityRefused(refusal.message, hint=refusal.hint, finding=refusal.finding)


def _demand_ours(rig: RigConfig, chain: tuple[x509.Certificate, ...], key: SigningKey, at: datetime) -> None:
    """Pass a certificate for this rig and this key, under what the rig trusts. Raises CredentialUnusable."""
    leaf, *above = chain
    if leaf.public_key() != key.public_key():
        raise CredentialUnusable("the CA's certificate is for another key")
    try:
        trust = read_trust(read_file(rig.trust), str(rig.trust))
        validate_path(leaf, above, trust, at, Purpose.RIG)
        name = names.common_name_of(leaf.subject)
    except (PathError, DecodeError) as error:
        raise CredentialUnusable(f"the CA's certificate is no rig's that is trusted here: {error}") from error
    if name != rig.rig:
        raise CredentialUnusable(f"the ticket is for {name}, and this is {rig.rig}", hint="mend rig.toml")


def _pem(chain: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in chain)


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
