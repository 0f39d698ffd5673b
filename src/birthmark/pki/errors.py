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
    ├── MechanismMissing    the token cannot do what the key needs
    ├── KeyPolicyRefused    a key in the token that is not kept as the policy wants
    └── TokenFailed         the token or its session died; worth another try
        └── TokenHealing    it is being reopened; the error says when to come back

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


class MechanismMissing(KeyStoreError):
    """The token has no mechanism for this kind of key."""

    default_finding = "key.mechanism"
    default_hint = "see what it offers: birthmark ca hsm probe"


class KeyPolicyRefused(KeyStoreError):
    """A key that could leave its token, came from outside or may do more than sign. The finding says which."""

    default_finding = "key.policy"
    default_hint = "make a new key in the token (docs/reference/hsm-keys.md): what was outside cannot be taken back"


class TokenFailed(KeyStoreError):
    """The token or the session to it failed while in use."""

    default_finding = "key.token-failed"
    default_hint = "see that the token is in its place, and try again"


class TokenHealing(TokenFailed):
    """The token failed and is being reopened, or all its sessions are taken. Nothing was signed."""

    default_finding = "key.token-healing"
    default_hint = "come back after retry_after_s: no restart is needed"

    def __init__(self, message: str, *, retry_after_s: int, hint: str = "", finding: str = "") -> None:
        super().__init__(message, hint=hint, finding=finding)
        self.retry_after_s = retry_after_s
