# SPDX-License-Identifier: Apache-2.0
"""Production orders as people write them, one TOML file per order, and as product security signs them."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from birthmark.core import ids
from birthmark.core.config import Config, load
from birthmark.core.errors import ConfigError, DecodeError
from birthmark.core.issuance import Order, UnitRange

ORDER_MAX_UNITS = 10_000_000
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(min_length=1, max_length=64)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Quantity = Annotated[int, msgspec.Meta(ge=1, le=ORDER_MAX_UNITS)]


class OrderFile(Config, frozen=True):
    """An order file. Moments carry their offset from UTC."""

    id: str
    product: _Name
    quantity: _Quantity
    chip_models: _Names
    rigs: _Names
    first_unit: _Name
    last_unit: _Name
    not_before: _Moment
    not_after: _Moment
    profile: _Name


class OrderTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    An order as it shall stand, whole: the terms of the acts that create, extend and override one.

    `replaces` is the SHA-256 of the document that it stands on now, so that no change is lost between two; "" when it
    is created.
    """

    product: _Name
    quantity: _Quantity
    chip_models: _Names
    rigs: _Names
    first_unit: _Name
    last_unit: _Name
    not_before: _Moment
    not_after: _Moment
    profile: _Name
    replaces: str = ""


def read_order(path: Path) -> tuple[str, OrderTerms]:
    """
    Return the id and the terms of the order that a file describes.

    Raises:
        ConfigError: the file cannot be read, or is no order.

    """
    file = load(OrderFile, path)
    fields = msgspec.structs.asdict(file)
    order_id, terms = fields.pop("id"), OrderTerms(**fields)
    try:
        order_of(order_id, terms)
    except DecodeError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint or "mend the order") from error
    return order_id, terms


def order_of(order_id: str, terms: OrderTerms) -> Order:
    """Return the order of these terms, not approved by anyone. Raises DecodeError for terms that make no sense."""
    units = UnitRange(terms.first_unit, terms.last_unit)
    if terms.not_after <= terms.not_before:
        raise DecodeError("not_after is not later than not_before", hint="mend the order's window")
    return Order(
        id=ids.order_id(order_id),
        product=terms.product,
        quantity=terms.quantity,
        chip_models=terms.chip_models,
        rigs=terms.rigs,
        units=units,
        not_before=terms.not_before,
        not_after=terms.not_after,
        profile=terms.profile,
    )
