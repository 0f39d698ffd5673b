# SPDX-License-Identifier: Apache-2.0
"""
Whether a unit was enrolled under an order as it stood: open, and for this unit, chip, rig, time, product and profile.

An order's state at any moment follows from the log: what created, extended or changed it, and what closed it. The entry
of an enrolment names the document that the order stood on. A request is judged at the time when it came; what was
decided between that and its entry may have held for it already.
"""

from collections.abc import Iterator
from typing import Final

from cryptography.x509.oid import NameOID

from birthmark.ca.audit.case import Case, Entry
from birthmark.ca.audit.findings import AuditFinding, Proven, Told, Unproven
from birthmark.ca.audit.persons import proposal_of
from birthmark.ca.demands import RIG
from birthmark.ca.orders.acts import CLOSE, CREATE, EXTEND, OVERRIDE
from birthmark.ca.orders.documents import OrderTerms, order_of
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.core import strict_json
from birthmark.core.audit import Grounds, order_thread
from birthmark.core.errors import DecodeError
from birthmark.core.issuance import Order
from birthmark.pki import names

TOPIC: Final = "order"
_OPENING: Final = (CREATE, EXTEND, OVERRIDE)
ENROL: Final = "enrol"


def check_orders(case: Case) -> Iterator[Told]:
    """Pass enrolments under orders that were open, within their terms."""
    for entry in case.issued:
        if entry.row.act == ENROL and entry.row.grounds is not None:
            yield from _check_enrolment(case, entry, entry.row.grounds)
    for name in dict.fromkeys(entry.row.order for entry in case.issued):
        yield Unproven(
            TOPIC, f"how many units {name} has issued: one bundle shows one unit (birthmark ca ledger check)"
        )


def _check_enrolment(case: Case, entry: Entry, grounds: Grounds) -> Iterator[Told]:
    name = f"{bundle.CERTIFICATE} {entry.row.certificate}"
    stood = _documents_at(case, entry)
    if grounds.document not in stood:
        told = "closed or not there" if not any(stood) else "on another document"
        yield AuditFinding("audit.order", name, f"order {entry.row.order} stood {told} when it was issued")
        return
    try:
        order = _order(case, grounds.document)
        _demand_terms(case, entry, grounds, order)
    except DecodeError as error:
        yield AuditFinding("audit.order.terms", name, error.message)
        return
    units = f"{order.quantity} of {order.product}, {order.units.first} to {order.units.last}"
    yield Proven(TOPIC, f"enrolled under {order.id} as it was signed: {units}")


def _documents_at(case: Case, enrolled: Entry) -> set[str]:
    """Return the documents that the order stood on when the request came, and until its entry; "" for closed."""
    decided = [
        each
        for each in case.threads.get(order_thread(enrolled.row.order), ())
        if each.row.act in (*_OPENING, CLOSE) and each.number < enrolled.number
    ]
    stood = [(each.row.at, "" if each.row.act == CLOSE else each.row.about) for each in decided]
    before = [document for at, document in stood if at <= enrolled.row.at][-1:]
    return {*(before or [""]), *(document for at, document in stood if at > enrolled.row.at)}


def _order(case: Case, digest: str) -> Order:
    document = proposal_of(case, digest)
    if document is None:
        raise DecodeError("the document that the order stood on is not there")
    try:
        return order_of(document.subject, strict_json.decode(document.terms, OrderTerms))
    except DecodeError as error:
        raise DecodeError(f"the terms of the order: {error}") from error


def _demand_terms(case: Case, entry: Entry, grounds: Grounds, order: Order) -> None:
    """Pass what the signed terms allow. Raises DecodeError."""
    unit, rig = entry.row.unit_serial, entry.row.who.removeprefix(f"{RIG}:")
    said = (
        (order.id == entry.row.order, f"the document is of order {order.id}"),
        (entry.row.who.startswith(f"{RIG}:") and rig in order.rigs, f"it is not for {entry.row.who}"),
        (grounds.model in order.chip_models, f"it is not for chips of model {grounds.model}"),
        (order.units.holds(unit), f"it is for units {order.units.first} to {order.units.last}"),
        (order.not_before <= entry.row.at <= order.not_after, "it was issued outside of the order's window"),
        (grounds.profile == order.profile, f"it is for profile {order.profile}, not {grounds.profile}"),
        (_is_product(case, entry, order.product), f"it is for product {order.product}"),
    )
    for holds, otherwise in said:
        if not holds:
            raise DecodeError(otherwise)


def _is_product(case: Case, entry: Entry, product: str) -> bool:
    certificate = case.certificate(bundle.CERTIFICATE, entry.row.about)
    if certificate is None:
        return True  # said elsewhere
    organizations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    text = str(organizations[0].value) if organizations else ""
    return certificate.subject == names.device_subject(entry.row.unit_serial, product, text)
