# SPDX-License-Identifier: Apache-2.0
"""From the reviewed file to its plan, and to the run of exactly that plan."""

from pathlib import Path

from birthmark.ca.ceremony.errors import CeremonyRefused
from birthmark.ca.ceremony.file import read_ceremony
from birthmark.ca.ceremony.plan import Plan, digest, make_plan
from birthmark.ca.ceremony.present import read_present
from birthmark.ca.ceremony.run import Outcome, Tell, hold
from birthmark.core.clock import Clock


def read_plan(path: Path) -> Plan:
    """
    Return the plan of a ceremony's file.

    Raises:
        ConfigError: the file, or a certificate that it names, cannot be used.
        CeremonyRefused: `ceremony.plan.*`, it refers to what is not there.

    """
    file = read_ceremony(path)
    return make_plan(file, read_present(file, path.parent))


def run_reviewed(path: Path, plan_sha256: str, clock: Clock, software: dict[str, str], tell: Tell) -> Outcome:
    """
    Hold the ceremony of the file, if its plan still is the one that was reviewed. Raises as `run.hold`.

    Raises:
        CeremonyRefused: `ceremony.not-reviewed`, the file or a certificate that it names was changed since.

    """
    plan = read_plan(path)
    if digest(plan) != plan_sha256:
        raise CeremonyRefused(
            f"the plan of {path} is {digest(plan)}, not the one that was reviewed",
            hint="review it again: birthmark ca ceremony plan",
            finding="ceremony.not-reviewed",
        )
    return hold(plan, path.parent, clock, software, tell)
