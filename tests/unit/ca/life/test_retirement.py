# SPDX-License-Identifier: Apache-2.0
"""An old root goes only when nearly the whole living fleet has shown that it holds the new one (acceptance 15)."""

from datetime import timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from birthmark.ca.errors import Refused
from birthmark.ca.life.retirement import (
    NAMED_MAX,
    THRESHOLD_MIN_PERMILLE,
    DeviceAnchors,
    RetirementTerms,
    coverage,
    demand_retirement,
)
from birthmark.core.errors import ConfigError
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import make_root, make_sub_ca
from birthmark.pki.keys.software import generate
from support.hierarchy import AT

OLD, NEW = "a" * 64, "b" * 64
OLD_ROOT = make_root("Acme Controls", "Root 2016", generate(KeyAlgorithm.P256), AT)
NEW_ROOT = make_root("Acme Controls", "Root 2026", generate(KeyAlgorithm.P256), AT)
ISSUING = make_sub_ca(NEW_ROOT, "Issuing 2", generate(KeyAlgorithm.P256), AT).certificate
OLD_ISSUING = make_sub_ca(OLD_ROOT, "Issuing 1", generate(KeyAlgorithm.P256), AT).certificate


def device(number: int, root: str = OLD, anchors: tuple[str, ...] = (OLD,), *, met: bool = True) -> DeviceAnchors:
    return DeviceAnchors(f"BM-{number:06d}", root, frozenset(anchors), AT if met else None)


def fleet(with_new: int, without: int) -> list[DeviceAnchors]:
    names_it = [device(number, anchors=(OLD, NEW)) for number in range(with_new)]
    return names_it + [device(with_new + number) for number in range(without)]


def refusal(
    *,
    old: x509.Certificate = OLD_ROOT.certificate,
    issuing: x509.Certificate = ISSUING,
    years: int = 0,
    with_new: int = 100,
) -> str:
    reached = coverage(fleet(with_new, 100 - with_new), OLD, NEW)
    at = AT + timedelta(days=365 * years)
    with pytest.raises(Refused) as refused:
        demand_retirement(old, NEW_ROOT.certificate, issuing, reached, RetirementTerms(950), at)
    assert refused.value.status == 409
    return refused.value.finding


@pytest.mark.parametrize(
    ("one", "holds"),
    [
        pytest.param(device(1), False, id="certificate and anchors of the old root"),
        pytest.param(device(1, anchors=(OLD, NEW)), True, id="it named the new anchor"),
        pytest.param(device(1, root=NEW, anchors=()), True, id="it uses a certificate under the new root"),
        pytest.param(device(1, root=NEW, met=False), False, id="it has never used that certificate"),
        pytest.param(device(1, anchors=(OLD, NEW), met=False), False, id="silent"),
    ],
)
def test_a_device_holds_an_anchor_when_it_has_shown_so(one: DeviceAnchors, *, holds: bool) -> None:
    assert one.holds(NEW) is holds
    assert coverage([one], OLD, NEW).holding == int(holds)


def test_coverage_counts_who_is_left() -> None:
    found = coverage([device(1), device(2, root=NEW), device(3, anchors=(OLD, NEW)), device(4, met=False)], OLD, NEW)
    assert (found.living, found.holding, found.under_old, found.silent) == (4, 2, 3, 1)
    assert found.without == ("BM-000001", "BM-000004")
    assert found.text == "2 of 4 living devices hold it (50.00 %)"


def test_the_share_is_rounded_down() -> None:
    assert coverage(fleet(29_999, 1), OLD, NEW).text.endswith("(99.99 %)")
    assert len(coverage(fleet(0, 50), OLD, NEW).without) == NAMED_MAX


def test_retirement_passes_at_the_threshold_and_is_refused_below_it() -> None:
    for with_new in (95, 100):
        reached = coverage(fleet(with_new, 100 - with_new), OLD, NEW)
        demand_retirement(OLD_ROOT.certificate, NEW_ROOT.certificate, ISSUING, reached, RetirementTerms(950), AT)
    assert refusal(with_new=94) == "ca.root.coverage"


def test_an_empty_fleet_holds_nobody_up() -> None:
    reached = coverage([], OLD, NEW)
    demand_retirement(OLD_ROOT.certificate, NEW_ROOT.certificate, ISSUING, reached, RetirementTerms(1000), AT)


def test_a_root_that_is_needed_is_not_retired_whatever_the_coverage() -> None:
    assert refusal(old=NEW_ROOT.certificate) == "ca.root.same"
    assert refusal(issuing=OLD_ISSUING) == "ca.root.in-use"
    assert refusal(years=30) == "ca.root.validity"


@pytest.mark.parametrize("permille", [0, THRESHOLD_MIN_PERMILLE - 1, 1001])
def test_a_threshold_that_would_strand_devices_is_no_threshold(permille: int) -> None:
    with pytest.raises(ConfigError):
        RetirementTerms(permille)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(900, 1000))
def test_the_decision_is_exact_and_one_more_device_that_holds_it_never_hurts(
    with_new: int, without: int, permille: int
) -> None:
    reached = coverage(fleet(with_new, without), OLD, NEW)
    assert reached.reaches(permille) is (with_new * 1000 >= permille * (with_new + without))
    if reached.reaches(permille):
        assert coverage(fleet(with_new + 1, without), OLD, NEW).reaches(permille)
