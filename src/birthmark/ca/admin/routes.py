# SPDX-License-Identifier: Apache-2.0
"""
Every call of the administration: one row each, with the roles that may make it.

A call's function gets the services and the call, read and allowed, and returns what is told. To add a call, add its
types to `admin_types` and its row to `ROUTES`; roles, reading, audit and errors are the same for all (`admin_http`).
"""

import re
from collections.abc import Callable
from typing import Final

from birthmark.ca.admin import ledger_types, types
from birthmark.ca.admin.calls import AdminRoute, Call, Services
from birthmark.ca.admin.rig_routes import RIG_ROUTES
from birthmark.ca.demands import UNKNOWN
from birthmark.ca.errors import Refused
from birthmark.ca.life.lifecycle import Actor
from birthmark.ca.life.units import BY_ONE, RULES, Move
from birthmark.ca.people.roles import PEOPLE
from birthmark.ca.transparency.bundle_making import BundleRequest
from birthmark.core.issuance import ChipGroup, ChipID, GroupKind
from birthmark.core.roles import Role

PROPOSALS_SHOWN: Final = 200
_DECIDERS: Final = PEOPLE - {Role.AUDITOR}
"""Who may knock at all: which act somebody may propose or decide on stands with the act."""


def _show_authority(services: Services, _call: Call) -> types.AuthorityView:
    return types.AuthorityView(authority=services.approvals.authority)


def _list_proposals(services: Services, call: Call) -> types.ProposalList:
    found = services.approvals.proposals(PROPOSALS_SHOWN)
    return types.ProposalList(proposals=tuple(types.proposal_view(each, call.at) for each in found))


def _propose(services: Services, call: Call) -> types.ProposalView:
    body: types.NewProposal = call.body
    return types.proposal_view(services.approvals.propose(call.officer, body.document), call.at)


def _show_proposal(services: Services, call: Call) -> types.ProposalView:
    return types.proposal_view(services.approvals.proposal(call.path["proposal"]), call.at)


def _decide(services: Services, call: Call) -> types.ProposalView:
    body: types.NewRuling = call.body
    decided = services.approvals.rule(call.officer, call.path["proposal"], body.document)
    return types.proposal_view(decided, call.at)


def _list_orders(services: Services, _call: Call) -> types.OrderList:
    return types.OrderList(orders=tuple(map(types.order_view, services.orders.orders())))


def _show_order(services: Services, call: Call) -> types.OrderEntryView:
    return types.entry_view(services.orders.entry(call.path["order"]))


def _scrap(services: Services, call: Call) -> types.OrderEntryView:
    body: types.NewScrap = call.body
    entry = services.orders.scrap(call.officer, call.path["order"], call.path["unit"], body.reason)
    return types.entry_view(entry)


def _certificates(services: Services, call: Call) -> ledger_types.CertificatePage:
    query: ledger_types.PageQuery = call.query
    return services.ledger.certificates(query.after, query.limit)


def _denied_clients(services: Services, _call: Call) -> ledger_types.DeniedClientList:
    return services.ledger.denied_clients()


def _revoke(services: Services, call: Call) -> ledger_types.RevocationView:
    body: ledger_types.NewRevocation = call.body
    ended = services.lifecycle.revoke_certificate(_actor(call), call.path["serial"], body.reason)
    return ledger_types.RevocationView(revoked=ended)


def _deny(services: Services, call: Call) -> ledger_types.RevocationView:
    body: ledger_types.NewDenial = call.body
    chip = ChipID(call.path["maker"], call.path["chip"])
    return ledger_types.RevocationView(revoked=services.lifecycle.revoke_chip(_actor(call), chip, body.reason))


def _show_unit(services: Services, call: Call) -> ledger_types.UnitFileView:
    return ledger_types.unit_file_view(services.lifecycle.unit(call.path["unit"]), call.at)


def _saying(move: Move) -> Callable[[Services, Call], ledger_types.UnitView]:
    def said(services: Services, call: Call) -> ledger_types.UnitView:
        body: ledger_types.NewMove = call.body
        return ledger_types.unit_view(services.lifecycle.move(_actor(call), call.path["unit"], move, body.reason))

    return said


def _revoke_unit(services: Services, call: Call) -> ledger_types.RevocationView:
    body: ledger_types.NewRevocation = call.body
    ended = services.lifecycle.revoke_unit(_actor(call), call.path["unit"], body.reason)
    return ledger_types.RevocationView(revoked=ended)


def _deny_ak(services: Services, call: Call) -> ledger_types.GroupDenialView:
    if _DIGEST.fullmatch(call.path["ak"]) is None:
        reason = "an attestation key is named by the SHA-256 of its SubjectPublicKeyInfo, in lower-case hexadecimal"
        raise Refused(UNKNOWN, "ca.admin.path", reason)
    return _deny_group(services, call, ChipGroup(GroupKind.AK, call.path["ak"]))


def _deny_model(services: Services, call: Call) -> ledger_types.GroupDenialView:
    return _deny_group(services, call, ChipGroup(GroupKind.MODEL, call.path["model"]))


