# SPDX-License-Identifier: Apache-2.0
"""How long a series of tests is: short in `make test`, long in `make campaign`. What is asserted is the same."""

import os

VARIABLE = "BIRTHMARK_CAMPAIGN"
"""Set by `make campaign`."""


def rounds(*, short: int, campaign: int) -> int:
    """Return how many rounds a series has in this run."""
    return campaign if os.environ.get(VARIABLE) else short
