# SPDX-License-Identifier: Apache-2.0
"""A ledger in which everything has happened that can happen: a row in every table, each by the act that makes it."""

from dataclasses import replace
from datetime import timedelta

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from birthmark.ca.acts import all_acts
from birthmark.ca.admin.credentials import Credential
from birthmark.ca.life.acts import RESUME, ResumeTerms, since_text
from birthmark.ca.life.lapses import write_lapses
from birthmark.ca.life.lifecycle import Actor, Lifecycle
from birthmark.ca.life.units import Move
from birthmark.ca.orders.acts import CREATE, EXTEND, REWORK, ReworkTerms
from birthmark.ca.orders.book import OrderBook
from birthmark.ca.people.approvals import PROPOSAL_LIFE, Approvals
from birthmark.ca.people.denials import ALLOW, DENY, AllowTerms, DenyTerms
from birthmark.ca.people.roles import officer_of
from birthmark.ca.ports import CAStore
from birthmark.ca.transparency.in_force import announce_configuration, announce_policy
from birthmark.ca.transparency.log import Log
from birthmark.core.anchors import AnchorsContact
from birthmark.core.audit import AuditRow
from birthmark.core.issuance import ChipGroup, ChipID, GroupKind
from birthmark.core.ledger_rows import retired_root_row, said
from birthmark.core.proposals import Proposal, RulingDocument
from birthmark.core.roles import Role
from birthmark.testing.forge import new_key
from birthmark.testing.orders import hired, terms_of
from birthmark.tlog.keys import Signer
from support.ca_parts import AUTHORITY, ORDER, CAParts, order, renewed
from support.rig_parts import RigParts, rig_request

ACTOR = Actor("security-officer:Olga")
CLIENT = "rig:rig-stolen"


