# SPDX-License-Identifier: Apache-2.0
"""An issuing CA with its OCSP responder."""

from datetime import datetime, timedelta

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority, make_ocsp_responder
from birthmark.pki.keys.software import generate
from birthmark.pki.ocsp import Responder

RESPONDER_DAYS = 30


def responder_of(
    issuing: Authority, at: datetime, algorithm: KeyAlgorithm = KeyAlgorithm.P256, days: int = RESPONDER_DAYS
) -> Responder:
    key = generate(algorithm)
    certificate = make_ocsp_responder(issuing, "Acme OCSP", key.public_key(), at - timedelta(hours=1), days)
    return Responder(issuing.certificate, certificate, key)
