# SPDX-License-Identifier: Apache-2.0
"""
The acts that need one transaction and no signature: nonces, birth records, and the audit of refusals.

They are settled together, in the order in which they came; what one has written the next one sees.
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import structs

from birthmark.ca.demands import demand_rig_of_order
from birthmark.ca.errors import Refused
from birthmark.ca.issuing.births import demand_match, demand_unconfirmed
from birthmark.ca.issuing.jobs import BirthJob, NonceJob, Outcome, RefusedJob
from birthmark.ca.issuing.nonces import Nonces
from birthmark.ca.life.units import born
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore, Ledger
from birthmark.core.ids import fingerprint
from birthmark.core.ledger_rows import said, unit_row

DeskJob = NonceJob | BirthJob | RefusedJob


class Desk:
    """Settles jobs inside one writing transaction. One per worker."""

    def __init__(self, store: CAStore, policy: Policy) -> None:
        self._store = store
        self._nonces = Nonces(policy)

    def settle(self, jobs: Sequence[DeskJob]) -> list[Outcome]:
        """
        Return, for each job, what came of it.

        Raises:
            StoreError: the ledger; all of the jobs may be repeated.

        """
        with self._store.writing() as ledger:
            wishes = [job for job in jobs if isinstance(job, NonceJob)]
            granted = iter(self._nonces.grant(ledger, wishes) if wishes else ())
            rows = [job.row for job in jobs if isinstance(job, RefusedJob) and job.row is not None]
            if rows:
                ledger.append(rows)
            births = [job for job in jobs if isinstance(job, BirthJob)]
            if births:
                # Whoever verifies a birth record in ten years needs the certificate of the rig that signed it.
                ledger.keep([job.rig.certificate.public_bytes(Encoding.DER) for job in births])
            return [next(granted) if isinstance(job, NonceJob) else _settle(ledger, job) for job in jobs]


def _settle(ledger: Ledger, job: BirthJob | RefusedJob) -> Outcome:
    if isinstance(job, RefusedJob):
        return job.refusal
    try:
        _take_birth(ledger, job)
    except Refused as refusal:
        ledger.append([job.trail.row(finding=refusal.finding, detail=refusal.message)])
        return refusal
    return b""


def _take_birth(ledger: Ledger, job: BirthJob) -> None:
    record, at = job.record, job.trail.at
    demand_rig_of_order(ledger.order(record.order), record.order, job.rig)
    found = demand_match(record, ledger.issuance_of(record.certificate_sha256))
    if ledger.birth(record.certificate_sha256) is not None:
        return
    demand_unconfirmed(found, at)
    # Asked before anything is written: what was written before a refusal would stay.
    unit = born(ledger.unit(found.unit_serial), found, at)
    ledger.confirm([(record.certificate_sha256, job.token)], at)
    ledger.put_units([unit])
    about = fingerprint(job.token.encode("ascii"))
    row = job.trail.row(certificate=record.certificate_serial, about=about)
    ledger.append([structs.replace(row, state=said("unit", unit_row(unit)))])
