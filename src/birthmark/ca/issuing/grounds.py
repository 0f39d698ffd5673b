# SPDX-License-Identifier: Apache-2.0
"""What the log says of the grounds of a certificate. An auditor appraises the evidence again, and compares."""

from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.issuing.signers import Signers
from birthmark.ca.ports import CAStore
from birthmark.core.audit import FIRMWARE_MAX, Grounds
from birthmark.evidence.verdict import AttestedKey


def grounds_of(attested: AttestedKey, **said: str) -> Grounds:
    """Return what an appraisal found, with what was decided beside it: `issuer`, `policy`, `profile`, `evidence`..."""
    chip = attested.chip
    return Grounds(
        maker=chip.maker,
        model=chip.model,
        firmware=chip.firmware[:FIRMWARE_MAX],
        statement=attested.statement_type.dotted_string,
        ak=attested.ak_fingerprint,
        **said,
    )


def keep_signers(store: CAStore, signers: Signers) -> None:
    """Keep what grounds name by its digest: issuing CAs, and the key of attestation results. Raises StoreError."""
    kept = [authority.certificate.public_bytes(Encoding.DER) for authority in signers.all().values()]
    if signers.verifier is not None:
        kept.append(signers.verifier.spki)
    with store.writing() as ledger:
        ledger.keep(kept)
