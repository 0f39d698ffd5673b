# SPDX-License-Identifier: Apache-2.0
"""The figures of one panel: spreads over its boards and over its steps."""

from birthmark.testing.demo.report import Spread, StepSpread, percentile, spread
from birthmark.testing.lab.rig import PASSED, STEPS, Event, PanelRun


def spread_of(run: PanelRun, name: str) -> Spread:
    """Return the spread, over the boards that passed, of one figure of their verdicts."""
    return spread([event[name] for event in run.verdicts if event["verdict"] in PASSED])


def step_spreads(run: PanelRun) -> dict[str, StepSpread]:
    """Return the spread of each step that was done, in the order of the sequence."""
    done = {name: [event for event in run.of("step") if event["step"] == name] for name in STEPS}
    return {name: _step(rows) for name, rows in done.items() if rows}


def _step(rows: list[Event]) -> StepSpread:
    times = [row["ms"] for row in rows]
    total = sum(times)
    return StepSpread(
        round(percentile(times, 50), 2),
        round(percentile(times, 95), 2),
        round(sum(row["chip_ms"] for row in rows) / total, 3) if total else 0.0,
    )
