# SPDX-License-Identifier: Apache-2.0
"""How far an order is, as a CA tells the rigs that make it: JSON, read strictly."""

from enum import StrEnum
from typing import Annotated

import msgspec

from birthmark.core.work_wire import COUNT_MAX, Moment, Name

_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]


class OrderState(StrEnum):
    """What became of an order so far. One that was never approved and is ended was rejected, or expired."""

    PROPOSED = "proposed"
    OPEN = "open"
    CLOSED = "closed"
    REJECTED = "rejected"


class OrderProgress(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    Of the places of an order, how many are taken, and how many of those by units with a living, confirmed identity.

    Nothing is issued outside of the window, or for an order that is not open.
    """

    order: Name
    state: OrderState
    ordered: _Count
    taken: _Count
    confirmed: _Count
    not_before: Moment
    not_after: Moment
