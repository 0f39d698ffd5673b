# SPDX-License-Identifier: Apache-2.0
"""What a call of the administration is: one row of a table, and what its function is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from birthmark.ca.admin.ledger import LedgerDesk
from birthmark.ca.life.lifecycle import Lifecycle
from birthmark.ca.orders.book import OrderBook
from birthmark.ca.people.approvals import Approvals
from birthmark.ca.people.roles import Officer
from birthmark.ca.rigs.desk import RigDesk
from birthmark.ca.transparency.bundle_making import Auditing
from birthmark.ca.units.desk import UnitDesk
from birthmark.ca.watch.health import HealthDesk
from birthmark.core.roles import Role


@dataclass(frozen=True, slots=True)
class Services:
    """What the calls work on."""

    approvals: Approvals
    orders: OrderBook
    ledger: LedgerDesk
    lifecycle: Lifecycle
    auditing: Auditing
    health: HealthDesk
    units: UnitDesk
    rigs: RigDesk


@dataclass(frozen=True, slots=True)
class Call:
    """One call: who makes it, when, the values in its path, its query and its body, of the types of its row."""

    officer: Officer
    at: datetime
    path: Mapping[str, str]
    body: Any = None
    query: Any = None


@dataclass(frozen=True, slots=True)
class AdminRoute:
    """One call. `name` is how the log calls it. Unknown members of a query or a body are refused."""

    method: str
    path: str
    name: str
    roles: frozenset[Role]
    request: type[msgspec.Struct] | None
    response: type[msgspec.Struct]
    function: Callable[[Services, Call], msgspec.Struct]
    query: type[msgspec.Struct] | None = None
