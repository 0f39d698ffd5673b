# SPDX-License-Identifier: Apache-2.0
"""The calls of rigs in JSON: their records of units, their next certificate. Rows like those of the administration."""

from dataclasses import replace
from typing import Annotated, Final, Literal

import msgspec

from birthmark.ca.admin.calls import AdminRoute, Call, Services
from birthmark.ca.admin.rig_types import RigCertificate, RigRenewal, certificate_view
from birthmark.ca.admin.types import order_state
from birthmark.core.attempts import Attempt, Grain, Period
from birthmark.core.attempts_wire import (
    ATTEMPTS_MAX,
    AttemptAnswer,
    AttemptList,
    CellList,
    NewAttempt,
    Passed,
    attempt_record,
)
from birthmark.core.order_wire import OrderProgress
from birthmark.core.roles import Role
from birthmark.core.work import UnitChange
from birthmark.core.work_wire import (
    CHANGES_MAX,
    ChipSerial,
    KeyDigest,
    Moment,
    Name,
    NewWork,
    Number,
    NumberedWork,
    SharingList,
    UnitSerials,
    WorkAnswer,
    WorkHistory,
    WorkList,
    record_of,
)


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of queries: unknown parameters are refused."""


class WorkQuery(_Query, frozen=True):
    """Which units: their serials, with commas between them."""

    units: UnitSerials


class SharingQuery(_Query, frozen=True):
    """Which chip, and which key (SHA-256 of its SubjectPublicKeyInfo)."""

    chip: ChipSerial = ""
    key: KeyDigest = ""


class ChangesQuery(_Query, frozen=True):
    """After which change, and how many of them at most."""

    after: Number = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=CHANGES_MAX)] = CHANGES_MAX


class PeriodQuery(_Query, frozen=True):
    """From which moment on, and before which."""

    since: Moment
    until: Moment


class CellsQuery(PeriodQuery, frozen=True):
    """How finely it is cut: by all but time, or by rig and order alone in spans of an hour or of 24."""

    grain: Literal["places", "hours", "days"] = "places"


class AttemptsQuery(PeriodQuery, frozen=True):
    """Behind which end and number, and how many at most."""

    after_at: Moment | None = None
    after_number: Number = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=ATTEMPTS_MAX)] = ATTEMPTS_MAX


class LastQuery(_Query, frozen=True):
    """Of which rig, and how many at most."""

    rig: Name
    limit: Annotated[int, msgspec.Meta(ge=1, le=ATTEMPTS_MAX)] = ATTEMPTS_MAX


class PassedQuery(_Query, frozen=True):
    """Under which order."""

    order: Name


class HistoryQuery(_Query, frozen=True):
    """After which change."""

    after: Number = 0


def _list(services: Services, call: Call) -> WorkList:
    query: WorkQuery = call.query
    at, found = services.units.units(call.officer, query.units.split(","))
    return WorkList(at=at, units=tuple(map(record_of, found)))


def _change(services: Services, call: Call) -> WorkAnswer:
    asked: NewWork = call.body
    changed, at, work = services.units.change(call.officer, call.path["unit"], asked)
    return WorkAnswer(changed=changed, at=at, work=record_of(work))


def _sharing(services: Services, call: Call) -> SharingList:
    query: SharingQuery = call.query
    found = services.units.sharing(call.officer, query.chip, query.key)
    return SharingList(units=tuple(map(record_of, found)))


def _changes(services: Services, call: Call) -> WorkHistory:
    query: ChangesQuery = call.query
    return _told(*services.units.history(call.officer, query.after, query.limit))


def _history(services: Services, call: Call) -> WorkHistory:
    query: HistoryQuery = call.query
    return _told(*services.units.history_of(call.officer, call.path["unit"], query.after))


def _told(changes: tuple[UnitChange, ...], following: int | None) -> WorkHistory:
    told = tuple(NumberedWork(number=each.number, work=record_of(each.work)) for each in changes)
    return WorkHistory(changes=told, next=following)


def _end(services: Services, call: Call) -> AttemptAnswer:
    asked: NewAttempt = call.body
    attempt, at, work = services.units.end(call.officer, call.path["unit"], asked)
    told = None if attempt is None else attempt_record(attempt)
    return AttemptAnswer(attempt=told, at=at, work=record_of(work))


def _cells(services: Services, call: Call) -> CellList:
    query: CellsQuery = call.query
    return CellList(cells=services.units.cells(call.officer, _period(query), _grain(query)))


def _unfinished(services: Services, call: Call) -> CellList:
    query: CellsQuery = call.query
    return CellList(cells=services.units.unfinished(call.officer, _period(query), _grain(query)))


def _last(services: Services, call: Call) -> AttemptList:
    query: LastQuery = call.query
    found = services.units.last(call.officer, query.rig, query.limit)
    return AttemptList(attempts=tuple(map(attempt_record, found)), next_at=None, next_number=0)


def _attempts(services: Services, call: Call) -> AttemptList:
    query: AttemptsQuery = call.query
    behind = None if query.after_at is None else replace(_PLACE, ended_at=query.after_at, number=query.after_number)
    found, last = services.units.attempts(call.officer, _period(query), behind, query.limit)
    told = tuple(map(attempt_record, found))
    if last is None:
        return AttemptList(attempts=told, next_at=None, next_number=0)
    return AttemptList(attempts=told, next_at=last.ended_at, next_number=last.number)


def _passed(services: Services, call: Call) -> Passed:
    query: PassedQuery = call.query
    return Passed(passed=services.units.passed(call.officer, query.order))


def _order(services: Services, call: Call) -> OrderProgress:
    order_id = call.path["order"]
    services.units.reach.demand_named(call.officer, order_id)
    entry = services.orders.entry(order_id)
    return OrderProgress(
        order=order_id,
        state=order_state(entry.order),
        ordered=entry.account.ordered,
        taken=entry.account.taken,
        confirmed=entry.account.confirmed,
        not_before=entry.order.not_before,
        not_after=entry.order.not_after,
    )


def _period(query: "PeriodQuery") -> Period:
    return Period(query.since, query.until)


def _grain(query: "CellsQuery") -> Grain:
    return Grain[query.grain.upper()]


_PLACE: Final = Attempt("", "", "", 0, "", "", "", "")
"""Where a page begins has an end and a number, and nothing else of an attempt."""


def _renew(services: Services, call: Call) -> RigCertificate:
    body: RigRenewal = call.body
    return certificate_view(services.rigs.renew(call.officer, body.request))


_RIGS: Final = frozenset({Role.MACHINE})

RIG_ROUTES: Final = (
    AdminRoute("POST", "/v1/rigs/renewal", "rig.renew", _RIGS, RigRenewal, RigCertificate, _renew),
    AdminRoute("GET", "/v1/rigs/orders/{order}", "rig.order", _RIGS, None, OrderProgress, _order),
    AdminRoute("GET", "/v1/rigs/units", "work.list", _RIGS, None, WorkList, _list, WorkQuery),
    AdminRoute("POST", "/v1/rigs/units/{unit}", "work.change", _RIGS, NewWork, WorkAnswer, _change),
    AdminRoute(
        "GET", "/v1/rigs/units/{unit}/history", "work.history", _RIGS, None, WorkHistory, _history, HistoryQuery
    ),
    AdminRoute("GET", "/v1/rigs/changes", "work.changes", _RIGS, None, WorkHistory, _changes, ChangesQuery),
    AdminRoute("GET", "/v1/rigs/sharing", "work.sharing", _RIGS, None, SharingList, _sharing, SharingQuery),
    AdminRoute("POST", "/v1/rigs/units/{unit}/attempts", "work.end", _RIGS, NewAttempt, AttemptAnswer, _end),
    AdminRoute("GET", "/v1/rigs/attempts", "work.attempts", _RIGS, None, AttemptList, _attempts, AttemptsQuery),
    AdminRoute("GET", "/v1/rigs/cells", "work.cells", _RIGS, None, CellList, _cells, CellsQuery),
    AdminRoute("GET", "/v1/rigs/unfinished", "work.unfinished", _RIGS, None, CellList, _unfinished, CellsQuery),
    AdminRoute("GET", "/v1/rigs/last", "work.last", _RIGS, None, AttemptList, _last, LastQuery),
    AdminRoute("GET", "/v1/rigs/passed", "work.passed", _RIGS, None, Passed, _passed, PassedQuery),
)