def _deny_group(services: Services, call: Call, group: ChipGroup) -> ledger_types.GroupDenialView:
    body: ledger_types.NewDenial = call.body
    return ledger_types.GroupDenialView(ended=services.lifecycle.revoke_group(_actor(call), group, body.reason))


def _history(services: Services, call: Call) -> ledger_types.HistoryView:
    query: ledger_types.ReadQuery = call.query
    return services.ledger.history(call.officer, call.path["unit"], query.reason)


def _bundle(services: Services, call: Call) -> ledger_types.BundleView:
    query: ledger_types.BundleQuery = call.query
    asked = BundleRequest(
        serial=call.path["unit"],
        who=call.officer.holder,
        fingerprint=call.officer.fingerprint,
        reason=query.reason,
        evidence=query.evidence,
    )
    return ledger_types.BundleView(bundle=services.auditing.bundle(asked))


def _health(services: Services, _call: Call) -> ledger_types.HealthView:
    return ledger_types.health_view(services.health.health())


def _actor(call: Call) -> Actor:
    return Actor(call.officer.holder, call.officer.fingerprint)


_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_OFFICERS: Final = frozenset({Role.SECURITY_OFFICER})

ROUTES: Final = (
    AdminRoute("GET", "/v1/authority", "authority.show", PEOPLE, None, types.AuthorityView, _show_authority),
    AdminRoute("GET", "/v1/proposals", "proposal.list", PEOPLE, None, types.ProposalList, _list_proposals),
    AdminRoute("POST", "/v1/proposals", "propose", _DECIDERS, types.NewProposal, types.ProposalView, _propose),
    AdminRoute("GET", "/v1/proposals/{proposal}", "proposal.show", PEOPLE, None, types.ProposalView, _show_proposal),
    AdminRoute(
        "POST",
        "/v1/proposals/{proposal}/decision",
        "decide",
        _DECIDERS,
        types.NewRuling,
        types.ProposalView,
        _decide,
    ),
    AdminRoute("GET", "/v1/orders", "order.list", PEOPLE, None, types.OrderList, _list_orders),
    AdminRoute("GET", "/v1/orders/{order}", "order.show", PEOPLE, None, types.OrderEntryView, _show_order),
    AdminRoute(
        "POST",
        "/v1/orders/{order}/units/{unit}/scrap",
        "unit.scrap",
        frozenset({Role.LINE_LEAD}),
        types.NewScrap,
        types.OrderEntryView,
        _scrap,
    ),
    AdminRoute(
        "GET",
        "/v1/certificates",
        "certificate.list",
        PEOPLE,
        None,
        ledger_types.CertificatePage,
        _certificates,
        ledger_types.PageQuery,
    ),
    AdminRoute(
        "POST",
        "/v1/certificates/{serial}/revocation",
        "revoke",
        _OFFICERS,
        ledger_types.NewRevocation,
        ledger_types.RevocationView,
        _revoke,
    ),
    AdminRoute(
        "POST",
        "/v1/chips/{maker}/{chip}/denial",
        "deny",
        _OFFICERS,
        ledger_types.NewDenial,
        ledger_types.RevocationView,
        _deny,
    ),
    AdminRoute(
        "POST",
        "/v1/attestation-keys/{ak}/denial",
        "deny.ak",
        _OFFICERS,
        ledger_types.NewDenial,
        ledger_types.GroupDenialView,
        _deny_ak,
    ),
    AdminRoute(
        "POST",
        "/v1/models/{model}/denial",
        "deny.model",
        _OFFICERS,
        ledger_types.NewDenial,
        ledger_types.GroupDenialView,
        _deny_model,
    ),
    AdminRoute(
        "GET", "/v1/denied-clients", "client.list", PEOPLE, None, ledger_types.DeniedClientList, _denied_clients
    ),
    AdminRoute("GET", "/v1/units/{unit}", "unit.show", PEOPLE, None, ledger_types.UnitFileView, _show_unit),
    *(
        AdminRoute(
            "POST",
            f"/v1/units/{{unit}}/{move.value}",
            move.act,
            RULES[move].roles,
            ledger_types.NewMove,
            ledger_types.UnitView,
            _saying(move),
        )
        for move in BY_ONE
    ),
    AdminRoute(
        "POST",
        "/v1/units/{unit}/revocation",
        "revoke.unit",
        _OFFICERS,
        ledger_types.NewRevocation,
        ledger_types.RevocationView,
        _revoke_unit,
    ),
    AdminRoute(
        "GET",
        "/v1/units/{unit}/history",
        "unit.read",
        PEOPLE,
        None,
        ledger_types.HistoryView,
        _history,
        ledger_types.ReadQuery,
    ),
    AdminRoute(
        "GET",
        "/v1/units/{unit}/bundle",
        "audit.bundle",
        frozenset({Role.AUDITOR, Role.SECURITY_OFFICER}),
        None,
        ledger_types.BundleView,
        _bundle,
        ledger_types.BundleQuery,
    ),
    AdminRoute(
        "GET",
        "/v1/health/details",
        "health",
        frozenset({Role.AUDITOR, Role.MACHINE, Role.SECURITY_OFFICER}),
        None,
        ledger_types.HealthView,
        _health,
    ),
    *RIG_ROUTES,
)