class Lived:
    """The authority, and the people who made it so."""

    def __init__(self, store: CAStore) -> None:
        self.parts = parts = CAParts(store)
        at = parts.clock()
        acts = all_acts(parts.policy, parts.lineage())
        self.approvals = Approvals(store, acts, parts.policy.trust, AUTHORITY, parts.clock)
        self.life = Lifecycle(store, parts.clock)
        self.book = OrderBook(store, parts.clock)
        self.officer = hired(parts.operations, "Olga", Role.SECURITY_OFFICER, at)
        self.approver = hired(parts.operations, "Anton", Role.APPROVER, at)
        self.lead = hired(parts.operations, "Lena", Role.LINE_LEAD, at)
        self.log = Log(store, Signer(AUTHORITY, Ed25519PrivateKey.generate()))
        for act in (
            self._policies,
            self._certificates,
            self._holds,
            self._places,
            self._denials,
            self._tickets,
            self._proposals,
            self._rest,
        ):
            act()
            parts.clock.forward(seconds=1)
            self.log.publish()

    def propose(self, act: str, subject: str, terms: msgspec.Struct, who: Credential | None = None) -> Proposal:
        signer = who or self.officer
        return self.approvals.propose(
            officer_of(signer.certificate), signer.sign_proposal(AUTHORITY, act, subject, terms, "as planned")
        )

    def decide(self, proposal: Proposal, *, approved: bool = True) -> None:
        ruling = RulingDocument(
            authority=AUTHORITY,
            proposal=proposal.id,
            act=proposal.act,
            ruling="approved" if approved else "rejected",
            reason="read",
        )
        self.approvals.rule(officer_of(self.approver.certificate), proposal.id, self.approver.sign_ruling(ruling))

    def _policies(self) -> None:
        announce_policy(self.parts.store, b"one", {"endorsements.toml": b"[one]"}, self.parts.clock)
        announce_policy(self.parts.store, b"two", {"endorsements.toml": b"[two]"}, self.parts.clock)

    def _certificates(self) -> None:
        """Confirmed, renewed, revoked, superseded, lapsed, waiting; and an intent that was cut short."""
        parts = self.parts
        board = parts.board("BM-000001")
        renewed(parts, board, parts.confirmed(board), new_key())
        parts.confirmed(parts.board("BM-000002"))
        revoked = parts.confirmed(parts.board("BM-000003"))
        parts.administration.revoke(parts.issuance(revoked)["serial"], "stolen")
        again = parts.board("BM-000004")
        parts.born(again)
        parts.clock.forward(seconds=61)
        parts.born(replace(again, key=new_key()))
        parts.clock.forward(days=2)
        write_lapses(parts.store, parts.clock)
        parts.certify_rigs()
        parts.born(parts.board("BM-000005"))
        parts.nonce("BM-000006")

    def _holds(self) -> None:
        """Held; held and released; held while it was about to end anyway."""
        parts = self.parts
        for unit in ("BM-000010", "BM-000011"):
            parts.confirmed(parts.board(unit))
            self.life.move(ACTOR, unit, Move.SHIP, "delivered")
            self.life.move(ACTOR, unit, Move.SUSPEND, "missing")
        rotating = parts.board("BM-000012")
        renewed(parts, rotating, parts.confirmed(rotating), new_key())
        self.life.move(ACTOR, "BM-000012", Move.RETURN, "it came back")
        parts.clock.forward(seconds=1)
        for unit in ("BM-000011", "BM-000012"):
            since = since_text(self.life.unit(unit).unit)
            self.decide(self.propose(RESUME, unit, ResumeTerms(since=since), self.lead))
        self.life.move(ACTOR, "BM-000012", Move.SUSPEND, "missing again")
        self.life.move(ACTOR, "BM-000002", Move.RETIRE, "broken")

    def _places(self) -> None:
        parts = self.parts
        for unit in ("BM-000020", "BM-000021"):
            parts.confirmed(parts.board(unit))
            self.book.scrap(officer_of(self.lead.certificate), ORDER, unit, "solder")
        self.decide(self.propose(REWORK, "BM-000021", ReworkTerms(order=ORDER), self.lead))
        parts.confirmed(parts.board("BM-000021"))

    def _denials(self) -> None:
        chip = ChipID("Smith", "00000000000000AA")
        self.parts.administration.deny_chip(chip, "lost")
        self.life.revoke_group(ACTOR, ChipGroup(GroupKind.AK, "ab" * 32), "leaked")
        self.life.revoke_group(ACTOR, ChipGroup(GroupKind.MODEL, "withdrawn-1"), "withdrawn")
        self.decide(self.propose(DENY, CLIENT, DenyTerms()))
        with self.parts.store.reading() as ledger:
            (denial,) = ledger.client_denials()
        since = denial.since.isoformat(timespec="microseconds")
        self.decide(self.propose(ALLOW, CLIENT, AllowTerms(since=since)))
        self.decide(self.propose(DENY, "rig:rig-burnt", DenyTerms()))

    def _tickets(self) -> None:
        """One that a rig has used."""
        rigs = RigParts(self.parts, self)
        rigs.desk.enrol(rigs.ticket("rig-a"), rig_request("rig-a", new_key()))

    def _proposals(self) -> None:
        """Open, rejected, expired; an order that was extended, one that nobody approved."""
        parts = self.parts
        end = parts.clock() + PROPOSAL_LIFE
        with parts.store.reading() as ledger:
            known = ledger.order(ORDER)
        assert known is not None
        terms = msgspec.structs.replace(terms_of(replace(known, quantity=200)), replaces=known.document)
        self.decide(self.propose(EXTEND, ORDER, terms))
        self.decide(self.propose(CREATE, "order-2", terms_of(order("order-2"))), approved=False)
        self.propose(CREATE, "order-3", terms_of(order("order-3")))
        parts.clock.now = end + timedelta(seconds=1)
        self.approvals.expire()
        self.propose(CREATE, "order-4", terms_of(order("order-4")))

    def _rest(self) -> None:
        parts = self.parts
        parts.certify_rigs()
        parts.nonce("BM-000030")
        parts.confirmed(parts.board("BM-000031"))
        parts.crl()
        at = parts.clock()
        root, successor = "aa" * 32, "bb" * 32
        with parts.store.writing() as ledger:
            ledger.probe(at)
            ledger.put_anchors(
                [AnchorsContact(unit_serial="BM-000001", certificate="1", anchors=frozenset({root}), at=at)]
            )
            ledger.retire_root(root, successor, at)
            state = said("retired_root", retired_root_row(root, successor, at))
            ledger.append([AuditRow(at=at, who="approver:Anton", act="root.retire", about="cc" * 32, state=state)])
        # The last of all: under another configuration this authority issues nothing.
        announce_configuration(parts.store, b'{"birth_grace_s": 1}', parts.clock)
        announce_configuration(parts.store, b'{"birth_grace_s": 2}', parts.clock)
