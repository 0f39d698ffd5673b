# SPDX-License-Identifier: Apache-2.0
"""What `csrattrs` answers is remembered of orders and certificates that there are, and asked again after a while."""

from dataclasses import replace

import pytest

from birthmark.ca.demands import Terms
from birthmark.ca.errors import NotNow
from birthmark.ca.issuing.attributes import KNOWN_MAX, MEMORY, AttributeDesk
from birthmark.est import wishes
from birthmark.pki.algorithms import KeyAlgorithm
from support.ca_parts import ORDER, CAParts, order

SECONDS = MEMORY.total_seconds()


def key_in(items: tuple[wishes.Item, ...] | None) -> KeyAlgorithm:
    assert items is not None
    wanted = wishes.read(items).key
    assert wanted is not None
    return wishes.algorithm_of(wanted)


def test_what_was_read_is_known_for_a_while_without_the_ledger(parts: CAParts) -> None:
    desk = parts.attributes
    assert desk.known(None, ORDER) is None
    wanted = desk.wanted(None, ORDER)
    assert desk.known(None, ORDER) == wanted
    parts.clock.forward(seconds=SECONDS)
    assert desk.known(None, ORDER) is None
    assert desk.remembered(None, ORDER) == wanted


def test_nobody_in_particular_never_needs_the_ledger(parts: CAParts) -> None:
    assert key_in(parts.attributes.known(None, None)) is KeyAlgorithm.P256


def test_a_device_is_known_by_its_certificate_under_no_label_only(parts: CAParts) -> None:
    client = parts.device(parts.confirmed(parts.board()))
    assert parts.attributes.known(client, None) is None
    parts.attributes.wanted(client, None)
    assert parts.attributes.known(client, None)
    assert parts.attributes.known(client, ORDER) is None
    parts.attributes.wanted(None, ORDER)
    assert parts.attributes.known(client, ORDER) == parts.attributes.known(None, ORDER)


def test_another_profile_of_an_order_is_noticed(parts: CAParts) -> None:
    parts.attributes.wanted(None, ORDER)
    parts.put_order(order(profile="device-p384"))
    parts.clock.forward(seconds=SECONDS)
    assert parts.attributes.known(None, ORDER) is None
    assert key_in(parts.attributes.wanted(None, ORDER)) is KeyAlgorithm.P384


def test_what_is_wanted_is_that_of_the_day_also_when_it_was_remembered(parts: CAParts) -> None:
    known = parts.policy.terms["device-p256"]
    p256, p384 = known.algorithms[0], parts.policy.terms["device-p384"].algorithms[0]
    terms = Terms(known.name, (replace(p384, last_issue=parts.clock().date()), p256), 1825)
    desk = AttributeDesk(parts.store, replace(parts.policy, terms={known.name: terms}), parts.clock)
    assert key_in(desk.wanted(None, ORDER)) is KeyAlgorithm.P384
    parts.clock.forward(days=1)
    assert key_in(desk.remembered(None, ORDER)) is KeyAlgorithm.P256


def test_a_ledger_that_does_not_answer_is_said_and_what_was_known_stays(parts: CAParts) -> None:
    desk = parts.attributes
    wanted = desk.wanted(None, ORDER)
    parts.clock.forward(seconds=SECONDS)
    parts.store.close()
    with pytest.raises(NotNow) as told:
        desk.wanted(None, ORDER)
    assert (told.value.finding, told.value.retry_after_s) == ("ca.store", 2)
    assert desk.remembered(None, ORDER) == wanted


def test_memory_has_an_end(parts: CAParts) -> None:
    for number in range(3):
        parts.put_order(order(f"order-{number + 2}"))
        parts.attributes._known |= {("filler", n): None for n in range(KNOWN_MAX)}  # type: ignore[dict-item] # fills it
        parts.attributes.wanted(None, f"order-{number + 2}")
        assert len(parts.attributes._known) <= 1
