# SPDX-License-Identifier: Apache-2.0
"""
Every call of the administration: one row each, with the roles that may make it.

A call's function gets the services and the call, read and allowed, and returns what is told. To add a call, add its
types to `admin_types` and its row to `ROUTES`; roles, reading, audit and errors are the same for all (`admin_http`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from birthmark.ca import admin_types as types
from birthmark.ca.approvals import Approvals
from birthmark.ca.order_book import OrderBook
from birthmark.ca.roles import PEOPLE, Officer
from birthmark.core.roles import Role

PROPOSALS_SHOWN: Final = 200
_DECIDERS: Final = PEOPLE - {Role.AUDITOR}
"""Who may knock at all: which act somebody may propose or decide on stands with the act."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the calls work on."""

    approvals: Approvals
    orders: OrderBook


@dataclass(frozen=True, slots=True)
class Call:
    """One call: who makes it, when, the values in its path, and its body, of the route's request type."""

    officer: Officer
    at: datetime
    path: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True, slots=True)
class AdminRoute:
    """One call. `name` is how the log calls it when it is refused."""

    method: str
    path: str
    name: str
    roles: frozenset[Role]
    request: type[msgspec.Struct] | None
    response: type[msgspec.Struct]
    function: Callable[[Services, Call], msgspec.Struct]


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


ROUTES: Final = (
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
)
