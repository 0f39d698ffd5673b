# SPDX-License-Identifier: Apache-2.0
"""Production orders as people write them: one TOML file per order."""

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
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(min_length=1)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class OrderFile(Config, frozen=True):
    """An order file. Moments carry their offset from UTC."""

    id: str
    product: _Name
    quantity: Annotated[int, msgspec.Meta(ge=1, le=ORDER_MAX_UNITS)]
    chip_models: _Names
    rigs: _Names
    first_unit: _Name
    last_unit: _Name
    not_before: _Moment
    not_after: _Moment
    profile: _Name


def read_order(path: Path) -> Order:
    """
    Return the order that a file describes.

    Raises:
        ConfigError: the file cannot be read, or is no order.

    """
    file = load(OrderFile, path)
    try:
        ids.order_id(file.id)
        units = UnitRange(file.first_unit, file.last_unit)
    except DecodeError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from error
    if file.not_after <= file.not_before:
        raise ConfigError(f"{path}: not_after is not later than not_before", hint="mend the order's window")
    return Order(
        id=file.id,
        product=file.product,
        quantity=file.quantity,
        chip_models=file.chip_models,
        rigs=file.rigs,
        units=units,
        not_before=file.not_before,
        not_after=file.not_after,
        profile=file.profile,
    )
