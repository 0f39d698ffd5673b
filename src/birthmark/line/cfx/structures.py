# SPDX-License-Identifier: Apache-2.0
"""
The structures that CFX messages are made of: those of `CFX.Structures` that the line uses, with all their fields.

Field names and values are those of IPC-2591 version 2.1, as its SDK publishes them (docs/reference/cfx.md). A field is
written even when it is null, as the SDK does. What a later version adds is passed over: CFX grows by new fields. Where
the line never has anything to say, a field is typed as what it always is: null, or an empty list.
"""

from enum import IntEnum, StrEnum
from uuid import UUID

import msgspec


class CFXStructure(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Base of every structure: Python's names here, CFX's on the wire."""


class ActorType(StrEnum):
    """What works the station."""

    HUMAN = "Human"
    ROBOT = "Robot"
    REMOTE_SYSTEM = "RemoteSystem"


class UnitStatus(StrEnum):
    """How a unit stands after the work so far."""

    PASS = "Pass"  # noqa: S105 a status, not a password
    FAIL = "Fail"
    SCRAP = "Scrap"


class Surface(StrEnum):
    """The side of the board that is worked on."""

    UNSPECIFIED = "Unspecified"
    PRIMARY = "PrimarySurface"
    SECONDARY = "SecondarySurface"


class WorkResult(StrEnum):
    """How a transaction ended."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    ABORTED = "Aborted"
    SKIPPED = "Skipped"


class TestResult(StrEnum):
    """How a test ended."""

    __test__ = False  # not one of pytest's

    PASSED = "Passed"
    FAILED = "Failed"
    ERROR = "Error"
    ABORTED = "Aborted"
    SKIPPED = "Skipped"


class TestMethod(StrEnum):
    """Who or what tested."""

    __test__ = False  # not one of pytest's

    HUMAN = "Human"
    AUTOMATED = "Automated"
    ICT = "ICT"
    FPT = "FPT"
    FCT = "FCT"
    BST = "BST"


class SamplingMethod(StrEnum):
    """Which units of a lot are tested."""

    NO_SAMPLING = "NoSampling"
    ANSI_Z14 = "ANSI_Z14"
    MIL_STD_105 = "MIL_STD_105"
    MIL_STD_1916 = "MIL_STD_1916"
    SQUEGLIA = "Squeglia"
    FIXED_SAMPLE = "FixedSample"


class FaultCause(StrEnum):
    """What a fault comes from."""

    LOAD_ERROR = "LoadError"
    UNLOAD_ERROR = "UnloadError"
    AUTO_SAFETY_STOP = "AutoSafetyStop"
    SAFETY_STOP = "SafetyStop"
    QUALITY_CHECK = "QualityCheck"
    REMOTE_STOP = "RemoteStop"
    MECHANICAL_FAILURE = "MechanicalFailure"
    SOFTWARE_FAILURE = "SoftwareFailure"
    POWER_FAILURE = "PowerFailure"
    MISSING_DOCUMENTATION = "MissingDocumentation"
    REFILL = "Refill"
    MSD_EXPIRED = "MsdExpired"
    MATERIAL_EXPIRED = "MaterialExpired"
    MISSING_COMPONENT = "MissingComponent"
    ELECTRICAL_FAILURE = "ElectricalFailure"
    SERVICES_FAILURE = "ServicesFailure"
    PROCESS_ERROR = "ProcessError"
    REJECTED_COMPONENT = "RejectedComponent"


class FaultSeverity(StrEnum):
    """What a fault does to production: Error and Alarm stop it."""

    INFORMATION = "Information"
    WARNING = "Warning"
    ERROR = "Error"
    ALARM = "Alarm"


class SideLocation(StrEnum):
    """From which side of the line a fault is mended."""

    UNKNOWN = "Unknown"
    RIGHT = "Right"
    LEFT = "Left"
    BOTH = "Both"


class AccessType(StrEnum):
    """Whether somebody has to go to the station to mend a fault."""

    UNKNOWN = "Unknown"
    IGNORE = "Ignore"
    LOCAL = "Local"
    REMOTE = "Remote"


class ResourceState(IntEnum):
    """
    The station's state, after SEMI E10 and E58: those codes that a rig can be in.

    CFX writes the code as a number. A maker may add codes of its own within a hundred.
    """

    REGULAR_WORK = 1100
    REWORK = 1300
    STANDBY = 2000
    NO_OPERATOR = 2100
    NO_PRODUCT = 2200
    NO_HOST = 2500
    SETUP = 4500
    UNSCHEDULED_DOWNTIME = 5000
    REPAIR = 5300
    SHUTDOWN_AND_STARTUP = 6500


class StatusResult(StrEnum):
    """Whether a request was carried out."""

    SUCCESS = "Success"
    FAILED = "Failed"
    WARNING = "Warning"


class ValidationType(StrEnum):
    """What the factory is asked about units before work begins."""

    ROUTE = "UnitRouteValidation"
    STATUS = "UnitStatusValidation"
    UNIT_AND_SUBS = "UnitAndSubsStatusValidation"
    ALL = "All"


class ValidationStatus(StrEnum):
    """What the factory says of one unit."""

    PASSED = "Passed"
    FAILED = "Failed"


class UnitPosition(CFXStructure, frozen=True, kw_only=True):
    """One unit and its place on the panel. Millimetres and degrees, as far as the station knows them."""

    unit_identifier: str
    position_number: int
    position_name: str | None = None
    x: float = 0.0
    y: float = 0.0
    z: float | None = None
    rotation: float = 0.0
    flip_x: bool = False
    flip_y: bool = False
    status: UnitStatus = UnitStatus.PASS


class WorkOrderIdentifier(CFXStructure, frozen=True, kw_only=True):
    """A production order, and a part of it where it has parts."""

    work_order_id: str
    batch: str | None = None


class Operator(CFXStructure, frozen=True, kw_only=True):
    """Who worked. The line knows an identifier and nothing else of a person."""

    operator_identifier: str | None = None
    actor_type: ActorType = ActorType.HUMAN
    last_name: str | None = None
    first_name: str | None = None
    login_name: str | None = None


class Characteristic(CFXStructure, frozen=True, kw_only=True):
    """One fact that was given to a unit."""

    name: str
    value: str


class PersonalizedUnit(CFXStructure, frozen=True, kw_only=True):
    """A unit and what it was given."""

    unit_identifier: str
    unit_position_number: int | None
    characteristics: tuple[Characteristic, ...]


class SamplingInformation(CFXStructure, frozen=True, kw_only=True):
    """Which units were tested. Here: every one."""

    sampling_method: SamplingMethod = SamplingMethod.NO_SAMPLING
    lot_size: float | None = None
    sample_size: float | None = None


class Symptom(CFXStructure, frozen=True, kw_only=True):
    """What was seen of a failed test. Nothing is measured here, so no measurement is related to it."""

    unique_identifier: str
    symptom_code: str
    symptom_category: str | None
    description: str | None
    comments: str | None = None
    components_of_interest: tuple[()] = ()
    region_of_interest: None = None
    priority: int = 1
    related_measurements: tuple[()] = ()


class Test(CFXStructure, frozen=True, kw_only=True):
    """One test of one unit. Times are RFC 3339."""

    __test__ = False  # not one of pytest's

    unique_identifier: str
    test_name: str
    test_start_time: str | None = None
    test_end_time: str | None = None
    test_conditions: tuple[()] = ()
    test_procedure: str | None = None
    comments: str | None = None
    result: TestResult
    error: str | None = None
    symptoms_found: tuple[Symptom, ...] = ()
    defects_found: tuple[()] = ()
    measurements: tuple[()] = ()


class TestedUnit(CFXStructure, frozen=True, kw_only=True):
    """A unit and its tests."""

    __test__ = False  # not one of pytest's

    unit_identifier: str
    unit_position_number: int | None
    overall_result: TestResult
    tests: tuple[Test, ...]


class Fault(CFXStructure, frozen=True, kw_only=True):
    """What is wrong at the station. The same `fault_occurrence_id` says that it is over."""

    cause: FaultCause
    severity: FaultSeverity
    fault_code: str
    fault_occurrence_id: UUID
    lane: int | None = None
    stage: None = None
    side_location: SideLocation = SideLocation.UNKNOWN
    access_type: AccessType = AccessType.UNKNOWN
    description: str | None = None
    description_translations: dict[str, str] = {}
    occurred_at: str
    due_date_time: str | None = None


class RequestResult(CFXStructure, frozen=True, kw_only=True):
    """Whether a request was carried out, and what went wrong."""

    result: StatusResult
    result_code: int = 0
    message: str | None = None


class ValidationResult(CFXStructure, frozen=True, kw_only=True):
    """What the factory says of one unit, or of the whole panel."""

    unique_identifier: str | None = None
    position_number: int = 0
    result: ValidationStatus
    failure_code: int = 0
    message: str | None = None
