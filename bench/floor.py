# SPDX-License-Identifier: Apache-2.0
"""The floors: P-256 signatures and verifications, one at a time on one core of this machine, now."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from rows import seconds_per_call

from birthmark.testing.lab import softhsm

_MESSAGE = b"what is signed does not matter for the time"
_CALLS = 300
_SCHEME = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class P256:
    """Seconds of one signature and of one verification."""

    sign_s: float
    verify_s: float

    @property
    def enrolment_s(self) -> float:
        """One enrolment: request, evidence and AK certificate verified, the certificate signed."""
        return 3 * self.verify_s + self.sign_s

    def authority_s(self, token_sign_s: float) -> float:
        """
        One enrolment at a CA whose key is in a token.

        Request, AK certificate and evidence verified, the certificate signed in the token, and that signature verified.
        """
        return 4 * self.verify_s + token_sign_s

    @property
    def board_s(self) -> float:
        """
        One board in rig, CA and simulated chip, that is one enrolment, and besides it.

        The chip signs evidence, request and proof; the rig verifies certificate and proof, and signs the birth record.
        """
        return self.enrolment_s + 4 * self.sign_s + 2 * self.verify_s

    @property
    def cold_verdict_s(self) -> float:
        """One cold verdict: device certificate, AK certificate and evidence; the CAs are verified once and for all."""
        return 3 * self.verify_s


def token_sign_s(home: Path) -> float:
    """Return the seconds of one P-256 signature in the token of the lab below `home`."""
    with softhsm.opened(home / "lab") as token:
        key = token.key(softhsm.KEY)
        return seconds_per_call(lambda: key.sign(_MESSAGE, _SCHEME), _CALLS)


def measure() -> P256:
    """Measure both operations."""
    key = ec.generate_private_key(ec.SECP256R1())
    public, signature = key.public_key(), key.sign(_MESSAGE, _SCHEME)
    return P256(
        sign_s=seconds_per_call(lambda: key.sign(_MESSAGE, _SCHEME), _CALLS),
        verify_s=seconds_per_call(lambda: public.verify(signature, _MESSAGE, _SCHEME), _CALLS),
    )
