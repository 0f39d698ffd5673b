# SPDX-License-Identifier: Apache-2.0
"""
What is tried again by itself within a run: data, out of the recipe.

To try again means to open the link anew and to look at the chip, and then to do what is still missing. No step is
repeated because it failed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Faults whose finding is this, or begins with it and a dot, are met `times` times, after a pause of `pause_s`."""

    finding: str
    times: int = 1
    pause_s: float = 0.0

    def covers(self, finding: str) -> bool:
        """Say whether the rule is about a finding."""
        return finding == self.finding or finding.startswith(f"{self.finding}.")


DEFAULT_RETRIES = (RetryRule("chip.communication"),)


@dataclass(slots=True)
class Tries:
    """What one board has used up of the rules. The first rule that covers a finding decides."""

    rules: Sequence[RetryRule]
    _used: Counter[str] = field(default_factory=Counter)

    def pause_s(self, finding: str) -> float | None:
        """Return the pause before the next try, which is counted; None when there is none."""
        rule = next((rule for rule in self.rules if rule.covers(finding)), None)
        if rule is None or self._used[rule.finding] >= rule.times:
            return None
        self._used[rule.finding] += 1
        return rule.pause_s
