# SPDX-License-Identifier: Apache-2.0
"""What was in force from a moment on: an appraisal policy, or a configuration of the authority."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class InForce:
    """Which appraisal policy, or which configuration, was in force from a moment on, until the next one."""

    digest: str
    """SHA-256 of its canonical text."""
    files: Mapping[str, str]
    """SHA-256 of each text that it is made of, by name; the first is its own."""
    entry: int
    """Number of the log entry that says so."""
    since: datetime
