# SPDX-License-Identifier: Apache-2.0
"""
The rigs' records of units, kept by the CA (`line.ports.UnitStore`): for a site whose rigs share no database.

What a unit becomes is decided here, of the record and the moment that the CA gave; the CA takes it when the record is
still the same, and holds what one rig must not do to another. docs/reference/line.md has the calls.
"""

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec

from birthmark.core import strict_json
from birthmark.core.attempts import Attempt, Cell, Ending, Grain, KeepUnits, Period
from birthmark.core.attempts_wire import (
    ATTEMPTS_MAX,
    AttemptAnswer,
    AttemptList,
    CellList,
    NewAttempt,
    Passed,
    attempt_of,
    attempt_record,
)
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
WORK_PATH: Final = "/v1/rigs/units"
CHANGES_PATH: Final = "/v1/rigs/changes"
SHARING_PATH: Final = "/v1/rigs/sharing"
ATTEMPTS_PATH: Final = "/v1/rigs/attempts"
CELLS_PATH: Final = "/v1/rigs/cells"
UNFINISHED_PATH: Final = "/v1/rigs/unfinished"
PASSED_PATH: Final = "/v1/rigs/passed"
LAST_PATH: Final = "/v1/rigs/last"
ANSWER_MAX_BYTES: Final = 32 << 20
"""Of the largest answer: the cells of a long period."""
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

        def change(work: UnitWork, at: datetime) -> tuple[UnitWork | None, UnitWork, datetime]:
            asked = NewWork(version=version_of(work), at=at, work=record_of(transition(work, at)))
            answer = self._asked("POST", f"{WORK_PATH}/{serial}", WorkAnswer, msgspec.json.encode(asked))
            now = work_of(answer.work)
            return now if answer.changed else None, now, answer.at

        return self._tried(serial, change)

    def _tried(self, serial: str, act: Callable[[UnitWork, datetime], tuple[T | None, UnitWork, datetime]]) -> T:
        """Return what `act` comes to; where others were faster, it is given what the record is then, and the moment."""
        found = self._list((serial,))
        work, at = work_of(found.units[0]), found.at
        for _ in range(TRIES):
            done, work, at = act(work, at)
            if done is not None:
                return done
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

    # --- attempts ---

    def end(self, serial: str, ending: Ending) -> Attempt:
        """Return the attempt as it counts; it and what becomes of its unit are kept in one transaction."""

        def end(work: UnitWork, at: datetime) -> tuple[Attempt | None, UnitWork, datetime]:
            after, attempt = ending(work, at)
            told = attempt_record(attempt)
            asked = NewAttempt(version=version_of(work), at=at, work=record_of(after), attempt=told)
            answer = self._asked("POST", f"{WORK_PATH}/{serial}/attempts", AttemptAnswer, msgspec.json.encode(asked))
            kept = None if answer.attempt is None else attempt_of(answer.attempt)
            return kept, work_of(answer.work), answer.at

        return self._tried(serial, end)

    def cells(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return what the attempts of a period came to: of this rig's orders."""
        return self._cells(CELLS_PATH, period, grain)

    def unfinished(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return the first attempts of a period whose units are not good now: of this rig's orders."""
        return self._cells(UNFINISHED_PATH, period, grain)

    def last(self, rig: str, limit: int) -> tuple[Attempt, ...]:
        """Return the last attempts at a rig, newest first: of this rig's orders."""
        query = urlencode({"rig": rig, "limit": min(limit, ATTEMPTS_MAX)})
        return tuple(map(attempt_of, self._asked("GET", f"{LAST_PATH}?{query}", AttemptList).attempts))

    def attempts(self, period: Period, after: Attempt | None, limit: int) -> tuple[Attempt, ...]:
        """Return at most so many attempts of a period in the order of their ends, behind `after`: of its orders."""
        found: list[Attempt] = []
        at, number = (after.ended_at, after.number) if after else (None, 0)
        while len(found) < limit:
            place = {} if at is None else {"after_at": at.isoformat(), "after_number": number}
            query = {**_period(period), **place, "limit": min(limit - len(found), ATTEMPTS_MAX)}
            page = self._asked("GET", f"{ATTEMPTS_PATH}?{urlencode(query)}", AttemptList)
            found += map(attempt_of, page.attempts)
            if page.next_at is None:
                break
            if at is not None and (page.next_at, page.next_number) <= (at, number):
                raise AuthorityRefused("the CA's list of attempts does not go on", finding="line.units.answer")
            at, number = page.next_at, page.next_number
        return tuple(found)

    def passed(self, order: str) -> int:
        """Return how many attempts passed under one of this rig's orders, as far as they are kept."""
        return self._asked("GET", f"{PASSED_PATH}?{urlencode({'order': order})}", Passed).passed

    def prune(self, _keep: KeepUnits) -> int:
        """Take away nothing: how long records are kept is for the CA's configuration to say, and not for a rig."""
        return 0

    # ---

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

    def _cells(self, path: str, period: Period, grain: Grain) -> tuple[Cell, ...]:
        query = urlencode({**_period(period), "grain": grain.name.lower()})
        return self._asked("GET", f"{path}?{query}", CellList).cells

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


def _period(period: Period) -> dict[str, str]:
    return {"since": period.since.isoformat(), "until": period.until.isoformat()}
