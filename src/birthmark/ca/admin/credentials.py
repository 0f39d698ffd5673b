# SPDX-License-Identifier: Apache-2.0
"""
The key and certificate with which a person works on the CA: to sign documents offline, and to be known over TLS.

The key stays encrypted on the disk, or in a token; it is never written anywhere in the clear.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.core import jws
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError
from birthmark.core.proposals import (
    PROPOSAL_TYP,
    RULING_TYP,
    ProposalDocument,
    RulingDocument,
    read_document,
    read_ruling,
)
from birthmark.core.secret_files import read_secret
from birthmark.pki.algorithms import SigningKey
from birthmark.pki.keys import software
from birthmark.pki.keys.pkcs11 import Token
from birthmark.pki.paths import read_certificates

TOKEN_SCHEME: Final = "pkcs11:"  # noqa: S105 the beginning of a URI
_ATTRIBUTES: Final = frozenset({"token", "object", "module-path", "pin-source"})

AskSecret = Callable[[str], bytes]
"""Returns a passphrase or a PIN for what is named."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its chain, and its key on P-256."""

    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The person's own."""
        return self.chain[0]

    def sign_proposal(self, authority: str, act: str, subject: str, terms: msgspec.Struct, reason: str) -> str:
        """Return the compact JWS of a proposal to the CA of this name. Raises DecodeError (proposal.malformed)."""
        raw = msgspec.Raw(msgspec.json.encode(terms))
        document = ProposalDocument(authority=authority, act=act, subject=subject, reason=reason, terms=raw)
        payload = msgspec.json.encode(document)
        read_document(payload)  # what no CA would read is not signed
        return jws.sign(payload, PROPOSAL_TYP, self.key, self.certificate)

    def sign_ruling(self, document: RulingDocument) -> str:
        """Return the compact JWS of a ruling. Raises DecodeError (proposal.malformed)."""
        payload = msgspec.json.encode(document)
        read_ruling(payload)  # as above
        return jws.sign(payload, RULING_TYP, self.key, self.certificate)


@contextmanager
def opened(certificate: Path, key: str, passphrase_file: Path | None, ask: AskSecret) -> Iterator[Credential]:
    """
    Lend a credential.

    Args:
        certificate: PEM, the person's own first, then its chain.
        key: an encrypted key file, or `pkcs11:token=T;object=L?module-path=M[&pin-source=F]` (RFC 7512).
        passphrase_file: with the passphrase or the PIN; else `ask` is asked for it.
        ask: reads a secret from the person.

    Raises:
        ConfigError: a file that cannot be used, or a key that is not the certificate's.
        KeyStoreError: the key cannot be had.

    """
    chain = read_certificates(read_file(certificate), str(certificate))
    if key.startswith(TOKEN_SCHEME):
        with _token_key(key, passphrase_file, ask) as found:
            yield _credential(chain, found, certificate)
    else:
        secret = ask(f"passphrase of {key}") if passphrase_file is None else read_secret(passphrase_file)
        yield _credential(chain, software.load_encrypted(Path(key), secret), certificate)


def _credential(chain: tuple[x509.Certificate, ...], key: SigningKey, where: Path) -> Credential:
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{where}: a person's key is on P-256", hint="make another key and certificate")
    if key.public_key() != chain[0].public_key():
        raise ConfigError(f"{where}: the key belongs to another certificate", hint="name the two that belong together")
    return Credential(chain, key)


@contextmanager
def _token_key(uri: str, passphrase_file: Path | None, ask: AskSecret) -> Iterator[SigningKey]:
    found = _attributes(uri)
    source = Path(found["pin-source"]) if "pin-source" in found else passphrase_file
    pin = ask(f"PIN of the token {found['token']}") if source is None else read_secret(source)
    with Token.open(Path(found["module-path"]), found["token"], pin) as token:
        yield token.key(found["object"])


def _attributes(uri: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in re.split(r"[;?&]", uri.removeprefix(TOKEN_SCHEME))]
    found = {name: unquote(value) for name, _, value in pairs}
    if set(found) - {"pin-source"} != _ATTRIBUTES - {"pin-source"} or len(found) != len(pairs):
        raise ConfigError(
            "not the name of a key in a token", hint="pkcs11:token=T;object=L?module-path=M[&pin-source=F]"
        )
    return found
