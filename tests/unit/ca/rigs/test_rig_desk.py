# SPDX-License-Identifier: Apache-2.0
"""What a rig gets for a ticket and for its present certificate, what it does not get, and what the log says of both."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.ca.acts import all_acts
from birthmark.ca.demands import Client, demand_rig_of_order
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.issuing.callers import Callers
from birthmark.ca.notices import NoticeBoard
from birthmark.ca.people.approvals import Approvals
from birthmark.ca.people.denials import DENY, DenyTerms, doorkeeper
from birthmark.ca.people.roles import Officer, demand_officer, officer_of
from birthmark.ca.rigs.desk import RENEWALS_MAX
from birthmark.ca.rigs.tickets import TICKET, TicketTerms
from birthmark.core.proposals import Proposal, RulingDocument
from birthmark.core.roles import Role
from birthmark.core.tickets import new_ticket, ticket_digest
from birthmark.pki.authorities import make_officer
from birthmark.pki.rig_scope import scope_of
from birthmark.testing.forge import new_key
from birthmark.testing.orders import hired
from support.ca_parts import AUTHORITY, ORDER, CAParts, order
from support.rig_parts import VALIDITY_DAYS, RigParts, rig_request


class People:
    """Two persons at an authority."""

    def __init__(self, parts: CAParts) -> None:
        acts = all_acts(parts.policy, parts.lineage())
        self.approvals = Approvals(parts.store, acts, parts.policy.trust, AUTHORITY, parts.clock)
        self.olga = hired(parts.operations, "Olga", Role.SECURITY_OFFICER, parts.clock())
        self.anton = hired(parts.operations, "Anton", Role.APPROVER, parts.clock())

    def propose(self, act: str, subject: str, terms: msgspec.Struct) -> Proposal:
        signed = self.olga.sign_proposal(AUTHORITY, act, subject, terms, "a new rig")
        return self.approvals.propose(officer_of(self.olga.certificate), signed)

    def decide(self, proposal: Proposal) -> None:
        ruling = RulingDocument(
            authority=AUTHORITY, proposal=proposal.id, act=proposal.act, ruling="approved", reason="read"
        )
        self.approvals.rule(officer_of(self.anton.certificate), proposal.id, self.anton.sign_ruling(ruling))


@pytest.fixture
def rigs(parts: CAParts) -> RigParts:
    return RigParts(parts, People(parts))


def refusal(act: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.status, refused.value.finding


def rows(parts: CAParts, act: str) -> list[dict[str, str]]:
    return [row for row in parts.administration.audit() if row["act"] == act]


def rig_of(rigs: RigParts, certificate: x509.Certificate) -> Officer:
    """Return who the authority takes the holder of a certificate for."""
    client = Client(certificate, (rigs.ca.certificate,))
    return demand_officer(client, rigs.parts.policy.trust, rigs.parts.clock())


def test_a_ticket_is_for_one_key_which_gets_the_same_certificate_again(rigs: RigParts, parts: CAParts) -> None:
    ticket, key = rigs.ticket("rig-a"), new_key()
    leaf, above = rigs.desk.enrol(ticket, rig_request("rig-a", key))
    assert above == rigs.ca.certificate
    assert leaf.public_key() == key.public_key()
    assert (leaf.not_valid_after_utc - parts.clock()).days == VALIDITY_DAYS
    assert rigs.desk.enrol(ticket, rig_request("rig-a", key)) == (leaf, above)
    assert refusal(lambda: rigs.desk.enrol(ticket, rig_request("rig-a", new_key()))) == (409, "ca.rig.ticket-used")
    told = [(row["who"], row["finding"]) for row in rows(parts, "rig.enrol")]
    assert told == [("rig:rig-a", ""), (f"ticket:{ticket_digest(ticket)}", "ca.rig.ticket-used")]
    assert list(parts.administration.check()) == []
    parts.clock.forward(days=8)
    assert rigs.desk.enrol(ticket, rig_request("rig-a", key)) == (leaf, above)


def test_the_ticket_itself_stands_nowhere(rigs: RigParts, parts: CAParts) -> None:
    ticket = rigs.ticket("rig-a")
    rigs.desk.enrol(ticket, rig_request("rig-a", new_key()))
    assert ticket not in str(list(parts.administration.audit()))


def test_a_ticket_that_is_not_approved_not_ours_or_over_is_worth_nothing(rigs: RigParts, parts: CAParts) -> None:
    request = rig_request("rig-a", new_key())
    waiting = new_ticket()
    rigs.office.propose(TICKET, "rig-a", rigs.terms(waiting))
    for text in (waiting, new_ticket()):
        assert refusal(lambda text=text: rigs.desk.enrol(text, request)) == (403, "ca.rig.ticket")  # type: ignore[misc] # mypy sees no default
    assert refusal(lambda: rigs.desk.enrol("no ticket", request)) == (400, "ca.rig.ticket")
    assert rows(parts, "rig.enrol") == []
    over = rigs.ticket("rig-a", days=1)
    parts.clock.forward(days=1)
    assert refusal(lambda: rigs.desk.enrol(over, request)) == (403, "ca.rig.ticket-over")
    assert [row["finding"] for row in rows(parts, "rig.enrol")] == ["ca.rig.ticket-over"]


def test_a_ticket_that_somebody_wrote_into_the_database_is_worth_nothing(rigs: RigParts, parts: CAParts) -> None:
    good, forged = rigs.ticket("rig-a"), new_ticket()
    with parts.store.writing() as ledger:
        known = ledger.rig_ticket(ticket_digest(good))
        assert known is not None
        ledger.put_rig_ticket(replace(known, digest=ticket_digest(forged)))
        order_proposal = ledger.order(ORDER)
        assert order_proposal is not None
        ledger.put_rig_ticket(replace(known, digest="ab" * 32, proposal=order_proposal.document))
    for text in (forged,):
        asked = refusal(lambda text=text: rigs.desk.enrol(text, rig_request("rig-a", new_key())))  # type: ignore[misc] # mypy sees no default
        assert asked == (403, "ca.rig.warrant")


@pytest.mark.parametrize(
    ("request_of", "expected"),
    [
        pytest.param(lambda: rig_request("rig-b", new_key()), (409, "ca.rig.request"), id="of another rig"),
        pytest.param(
            lambda: rig_request("rig-a", ec.generate_private_key(ec.SECP384R1())), (400, "ca.rig.request"), id="P-384"
        ),
        pytest.param(lambda: "no request", (400, "csr.malformed"), id="none"),
        pytest.param(lambda: "-----BEGIN CERTIFICATE REQUEST-----", (400, "csr.malformed"), id="half of one"),
    ],
)
def test_a_request_is_for_this_rig_and_a_key_on_p256(
    rigs: RigParts, request_of: Callable[[], str], expected: tuple[int, str]
) -> None:
    ticket = rigs.ticket("rig-a")
    assert refusal(lambda: rigs.desk.enrol(ticket, request_of())) == expected
    assert rigs.desk.enrol(ticket, rig_request("rig-a", new_key()))


def terms(rigs: RigParts, **changes: object) -> TicketTerms:
    return msgspec.structs.replace(rigs.terms(new_ticket()), **changes)


@pytest.mark.parametrize(
    ("rig", "change", "expected"),
    [
        pytest.param("rig-a", {"orders": ("order-9",)}, (409, "ca.rig.terms"), id="an order that is not there"),
        pytest.param("rig-q", {"orders": (ORDER,)}, (409, "ca.rig.terms"), id="an order of others"),
        pytest.param("rig-a", {"days": 32}, (409, "ca.rig.terms"), id="too long"),
        pytest.param("rig-a", {"days": -1}, (409, "ca.rig.terms"), id="over already"),
        pytest.param(" rig-a", {}, (400, "ca.rig.terms"), id="no name"),
    ],
)
def test_what_is_no_ticket_is_not_proposed(
    rigs: RigParts, rig: str, change: dict[str, object], expected: tuple[int, str]
) -> None:
    days = change.pop("days", None) if "days" in change else None
    wanted = terms(rigs, **change)
    if isinstance(days, int):
        wanted = msgspec.structs.replace(wanted, not_after=rigs.parts.clock() + timedelta(days=days))
    assert refusal(lambda: rigs.office.propose(TICKET, rig, wanted)) == expected


def test_one_ticket_is_proposed_once(rigs: RigParts) -> None:
    text = rigs.ticket("rig-a")
    assert refusal(lambda: rigs.office.propose(TICKET, "rig-b", rigs.terms(text))) == (409, "ca.rig.ticket-known")


def test_a_rig_renews_itself_for_another_key_the_same_name_and_orders(rigs: RigParts, parts: CAParts) -> None:
    key = new_key()
    old, _ = rigs.desk.enrol(rigs.ticket("rig-a", ORDER), rig_request("rig-a", key))
    parts.clock.forward(days=60)
    rig, following = rig_of(rigs, old), new_key()
    new, _ = rigs.desk.renew(rig, rig_request("rig-a", following))
    assert (new.subject, scope_of(new)) == (old.subject, frozenset({ORDER}))
    assert new.public_key() == following.public_key()
    assert new.not_valid_after_utc > old.not_valid_after_utc
    assert refusal(lambda: rigs.desk.renew(rig, rig_request("rig-a", key))) == (409, "ca.rig.same-key")
    assert refusal(lambda: rigs.desk.renew(rig, rig_request("rig-b", new_key()))) == (409, "ca.rig.request")
    assert [row["who"] for row in rows(parts, "rig.renew")] == ["machine:rig-a"]


def test_a_certificate_of_the_operations_ca_is_not_renewed_here(rigs: RigParts, parts: CAParts) -> None:
    rig = rig_of(rigs, parts.rigs["rig-a"])
    assert refusal(lambda: rigs.desk.renew(rig, rig_request("rig-a", new_key()))) == (403, "ca.rig.renewal")


def test_a_rig_that_renews_itself_all_the_time_is_told_to_wait(rigs: RigParts, parts: CAParts) -> None:
    old, _ = rigs.desk.enrol(rigs.ticket("rig-a"), rig_request("rig-a", new_key()))
    rig = rig_of(rigs, old)
    for _ in range(RENEWALS_MAX):
        rigs.desk.renew(rig, rig_request("rig-a", new_key()))
    assert refusal(lambda: rigs.desk.renew(rig, rig_request("rig-a", new_key()))) == (429, "ca.rig.pace")
    parts.clock.forward(days=1, seconds=1)
    assert rigs.desk.renew(rig, rig_request("rig-a", new_key()))


def test_a_denied_rig_gets_no_certificate_whatever_it_has(rigs: RigParts, parts: CAParts) -> None:
    used, key, unused = rigs.ticket("rig-a"), new_key(), rigs.ticket("rig-a")
    old, _ = rigs.desk.enrol(used, rig_request("rig-a", key))
    rig = rig_of(rigs, old)
    rigs.office.decide(rigs.office.propose(DENY, "rig:rig-a", DenyTerms()))
    denying = replace(parts.policy.trust, why_denied=doorkeeper(NoticeBoard(parts.store).current))
    desk = replace(rigs.desk, trust=denying)
    for act in (
        lambda: desk.enrol(used, rig_request("rig-a", key)),
        lambda: desk.enrol(unused, rig_request("rig-a", new_key())),
        lambda: desk.renew(rig, rig_request("rig-a", new_key())),
    ):
        assert refusal(act) == (403, "ca.rig.denied")
    assert refusal(lambda: rigs.office.propose(TICKET, "rig-a", terms(rigs))) == (409, "ca.rig.denied")


def test_a_ticket_of_an_officer_who_is_denied_is_worth_nothing(rigs: RigParts, parts: CAParts) -> None:
    ticket = rigs.ticket("rig-a")
    rigs.office.decide(rigs.office.propose(DENY, "person:Anton", DenyTerms()))
    denying = replace(parts.policy.trust, why_denied=doorkeeper(NoticeBoard(parts.store).current))
    desk = replace(rigs.desk, trust=denying)
    assert refusal(lambda: desk.enrol(ticket, rig_request("rig-a", new_key()))) == (403, "ca.rig.warrant")


def test_a_certificate_for_some_orders_is_for_no_others(rigs: RigParts, parts: CAParts) -> None:
    parts.put_order(order("order-2"))
    leaf, above = rigs.desk.enrol(rigs.ticket("rig-a", "order-2"), rig_request("rig-a", new_key()))
    caller = Callers(parts.policy.trust).rig(Client(leaf, (above,)), parts.clock())
    assert demand_rig_of_order(order("order-2"), "order-2", caller)
    assert refusal(lambda: demand_rig_of_order(order(), ORDER, caller)) == (403, "ca.1.order-scope")


def test_a_ca_of_rigs_that_has_ended_or_is_not_there_certifies_nobody(rigs: RigParts, parts: CAParts) -> None:
    ticket = rigs.ticket("rig-a")
    none = replace(rigs.desk, issuer=None)
    assert refusal(lambda: none.enrol(ticket, rig_request("rig-a", new_key()))) == (403, "ca.rig.off")
    parts.clock.now = rigs.ca.certificate.not_valid_after_utc
    late = rigs.desk
    with pytest.raises((NotNow, Refused)):
        late.enrol(ticket, rig_request("rig-a", new_key()))


def test_whoever_takes_the_key_of_the_ca_of_rigs_makes_no_officer(rigs: RigParts, parts: CAParts) -> None:
    fake = make_officer(rigs.ca, "Olga", Role.SECURITY_OFFICER, new_key().public_key(), parts.clock())
    assert refusal(lambda: rig_of(rigs, fake)) == (403, "ca.1.officer")
