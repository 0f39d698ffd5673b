# SPDX-License-Identifier: Apache-2.0
"""The table of all acts that need two persons."""

from birthmark.ca.anchors import Lineage, RootActs
from birthmark.ca.life.acts import unit_acts
from birthmark.ca.orders.acts import OrderActs
from birthmark.ca.people.approvals import Act
from birthmark.ca.people.denials import client_acts
from birthmark.ca.policy import Policy
from birthmark.ca.rigs.tickets import ticket_acts


def all_acts(policy: Policy, lineage: Lineage) -> tuple[Act, ...]:
    """Return every act that can be proposed to an authority with this policy and these issuing CAs."""
    models = frozenset(model.id for model in policy.endorsements.models)
    return (
        *OrderActs(frozenset(policy.terms), models).acts(),
        *unit_acts(),
        *client_acts(),
        *ticket_acts(),
        *RootActs(lineage).acts(),
    )
