# SPDX-License-Identifier: Apache-2.0
"""
The CFX messages that the line sends and reads, with every field of IPC-2591 version 2.1.

Each class is one message; its tag is what CFX writes as `$type`. Where CFX spells an identifier of its own way (`ID`
here, `Id` there), the field says so.
"""

from typing import Final
from uuid import UUID

import msgspec

from birthmark.line.cfx.structures import (
    CFXStructure,
    Fault,
    Operator,
    PersonalizedUnit,
    RequestResult,
    ResourceState,
    SamplingInformation,
    Surface,
    TestedUnit,
    TestMethod,
    UnitPosition,
    ValidationResult,
    ValidationType,
    WorkOrderIdentifier,
    WorkResult,
)

_DAY_S: Final = 86_400
_TICKS_PER_S: Final = 10_000_000
"""A .NET TimeSpan counts in 100 ns."""


class CFXMessage(CFXStructure, frozen=True, kw_only=True, tag_field="$type"):
    """Base of every message body."""


class EndpointConnected(CFXMessage, frozen=True, kw_only=True, tag="CFX.EndpointConnected, CFX"):
    """The station has joined the network. The rig answers no requests, so the two addresses are empty."""

    cfx_handle: str = msgspec.field(name="CFXHandle")
    request_network_uri: str | None = None
    request_target_address: str | None = None


class EndpointShuttingDown(CFXMessage, frozen=True, kw_only=True, tag="CFX.EndpointShuttingDown, CFX"):
    """The station is about to leave the network."""

    cfx_handle: str = msgspec.field(name="CFXHandle")


class Heartbeat(CFXMessage, frozen=True, kw_only=True, tag="CFX.Heartbeat, CFX"):
    """The station is there. `heartbeat_frequency` is the time to the next one, as `time_span` writes it."""

    cfx_handle: str = msgspec.field(name="CFXHandle")
    heartbeat_frequency: str
    active_faults: tuple[Fault, ...] | None = None
    active_recipes: None = None


class UnitsArrived(CFXMessage, frozen=True, kw_only=True, tag="CFX.Production.UnitsArrived, CFX"):
    """Units have come to the station; no work has begun."""

    primary_identifier: str | None = None
    hermes_identifier: str | None = None
    unit_count: int
    units: tuple[UnitPosition, ...]
    lane: int | None = None


class WorkStarted(CFXMessage, frozen=True, kw_only=True, tag="CFX.Production.WorkStarted, CFX"):
    """Work has begun. Everything until WorkCompleted carries the transaction."""

    primary_identifier: str | None = None
    hermes_identifier: str | None = None
    transaction_id: UUID = msgspec.field(name="TransactionID")
    lane: int | None = None
    unit_count: int
    units: tuple[UnitPosition, ...]
    recipe_name: str | None = None
    revision: str | None = None
    relevant_surface: Surface = Surface.UNSPECIFIED
    work_order_identifier: WorkOrderIdentifier | None = None


class UnitsPersonalized(CFXMessage, frozen=True, kw_only=True, tag="CFX.Production.Assembly.UnitsPersonalized, CFX"):
    """Units were given what makes each of them different."""

    transaction_id: UUID
    personalized_units: tuple[PersonalizedUnit, ...]


class UnitsTested(CFXMessage, frozen=True, kw_only=True, tag="CFX.Production.TestAndInspection.UnitsTested, CFX"):
    """Units were tested, with what came of it."""

    __test__ = False  # not one of pytest's

    transaction_id: UUID
    test_method: TestMethod
    tester: Operator | None
    recipe_name: str | None = None
    recipe_revision: str | None = None
    sampling_information: SamplingInformation = SamplingInformation()
    tested_units: tuple[TestedUnit, ...]


class WorkCompleted(CFXMessage, frozen=True, kw_only=True, tag="CFX.Production.WorkCompleted, CFX"):
    """The transaction has ended."""

    transaction_id: UUID = msgspec.field(name="TransactionID")
    result: WorkResult
    primary_identifier: str | None = None
    hermes_identifier: str | None = None
    unit_count: int
    units: tuple[UnitPosition, ...]
    work_order_identifier: WorkOrderIdentifier | None = None


class UnitsDeparted(CFXMessage, frozen=True, kw_only=True, tag="CFX.Production.UnitsDeparted, CFX"):
    """Units have left the station."""

    primary_identifier: str | None = None
    hermes_identifier: str | None = None
    unit_count: int
    units: tuple[UnitPosition, ...]
    lane: int | None = None


class StationStateChanged(
    CFXMessage, frozen=True, kw_only=True, tag="CFX.ResourcePerformance.StationStateChanged, CFX"
):
    """The station went from one state to another. The duration is written by `time_span`."""

    old_state: ResourceState
    old_state_duration: str
    new_state: ResourceState
    related_fault: Fault | None = None


class FaultOccurred(CFXMessage, frozen=True, kw_only=True, tag="CFX.ResourcePerformance.FaultOccurred, CFX"):
    """Something is wrong at the station."""

    fault: Fault


class FaultCleared(CFXMessage, frozen=True, kw_only=True, tag="CFX.ResourcePerformance.FaultCleared, CFX"):
    """It is over."""

    fault_occurrence_id: UUID
    operator: Operator | None = None


class ValidateUnitsRequest(
    CFXMessage, frozen=True, kw_only=True, tag="CFX.InformationSystem.UnitValidation.ValidateUnitsRequest, CFX"
):
    """May these units be worked on here?"""

    validations: tuple[ValidationType, ...]
    primary_identifier: str | None
    hermes_identifier: str | None = None
    units: tuple[UnitPosition, ...]
    lane: int | None = None


class ValidateUnitsResponse(
    CFXMessage, frozen=True, kw_only=True, tag="CFX.InformationSystem.UnitValidation.ValidateUnitsResponse, CFX"
):
    """The factory's answer: whether it could be asked, the panel as a whole, and each unit."""

    result: RequestResult
    primary_result: ValidationResult | None = None
    results: tuple[ValidationResult, ...] = ()


class NotSupportedResponse(CFXMessage, frozen=True, kw_only=True, tag="CFX.NotSupportedResponse, CFX"):
    """The endpoint does not answer this kind of request."""

    request_result: RequestResult


MESSAGES: Final[tuple[type[CFXMessage], ...]] = (
    EndpointConnected,
    EndpointShuttingDown,
    Heartbeat,
    UnitsArrived,
    WorkStarted,
    UnitsPersonalized,
    UnitsTested,
    WorkCompleted,
    UnitsDeparted,
    StationStateChanged,
    FaultOccurred,
    FaultCleared,
    ValidateUnitsRequest,
    ValidateUnitsResponse,
    NotSupportedResponse,
)


def name_of(message: type[CFXMessage]) -> str:
    """Return the message's name, as the envelope and the application properties have it."""
    tag = message.__struct_config__.tag
    return str(tag).partition(",")[0]


def topic_of(message: type[CFXMessage]) -> str:
    """Return the topic: the name without its last part."""
    return name_of(message).rpartition(".")[0]


def time_span(duration_s: float) -> str:
    """Return a duration, zero or more seconds, as .NET writes it: `[d.]hh:mm:ss[.fffffff]`."""
    seconds, ticks = divmod(round(duration_s * _TICKS_PER_S), _TICKS_PER_S)
    days, seconds = divmod(seconds, _DAY_S)
    minutes, seconds = divmod(seconds, 60)
    clock = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return (f"{days}." if days else "") + clock + (f".{ticks:07}" if ticks else "")
