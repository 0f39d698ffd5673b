# SPDX-License-Identifier: Apache-2.0
"""
OpenHTF: a plug that asks the rig's station, and phases that personalise one board or a panel (birthmark[openhtf]).

The phases only ask and measure. OpenHTF may stop a phase at any moment, or lose a record: the boards are not touched by
that, for they are the station's. A board that failed is a FAIL of its measurement; where nothing was learnt about the
boards the phase raises, which is OpenHTF's ERROR.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import openhtf
from openhtf.plugs import BasePlug
from openhtf.util.configuration import CONF
from openhtf.util.units import MILLISECOND, SECOND

from birthmark.frameworks.station import StationClient, demand_a_verdict
from birthmark.line.journal import Result
from birthmark.line.results import PASSED, PanelResult, members

UNITS: Final = "birthmark_units"
"""Where `personalise_panel` looks in `test.state`: the labels in the order of the places, None for an empty one."""
ATTACHMENT: Final = "birthmark.json"

CONF.declare("birthmark_station", description="Address of the rig's station, as `birthmark line serve` prints it.")
CONF.declare("birthmark_operator", description="Badge of who works here.", default_value="")
CONF.declare("birthmark_place", description="Where a single board lies in the fixture, from 1.", default_value=1)


class StationPlug(BasePlug):  # type: ignore[misc] # OpenHTF has no types
    """The station of the rig. One for each test."""

    @CONF.inject_positional_args  # type: ignore[untyped-decorator] # OpenHTF has no types
    def __init__(self, birthmark_station: str, birthmark_operator: str, birthmark_place: int) -> None:
        self._client = StationClient(birthmark_station)
        self._operator = birthmark_operator
        self._place = birthmark_place

    def run(self, units: Sequence[str | None]) -> PanelResult:
        """Run a panel and return how it ended. Raises StationRefused, StationAway."""
        return self._client.run(units, self._operator)

    def run_board(self, unit: str) -> PanelResult:
        """Run one board, which lies in `birthmark_place`."""
        return self.run([*[None] * (self._place - 1), unit])


def _all_passed(values: Sequence[tuple[int, str]]) -> bool:
    return all(verdict in {*PASSED, Result.SKIP} for _, verdict in values)


_measured = openhtf.measures(
    openhtf.Measurement("birthmark_verdict").with_dimensions("position").with_validator(_all_passed),
    openhtf.Measurement("birthmark_finding").with_dimensions("position"),
    openhtf.Measurement("birthmark_certificate_sha256").with_dimensions("position"),
    openhtf.Measurement("birthmark_board_s").with_dimensions("position").with_units(SECOND),
    openhtf.Measurement("birthmark_step_ms").with_dimensions("position", "step").with_units(MILLISECOND),
    openhtf.Measurement("birthmark_panel_s").with_units(SECOND),
)
_station = openhtf.plug(birthmark=StationPlug)


@_station  # type: ignore[untyped-decorator] # as above
@_measured  # type: ignore[untyped-decorator] # as above
def personalise_board(test: Any, birthmark: StationPlug) -> None:
    """Give the device under test its identity: its id is the unit's label."""
    _record(test, birthmark.run_board(test.dut_id))


@_station  # type: ignore[untyped-decorator] # as above
@_measured  # type: ignore[untyped-decorator] # as above
def personalise_panel(test: Any, birthmark: StationPlug) -> None:
    """Give the boards of a panel their identities: an earlier phase has put their labels into `test.state[UNITS]`."""
    _record(test, birthmark.run(test.state[UNITS]))


def _record(test: Any, panel: PanelResult) -> None:
    """Put what is known of a panel into the record of the test, then raise RigTrouble where that is no verdict."""
    test.attach(ATTACHMENT, msgspec.json.encode(members(panel)), "application/json")
    measured = test.measurements
    measured.birthmark_panel_s = panel.panel_s
    for place in panel.places:
        number = place.position
        measured.birthmark_verdict[number] = place.verdict
        if place.skipped:
            continue
        measured.birthmark_finding[number] = place.finding
        measured.birthmark_certificate_sha256[number] = place.certificate_sha256
        measured.birthmark_board_s[number] = place.board_s
        for step, ms in place.step_ms.items():
            measured.birthmark_step_ms[number, step] = ms
    demand_a_verdict(panel, *panel.places)
