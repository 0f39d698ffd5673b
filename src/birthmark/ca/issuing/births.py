# SPDX-License-Identifier: Apache-2.0
"""
Birth records: what turns a certificate of one day into one of five years. Pure.

A record is taken from the rig that signed it, over that rig's own TLS, for a certificate that the ledger knows and that
still lives. Everything that it says of the certificate must be what the ledger says.
"""

from datetime import datetime

from birthmark.ca.demands import CONFLICT, FORBIDDEN, MALFORMED, UNKNOWN, Caller
from birthmark.ca.errors import Refused
from birthmark.core.birth import BirthRecord, verify_birth
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Issuance


def demand_record(token: bytes, rig: Caller) -> BirthRecord:
    """Return the record that this rig signed. Refused: ca.birth.malformed, ca.birth.signature, ca.birth.rig."""
    try:
        record = verify_birth(token.decode("ascii"), rig.certificate)
    except UnicodeDecodeError as error:
        raise Refused(MALFORMED, "ca.birth.malformed", "the body is not a compact JWS") from error
    except DecodeError as error:
        foreign = error.finding in ("birth.signature", "birth.signer")
        status, finding = (FORBIDDEN, "ca.birth.signature") if foreign else (MALFORMED, "ca.birth.malformed")
        raise Refused(status, finding, error.message) from error
    if record.rig != rig.name:
        raise Refused(FORBIDDEN, "ca.birth.rig", f"the record is of rig {record.rig}, the TLS client is {rig.name}")
    return record


def demand_match(record: BirthRecord, issuance: Issuance | None) -> Issuance:
    """Return the issuance that the record is about. Refused: ca.birth.unknown, .mismatch."""
    if issuance is None or issuance.certificate is None:
        raise Refused(UNKNOWN, "ca.birth.unknown", "this CA issued no certificate with that fingerprint")
    for what, said, known in _claims(record, issuance):
        if said != known:
            raise Refused(CONFLICT, "ca.birth.mismatch", f"the record says {what} {said}, the ledger {known}")
    return issuance


def demand_unconfirmed(issuance: Issuance, at: datetime) -> None:
    """Pass a certificate that lives and waits for its birth record. Refused: ca.birth.dead, .mismatch."""
    if not issuance.alive(at):
        raise Refused(CONFLICT, "ca.birth.dead", "the certificate is revoked; the unit must be personalised again")
    if issuance.confirmed_at is not None:
        # To confirm one again would take back the end that the rotation has set for it.
        raise Refused(CONFLICT, "ca.birth.mismatch", "the certificate is a renewal: no unit was born with it")


def _claims(record: BirthRecord, issuance: Issuance) -> tuple[tuple[str, str, str], ...]:
    return (
        ("unit", record.unit_serial, issuance.unit_serial),
        ("chip", record.chip_serial, issuance.chip.serial),
        ("chip model", record.chip_model, issuance.chip_model),
        ("product", record.product, issuance.product),
        ("order", record.order, issuance.order),
        ("certificate serial", record.certificate_serial, issuance.serial),
        ("key", record.key_sha256, fingerprint(issuance.spki)),
        ("evidence", record.evidence_sha256, fingerprint(issuance.evidence)),
    )
