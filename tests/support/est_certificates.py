# SPDX-License-Identifier: Apache-2.0
"""A few certificates that EST messages can carry."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.pki import authorities

AT = datetime(2026, 11, 1, tzinfo=UTC)


def certificates(count: int) -> list[x509.Certificate]:
    """Return so many different roots."""
    return [
        authorities.make_root("Example", f"Root {number}", ec.generate_private_key(ec.SECP256R1()), AT).certificate
        for number in range(count)
    ]
