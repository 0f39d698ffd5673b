# SPDX-License-Identifier: Apache-2.0
"""What every worker knows of the ledger without asking it: how fresh it is, and what happens when it is not."""

import threading
from datetime import UTC, datetime

import pytest

from birthmark.ca.notices import AGE_MAX_S, NoticeBoard
from birthmark.core.clients import ClientDenial, ClientKind, DeniedClient
from birthmark.core.errors import StoreError
from support.ca_parts import CAParts

RIG = DeniedClient(ClientKind.RIG, "rig-a")
PATIENCE_S = 10


def deny(parts: CAParts) -> None:
    with parts.store.writing() as ledger:
        ledger.deny_client(ClientDenial(client=RIG, reason="stolen", since=datetime(2026, 11, 23, tzinfo=UTC)))


def test_what_was_not_read_in_time_counts_for_nothing(parts: CAParts) -> None:
    now_s = [0.0]
    board = NoticeBoard(parts.store, lambda: now_s[0])
    now_s[0] = AGE_MAX_S
    assert board.current() == board.latest()
    now_s[0] += 0.1
    with pytest.raises(StoreError) as refused:
        board.current()
    assert refused.value.finding == "store.unread"
    board.read()
    assert board.current().denied == frozenset()


def test_a_reading_that_fails_leaves_what_was_known(parts: CAParts) -> None:
    deny(parts)
    board = NoticeBoard(parts.store)
    parts.store.close()
    with pytest.raises(StoreError):
        board.read()
    assert board.latest().denied == {RIG}


def test_a_worker_learns_by_itself_what_another_one_has_decided(parts: CAParts) -> None:
    board, read = NoticeBoard(parts.store), threading.Event()
    seen = board._read

    def reading() -> object:
        found = seen()
        if found[0].denied:
            read.set()
        return found

    board._read = reading  # type: ignore[assignment,method-assign] # to be told when it was read
    with board.followed():
        deny(parts)
        assert read.wait(PATIENCE_S)
    assert board.current().denied == {RIG}
