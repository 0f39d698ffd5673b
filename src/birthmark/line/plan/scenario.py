# SPDX-License-Identifier: Apache-2.0
"""
The scenario: the line that is planned, as a strict TOML file. docs/reference/line-plan.md lists the keys.

What is the customer's own (handling, failures, costs) is nothing by default. What is the rig's own (software, CA)
was measured; the page says on what.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from birthmark.core import config
from birthmark.core.config import Config
from birthmark.core.errors import ConfigError
from birthmark.line.config import POSITIONS_MAX
from birthmark.silicon.port import Algorithm
from birthmark.silicon.timing import LATENCIES

RIGS_MAX: Final = 16
PANELS_MAX: Final = 20_000
"""Most panels that one simulated run works on."""
WORK_MAX: Final = 2_000_000
"""Most positions that all replications of one run may come to: minutes of computing, not hours."""
_SECONDS_MAX: Final = 86_400.0
_HOURS_MAX: Final = 1e6
_MONEY_MAX: Final = 1e9

Count = Annotated[int, Meta(ge=1, le=10_000)]
Seconds = Annotated[float, Meta(ge=0, le=_SECONDS_MAX)]
Milliseconds = Annotated[float, Meta(ge=0, le=_SECONDS_MAX * 1e3)]
Hours = Annotated[float, Meta(gt=0, le=_HOURS_MAX)]
Share = Annotated[float, Meta(ge=0, le=1)]
Spread = Annotated[float, Meta(ge=0, le=2)]
Money = Annotated[float, Meta(ge=0, le=_MONEY_MAX)]


class Sharing(StrEnum):
    """How the positions of one rig get at their chips."""

    NONE = "none"
    """A bus for each position."""
    TRANSFER = "transfer"
    """One bus; others may use it while a chip is busy."""
    COMMAND = "command"
    """One bus; it is held from a command to its answer, as a plain multiplexer does."""


class Nonces(StrEnum):
    """When a board's nonce is fetched."""

    AHEAD = "ahead"
    """As soon as the panel is taken, while it is loaded."""
    OVERLAPPED = "overlapped"
    """While the chip makes its key."""
    LATE = "late"
    """When the key is there."""


class LineScenario(Config, frozen=True):
    """Rigs, panels and their rhythm. `takt_s` 0: a panel is always waiting."""

    rigs: Annotated[int, Meta(ge=1, le=RIGS_MAX)] = 1
    positions: Annotated[int, Meta(ge=1, le=POSITIONS_MAX)] = 8
    bad_per_panel: Annotated[int, Meta(ge=0, lt=POSITIONS_MAX)] = 0
    takt_s: Seconds = 2.0
    buffer_panels: Count = 1
    operators: Count = 1
    load_s: Seconds = 0.0
    unload_s: Seconds = 0.0


class ChipScenario(Config, frozen=True):
    """The secure element. `spread` is the standard deviation of an operation's time, as a share of its mean."""

    model: str = "optiga-trust-m"
    algorithm: Algorithm = Algorithm.P256
    certificate_bytes: Annotated[int, Meta(ge=1, le=16_384)] | None = None
    spread: Spread = 0.0
    bus: Sharing = Sharing.NONE
    bus_hz: Annotated[int, Meta(ge=1_000, le=100_000_000)] | None = None


class Software(Config, frozen=True):
    """
    The rig's own computing for one board, by step, in milliseconds; `between` is journal and checks of all steps.

    `enrol` is without the CA's answer.
    """

    observe: Milliseconds = 0.02
    generate: Milliseconds = 0.01
    attest: Milliseconds = 0.01
    enrol: Milliseconds = 0.0
    import_: Milliseconds = msgspec.field(default=0.01, name="import")
    prove: Milliseconds = 0.16
    record: Milliseconds = 4.0
    between: Milliseconds = 21.0


class RigScenario(Config, frozen=True):
    """One rig: `nests` are places for panels of which one is worked on; `cores` compute at the same time."""

    nests: Annotated[int, Meta(ge=1, le=4)] = 1
    power_s: Seconds = 0.0
    cores: Annotated[int, Meta(ge=1, le=64)] = 1
    spread: Spread = 0.0
    software_ms: Software = Software()


