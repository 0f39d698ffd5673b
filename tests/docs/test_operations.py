# SPDX-License-Identifier: Apache-2.0
"""docs/reference/operations.md says what the code says: metrics, members of the log, checks, findings."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from birthmark.ca import upkeep
from birthmark.ca.watch import organs as found_by
from birthmark.ca.watch.journal import Line
from birthmark.ca.watch.metrics import LedgerCollector, Meter, page_of
from birthmark.ca.watch.observation import Decision
from birthmark.ca.watch.organs import IssuerOrgans, Organs, checks
from birthmark.core.census import Census
from birthmark.pki import probe
from support.ca_parts import CAParts
from support.documents import ROOT, section

PAGE = (ROOT / "docs/reference/operations.md").read_text()


def first_column(heading: str) -> set[str]:
    cells = re.findall(r"^\| (`[^|]*`) +\|", section(PAGE, heading), re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_metric_is_described_and_no_other() -> None:
    parts, registry = CAParts(), CollectorRegistry()
    Meter(registry)
    told = page_of(registry, LedgerCollector(parts.store, parts.clock), None)().decode()
    served = set(re.findall(r"^# TYPE (\S+) ", told, re.MULTILINE))
    assert {name for name in served if not name.endswith("_created")} == first_column("## Metrics")


def test_every_state_and_fate_is_described() -> None:
    text = section(PAGE, "## Metrics")
    states = set(re.findall(r'"(\w+)"', str(Census.__doc__)))
    assert len(states) == 7
    assert [state for state in states if f"`{state}`" not in text] == []


def test_every_member_of_a_line_is_described() -> None:
    described = first_column("## The log")
    assert described == set(Decision.__struct_fields__)
    text = section(PAGE, "## The log")
    assert [name for name in Line.__struct_fields__ if f"`{name}`" not in text] == []


def test_every_check_is_described_with_its_limits() -> None:
    parts = CAParts()
    organs = Organs(
        store=parts.store,
        policy=parts.policy,
        issuers={"": IssuerOrgans(parts.forge.issuing, parts.crl, parts.forge.issuing.key)},
        log_key=parts.forge.issuing.key,
        result_key=parts.forge.issuing.key,
        folder=Path(),
    )
    assert first_column("## Health") == {check.name for check in checks(organs)}
    text = section(PAGE, "## Health")
    limits = (
        f"{found_by.DISK_LEFT_BYTES >> 20} MiB",
        f"{found_by.DISK_LOW_BYTES >> 30} GiB",
        "60 s",
        "90 days",
    )
    assert [limit for limit in limits if limit not in text] == []
    assert (found_by.LOG_LAG.seconds, found_by.CLOCK_AHEAD.seconds, found_by.EXPIRY_NEAR.days) == (
        60,
        60,
        90,
    )
    assert probe.PROBE_PREFIX.decode().strip("\0") in text


@pytest.mark.parametrize("package", [upkeep])
def test_every_finding_of_a_restored_ledger_is_described(package: object) -> None:
    folder = Path(str(getattr(package, "__file__", ""))).parent
    found = {each for path in folder.glob("*.py") for each in re.findall(r'"(ca\.restore\.[a-z]+)"', path.read_text())}
    assert len(found) == 5
    assert found == {name for name in first_column("## Copies of the ledger") if name.startswith("ca.")}
