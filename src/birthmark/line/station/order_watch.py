# SPDX-License-Identifier: Apache-2.0
"""How far the order of a rig is, by the account that the CA keeps of it."""

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from birthmark.core import strict_json
from birthmark.core.errors import DecodeError
from birthmark.core.order_wire import OrderProgress
from birthmark.line.ports import Stopwatch
from birthmark.line.station.remembered import Remembered
from birthmark.net.errors import NetError
from birthmark.net.transport import HTTPTransport

ORDERS_PATH: Final = "/v1/rigs/orders/"
MEMORY_S: Final = 10.0
"""For so long an account is repeated: the CA counts it anew each time."""


class OrderWatch:
    """Asks the CA when somebody asks here, at most once in MEMORY_S. Calls may come from any thread."""

    def __init__(self, transport: HTTPTransport, order: str, stopwatch: Stopwatch) -> None:
        self._transport = transport
        self._path = ORDERS_PATH + quote(order, safe="")
        self._progress = Remembered(self._asked, MEMORY_S, stopwatch)

    def now(self) -> OrderProgress | None:
        """Return how far the order is; None when the CA is away, or does not tell."""
        return self._progress.now()

    def _asked(self) -> OrderProgress | None:
        try:
            answer = self._transport.request("GET", self._path)
            return strict_json.decode(answer.body, OrderProgress) if answer.status == HTTPStatus.OK else None
        except (NetError, DecodeError):
            return None
