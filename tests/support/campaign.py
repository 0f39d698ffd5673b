# SPDX-License-Identifier: Apache-2.0
"""How long a series of tests is: short in `make test`, long in `make campaign`. What is asserted is the same."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

VARIABLE = "BIRTHMARK_CAMPAIGN"
"""Set by `make campaign`: the folder for the figures of the long series."""
SEED_VARIABLE = "BIRTHMARK_CAMPAIGN_SEED"
"""Another course of chance than the one that is always the same."""


T = TypeVar("T", int, float)


def rounds(*, short: T, campaign: T) -> T:
    """Return how many rounds a series has in this run, or what else makes it long."""
    return campaign if os.environ.get(VARIABLE) else short


def seed(usual: int) -> int:
    """Return the seed of this run."""
    return int(os.environ.get(SEED_VARIABLE) or usual)


def keep(name: str, figures: Mapping[str, object]) -> None:
    """Keep the figures of a long series for the report (`tools/campaign.py`); those of a short one are let go."""
    folder = os.environ.get(VARIABLE)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
