# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong with certificates and keys.

PKIError
├── PathError               a certificate that cannot be trusted, here and now
│   └── AlgorithmRefused    a key or a signature of a kind that is refused everywhere
├── ProfileRefused          a certificate that our own profile does not let us issue
├── RevocationError         a revocation list that cannot be used
├── OCSPError               an OCSP response that cannot be used
└── KeyStoreError           a signing key that cannot be had or used
    ├── KeyMissing          no such key where it was looked for
    ├── KeyExists           a key is already there; it is never overwritten
    ├── PassphraseRefused   the passphrase does not open the key file
    ├── TokenMissing        no such module or token
    ├── PinRefused          the token refuses the PIN
    └── TokenFailed         the token or its session died; worth another try

Bytes that are malformed raise core.errors.DecodeError, files that a person wrote core.errors.ConfigError.
"""

from birthmark.core.errors import BirthmarkError


class PKIError(BirthmarkError):
    """Root: a certificate, a list or a key that cannot be used."""

    default_finding = "pki.failed"


class PathError(PKIError):
    """A certificate without a valid path to a trust anchor for this purpose at this time."""

    default_finding = "pki.path.malformed"


class AlgorithmRefused(PathError):
    """SHA-1, RSA below 2048 bits, an odd curve: refused for every certificate, trust anchors included."""

    default_finding = "pki.algorithm"


class ProfileRefused(PKIError):
    """The profile, or the lint of what it made, says no. Nothing was signed."""

    default_finding = "pki.profile"
    default_hint = "see the profiles in ca.toml"


class RevocationError(PKIError):
    """A revocation list that is forged, stale, of another issuer or malformed."""

    default_finding = "pki.crl.malformed"


class OCSPError(PKIError):
    """An OCSP response that is forged, stale, about something else, malformed, or no answer."""

    default_finding = "pki.ocsp.malformed"


class KeyStoreError(PKIError):
    """A key file or a token that does not give the key."""

    default_finding = "key.failed"
    default_hint = "look at the key and its settings"


class KeyMissing(KeyStoreError):
    """There is no such key."""

    default_finding = "key.missing"
    default_hint = "name a key that is there"


class KeyExists(KeyStoreError):
    """A key of that name is there already. Keys are never overwritten."""

    default_finding = "key.exists"


class PassphraseRefused(KeyStoreError):
    """The passphrase does not open the key file."""

    default_finding = "key.passphrase"
    default_hint = "check the passphrase file"


class TokenMissing(KeyStoreError):
    """The PKCS#11 module cannot be loaded, or no token carries the label."""

    default_finding = "key.token-missing"
    default_hint = "check the module and the token's label, and that the module finds its tokens"


class PinRefused(KeyStoreError):
    """The token refuses the PIN. Never tried again by itself: tokens lock."""

    default_finding = "key.pin"
    default_hint = "check the PIN file before the next try: tokens lock"


class TokenFailed(KeyStoreError):
    """The token or the session to it failed while in use. The next call opens a new session."""

    default_finding = "key.token-failed"
    default_hint = "see that the token is in its place, and try again"
