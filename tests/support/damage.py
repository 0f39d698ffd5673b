# SPDX-License-Identifier: Apache-2.0
"""Damage to good bytes, for hypothesis: near enough to the original to reach the deep ends of a decoder."""

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return `whole` with one stretch of it replaced by other bytes, which may be none."""
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 8)))
    return whole[:start] + draw(st.binary(max_size=8)) + whole[end:]
