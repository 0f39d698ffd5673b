# SPDX-License-Identifier: Apache-2.0
"""Every event that a line can tell, for tests of whoever reads them."""

from typing import Any

from hypothesis import strategies as st

from birthmark.core.line_events import KINDS, LineEvent, Outcome, Place, RigState, StateChange

_OF_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=40),
    int: st.integers(0, 2**53),
    bool: st.booleans(),
    float: st.floats(0, 1e9),
    tuple[Place, ...]: st.lists(
        st.builds(Place, position=st.integers(1, 64), unit=st.text(max_size=32), bad=st.booleans()), max_size=4
    ).map(tuple),
    tuple[Outcome, ...]: st.lists(
        st.builds(Outcome, position=st.integers(1, 64), unit=st.text(max_size=32), verdict=st.text(max_size=12)),
        max_size=4,
    ).map(tuple),
    StateChange | None: st.none()
    | st.builds(StateChange, was=st.sampled_from(RigState), was_s=st.floats(0, 1e9), now=st.sampled_from(RigState)),
}


def _members(kind: type[LineEvent]) -> dict[str, Any]:
    return {
        name: hint for each in reversed(kind.__mro__) for name, hint in getattr(each, "__annotations__", {}).items()
    }


def events() -> st.SearchStrategy[LineEvent]:
    """Return a strategy of all kinds."""

    def of(kind: type[LineEvent]) -> st.SearchStrategy[LineEvent]:
        wanted = {name: _OF_TYPE[hint] for name, hint in _members(kind).items() if name in kind.__struct_fields__}
        return st.builds(kind, **wanted)

    return st.one_of([of(kind) for kind in KINDS])
