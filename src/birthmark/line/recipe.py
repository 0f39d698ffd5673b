# SPDX-License-Identifier: Apache-2.0
"""
The recipe of a product: what every rig does alike with its boards. A reviewed file; births name it by its digest.

What belongs to one rig (its credential, its fixture's addresses, its disk) is in rig.toml.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from birthmark.core import config, ids
from birthmark.core.config import Config
from birthmark.core.errors import ConfigError, DecodeError
from birthmark.core.ids import fingerprint
from birthmark.line.fixture.config import PowerEntry, read_rules
from birthmark.line.fixture.power import NO_RULES, PowerRules
from birthmark.line.retries import DEFAULT_RETRIES, RetryRule
from birthmark.line.units import FAILURES_MAX, INTERRUPTIONS_MAX
from birthmark.silicon.port import Algorithm

TRIES_MAX: Final = 10
PAUSE_MAX_S: Final = 30.0


class RetryEntry(Config, frozen=True):
    """One `[[retry]]`: what is tried again by itself, how often, after which pause."""

    finding: str
    times: int = 1
    pause_s: float = 0.0


class RecipeFile(Config, frozen=True):
    """The keys of recipe.toml. Durations are in seconds."""

    product: str
    order: str
    chip_model: str | None = None
    algorithm: Algorithm | None = None
    takt_s: float = 2.0
    failures: int = FAILURES_MAX
    interruptions: int = INTERRUPTIONS_MAX
    retry: tuple[RetryEntry, ...] | None = None
    power: PowerEntry | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as it was read. `chip_model` and `algorithm` are None where the endorsements and the CA decide alone."""

    product: str
    order: str
    chip_model: str | None
    algorithm: Algorithm | None
    takt_s: float
    failures: int
    interruptions: int
    retries: tuple[RetryRule, ...]
    sha256: str
    power: PowerRules = NO_RULES


def load_recipe(path: Path) -> Recipe:
    """Return the recipe. Raises ConfigError: what is wrong, and where."""
    text = config.read_file(path)
    file = config.parse(RecipeFile, text, str(path))
    try:
        ids.order_id(file.order)
    except DecodeError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from error
    if not 0 < file.takt_s < math.inf or file.failures < 1 or file.interruptions < 0:
        raise ConfigError(f"{path}: takt_s, failures or interruptions", hint="a time above zero; one failure at least")
    return Recipe(
        product=file.product,
        order=file.order,
        chip_model=file.chip_model,
        algorithm=file.algorithm,
        takt_s=file.takt_s,
        failures=file.failures,
        interruptions=file.interruptions,
        retries=DEFAULT_RETRIES if file.retry is None else tuple(_rule(entry, path) for entry in file.retry),
        sha256=fingerprint(text),
        power=NO_RULES if file.power is None else read_rules(file.power, path),
    )


def _rule(entry: RetryEntry, path: Path) -> RetryRule:
    if not entry.finding.startswith("chip."):
        raise ConfigError(
            f"{path}: a retry of {entry.finding!r}",
            hint="only what goes wrong on the way to the chip (chip.*) is tried again by itself",
        )
    if not 0 <= entry.times <= TRIES_MAX or not 0 <= entry.pause_s <= PAUSE_MAX_S:
        raise ConfigError(
            f"{path}: [[retry]] {entry.finding}", hint=f"up to {TRIES_MAX} times, {PAUSE_MAX_S:g} s apart"
        )
    return RetryRule(entry.finding, entry.times, entry.pause_s)
