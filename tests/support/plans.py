# SPDX-License-Identifier: Apache-2.0
"""Scenarios for tests of the planner."""

from hypothesis import strategies as st

from birthmark.line.plan.scenario import Change, Nonces, Scenario, Sharing, changed

BRIEF: tuple[Change, ...] = (("run", "panels", 12), ("run", "warm_up_panels", 4), ("run", "replications", 3))
ALONE: tuple[Change, ...] = (("line", "positions", 1), ("ca", "workers", 100), ("rig", "cores", 64))
"""Nobody waits for anybody."""


def scenario(*changes: Change) -> Scenario:
    """Return a scenario that is simulated quickly."""
    return changed(Scenario(), (*BRIEF, *changes))


def _section(**values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(values)


def scenarios() -> st.SearchStrategy[Scenario]:
    """Scenarios of all kinds in which no rig fails; small, so that hundreds are simulated."""
    sections = st.fixed_dictionaries(
        {
            "line": _section(
                rigs=st.integers(1, 3),
                positions=st.integers(2, 5),
                bad_per_panel=st.integers(0, 1),
                takt_s=st.sampled_from([0.0, 0.2, 0.5, 2.0]),
                buffer_panels=st.integers(1, 3),
                operators=st.integers(1, 2),
                load_s=st.sampled_from([0.0, 0.1, 0.4]),
                unload_s=st.sampled_from([0.0, 0.1]),
            ),
            "chip": _section(
                model=st.sampled_from(["none", "optiga-trust-m", "slb9670"]),
                spread=st.sampled_from([0.0, 0.2]),
                bus=st.sampled_from([each.value for each in Sharing]),
            ),
            "rig": _section(nests=st.integers(1, 2), cores=st.integers(1, 2), spread=st.sampled_from([0.0, 0.3])),
            "ca": _section(
                round_trip_ms=st.sampled_from([0.0, 5.0, 120.0]),
                workers=st.integers(1, 3),
                spread=st.sampled_from([0.0, 0.5]),
                nonces=st.sampled_from([each.value for each in Nonces]),
            ),
            "faults": _section(communication=st.sampled_from([0.0, 0.02]), board=st.sampled_from([0.0, 0.05])),
        }
    )
    return sections.map(
        lambda told: scenario(*((section, key, value) for section in told for key, value in told[section].items()))
    )
