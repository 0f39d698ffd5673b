# SPDX-License-Identifier: Apache-2.0
"""
The rigs' records of units, kept by the CA (`line.ports.UnitStore`): for a site whose rigs share no database.

What a unit becomes is decided here, of the record and the moment that the CA gave; the CA takes it when the record is
still the same, and holds what one rig must not do to another. docs/reference/line.md has the calls.
"""

import random
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

from birthmark.core import strict_json
from birthmark.core.errors import DecodeError, StoreError
from birthmark.core.work import Transition, UnitChange, UnitWork
from birthmark.core.work_wire import (
    CHANGES_MAX,
    UNITS_MAX,
    NewWork,
    SharingList,
    WorkAnswer,
    WorkHistory,
    WorkList,
    change_of,
    record_of,
    version_of,
    work_of,
)
from birthmark.line.errors import AuthorityRefused
from birthmark.net.errors import NetError
from birthmark.net.transport import HTTPTransport

T = TypeVar("T")

ANSWER_TIMEOUT_S: Final = 2.0
"""How long a call waits for the CA: well below the lease of a unit."""
TRIES: Final = 64
"""How often a change is tried while others change the same unit. Each time that one fails, another one succeeded."""
PAUSE_MAX_S: Final = 0.02
WORK_PATH: Final = "/v1/work"
CHANGES_PATH: Final = "/v1/work-changes"
SHARING_PATH: Final = "/v1/work-sharing"
_HINT: Final = "see that the CA runs and is reachable"


class _Refusal(msgspec.Struct, frozen=True):
    finding: str
    message: str
    hint: str = ""


class WireUnits:
    """Calls may come from any thread. Raises StoreError (the CA cannot be asked) and AuthorityRefused (it says no)."""

    def __init__(self, transport: HTTPTransport) -> None:
        self._transport = transport

    def units(self, serials: Sequence[str]) -> tuple[UnitWork, ...]:
        """Return the records, in this order; of a unit that nobody has seen, a new one."""
        pages = (serials[first : first + UNITS_MAX] for first in range(0, len(serials), UNITS_MAX))
        return tuple(work_of(record) for page in pages for record in self._list(page).units)

    def change(self, serial: str, transition: Transition) -> UnitWork:
        """Return the record as `transition` makes it of the present one; nobody else changes it in between."""
        found = self._list((serial,))
        work, at = work_of(found.units[0]), found.at
        for _ in range(TRIES):
            after = transition(work, at)
            asked = NewWork(version=version_of(work), at=at, work=record_of(after))
            answer = self._asked("POST", f"{WORK_PATH}/{serial}", WorkAnswer, msgspec.json.encode(asked))
            work, at = work_of(answer.work), answer.at
            if answer.changed:
                return work
            time.sleep(random.uniform(0, PAUSE_MAX_S))  # noqa: S311 only so that two rigs do not collide again
        raise StoreError(f"{serial} was changed by others {TRIES} times in a row", finding="store.conflict")

    def sharing(self, chip_serial: str, key_sha256: str) -> tuple[UnitWork, ...]:
        """Return the units that were seen with this chip or this key. An empty value is shared by none."""
        query = urlencode({"chip": chip_serial, "key": key_sha256})
        return tuple(map(work_of, self._asked("GET", f"{SHARING_PATH}?{query}", SharingList).units))

    def history(self, after: int, limit: int) -> tuple[UnitChange, ...]:
        """Return at most so many changes with higher numbers, in their order: of the units of this rig's orders."""
        return self._changes(CHANGES_PATH, after, limit)

    def history_of(self, serial: str) -> tuple[UnitChange, ...]:
        """Return all changes of one unit, in their order."""
        return self._changes(f"{WORK_PATH}/{serial}/history", 0, None)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _changes(self, path: str, after: int, limit: int | None) -> tuple[UnitChange, ...]:
        found: list[UnitChange] = []
        following: int | None = after
        while following is not None and (limit is None or len(found) < limit):
            wanted = {} if limit is None else {"limit": min(limit - len(found), CHANGES_MAX)}
            page = self._asked("GET", f"{path}?{urlencode({'after': following, **wanted})}", WorkHistory)
            found += map(change_of, page.changes)
            if page.next is not None and page.next <= following:
                raise AuthorityRefused("the CA's history of units does not go on", finding="line.units.answer")
            following = page.next
        return tuple(found)

    def _list(self, serials: Sequence[str]) -> WorkList:
        found = self._asked("GET", f"{WORK_PATH}?{urlencode({'units': ','.join(serials)})}", WorkList)
        if [record.unit for record in found.units] != list(serials):
            raise AuthorityRefused("the CA answers for other units", finding="line.units.answer")
        return found

    def _asked(self, method: str, path: str, told: type[T], body: bytes = b"") -> T:
        """Return the CA's answer. Raises StoreError, AuthorityRefused."""
        headers = {"content-type": "application/json"} if body else {}
        try:
            answer = self._transport.request(method, path, headers, body)
        except NetError as error:
            raise StoreError(error.message, hint=error.hint or _HINT, finding="store.unreachable") from error
        try:
            if answer.status == HTTPStatus.OK:
                return strict_json.decode(answer.body, told)
            refusal = msgspec.json.decode(answer.body, type=_Refusal)
        except (DecodeError, msgspec.MsgspecError) as error:
            raise StoreError(f"{answer.status}, and not the answer of a CA", finding="store.unreachable") from error
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise StoreError(refusal.message, hint=_HINT, finding="store.unreachable")
        raise AuthorityRefused(refusal.message, hint=refusal.hint, finding=refusal.finding)
