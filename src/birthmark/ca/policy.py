# SPDX-License-Identifier: Apache-2.0
"""The issuing authority's settled policy: what wiring reads from files once and everything below takes as given."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509

from birthmark.ca.demands import Terms
from birthmark.core.in_force import InForce
from birthmark.evidence.endorsements import Endorsements
from birthmark.pki.paths import TrustAnchors


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Whom the CA believes, what it issues, and how long things last."""

    trust: TrustAnchors
    endorsements: Endorsements
    terms: Mapping[str, Terms]
    organization: str
    authority: str
    """The name of this CA, the origin of its log: whom the documents are for that persons sign."""
    ca_chain: tuple[x509.Certificate, ...]
    nonce_expiry: timedelta
    nonces_per_rig: int
    birth_grace: timedelta
    rotation_overlap: timedelta
    configuration: InForce | None = None
    """What the log has of the configuration that this worker was started with; None where none was announced."""