class CAScenario(Config, frozen=True):
    """The CA: the network's round trip, and how long one of its workers has to do with a call."""

    round_trip_ms: Milliseconds = 0.0
    nonce_ms: Milliseconds = 2.5
    enrol_ms: Milliseconds = 17.0
    workers: Count = 1
    spread: Spread = 0.0
    nonces: Nonces = Nonces.OVERLAPPED


class FaultScenario(Config, frozen=True):
    """
    What goes wrong. Shares are of boards; without `mtbf_h` no rig ever fails.

    `communication` is the probability that one step's talk with the chip fails; `retries` of them a board survives.
    """

    communication: Share = 0.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 1
    board: Share = 0.0
    mtbf_h: Hours | None = None
    mttr_h: Hours = 1.0
    takeover_s: Seconds = 10.0


class CostScenario(Config, frozen=True):
    """What things cost, all in one currency."""

    currency: Annotated[str, Meta(min_length=1, max_length=8)]
    hours_per_year: Annotated[float, Meta(gt=0, le=8_784)]
    rig: Money = 0.0
    rig_life_years: Annotated[float, Meta(gt=0, le=50)] = 5.0
    rig_upkeep_per_year: Money = 0.0
    operator_per_h: Money = 0.0
    ca_per_year: Money = 0.0
    stop_per_h: Money = 0.0
    chip: Money = 0.0
    failed_board: Money = 0.0


class RunScenario(Config, frozen=True):
    """How much is simulated. The same seed gives the same figures."""

    panels: Annotated[int, Meta(ge=1, le=PANELS_MAX)] = 60
    warm_up_panels: Annotated[int, Meta(ge=0, le=PANELS_MAX)] = 6
    replications: Annotated[int, Meta(ge=2, le=1_000)] = 10
    seed: Annotated[int, Meta(ge=0, le=(1 << 62))] = 1
    years: Annotated[float, Meta(gt=0, le=1_000)] = 20.0


class Scenario(Config, frozen=True):
    """Everything that the planner is told."""

    line: LineScenario = LineScenario()
    chip: ChipScenario = ChipScenario()
    rig: RigScenario = RigScenario()
    ca: CAScenario = CAScenario()
    faults: FaultScenario = FaultScenario()
    run: RunScenario = RunScenario()
    cost: CostScenario | None = None

    @property
    def boards(self) -> int:
        """Return how many boards of a panel are worked on."""
        return self.line.positions - self.line.bad_per_panel


Section = Literal["line", "chip", "rig", "ca", "faults", "run"]
Change = tuple[Section, str, object]
"""A section's key and the value that it shall have."""


def load_scenario(path: Path) -> Scenario:
    """Return the scenario in the file. Raises ConfigError for what is unknown, out of range or contradictory."""
    return _checked(config.load(Scenario, path), str(path))


def changed(scenario: Scenario, changes: tuple[Change, ...], where: str = "the scenario") -> Scenario:
    """Return the scenario with other values. Raises ConfigError that names `where` and the key."""
    told = msgspec.to_builtins(scenario)
    for section, key, value in changes:
        told[section][key] = value
    try:
        return _checked(msgspec.convert(told, Scenario), where)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}", hint="docs/reference/line-plan.md lists the keys") from error


def _checked(scenario: Scenario, where: str) -> Scenario:
    if scenario.chip.model not in LATENCIES:
        raise ConfigError(
            f"{where}: no times are known of chip {scenario.chip.model!r}", hint=f"known: {', '.join(LATENCIES)}"
        )
    if scenario.boards < 1:
        raise ConfigError(
            f"{where}: all {scenario.line.positions} positions are bad", hint="let bad_per_panel be below positions"
        )
    run = scenario.run
    if (run.panels + run.warm_up_panels) * run.replications * scenario.boards > WORK_MAX:
        raise ConfigError(f"{where}: more than {WORK_MAX} boards", hint="simulate fewer panels or replications")
    return scenario
