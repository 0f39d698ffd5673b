# SPDX-License-Identifier: Apache-2.0
"""Attempts for tests, as a rig tells them."""

from typing import Any

from birthmark.core.attempts import Attempt


def attempt(number: int, **changes: Any) -> Attempt:
    """Return an attempt at a unit of this number that passed, in a run of its own."""
    told: dict[str, Any] = {
        "unit": f"BM-{number:06d}",
        "rig": "rig-a",
        "run": f"run-{number}",
        "position": 1,
        "operator": "ada",
        "product": "Controller",
        "order": "order-1",
        "verdict": "PASS",
        "step": "record",
        "board_s": 1.5,
    }
    return Attempt(**{**told, **changes})
