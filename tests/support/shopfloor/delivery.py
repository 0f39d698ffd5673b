# SPDX-License-Identifier: Apache-2.0
"""What comes from the maker: boards in their order, made a little ahead of the line."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Self

from support.shopfloor.boards import Board, Kind, Link, Supplier

AHEAD = 8
"""Boards of a kind of link that are made ahead."""
FIRST_BROKEN, FIRST_DEBUGGABLE = 5, 11
BAD_EVERY = 100


@dataclass(frozen=True)
class Wanted:
    """One board that is to be made."""

    unit: str
    kind: Kind
    link: Link


def wanted(count: int, chance: Random, with_mcu: int, bench: float = 0.15) -> list[Wanted]:
    """
    Return what is ordered: few bad boards, but some in the shortest series.

    Every `with_mcu`-th board has an MCU before its chip; `bench` is the part of the others that is fed apart.
    """
    return [
        Wanted(
            f"BM-{number:06d}",
            _kind(number),
            Link.SMP if number % with_mcu == 0 else Link.BENCH if chance.random() < bench else Link.DIRECT,
        )
        for number in range(1, count + 1)
    ]


def _kind(number: int) -> Kind:
    match number % BAD_EVERY:
        case n if n == FIRST_BROKEN:
            return Kind.BROKEN
        case n if n == FIRST_DEBUGGABLE:
            return Kind.DEBUGGABLE
        case _:
            return Kind.GOOD


class Delivery:
    """Makes the boards that are wanted. `next` is called by one thread at a time."""

    def __init__(self, supplier: Supplier, boards: list[Wanted]) -> None:
        self.count = len(boards)
        self._supplier = supplier
        self._threads = ThreadPoolExecutor(4, "maker")
        self._wanted: dict[bool, Iterator[Wanted]] = {
            smp: iter([each for each in boards if (each.link is Link.SMP) is smp]) for smp in (True, False)
        }
        self._made: dict[bool, deque[Future[Board]]] = {True: deque(), False: deque()}
        for smp in (True, False):
            for _ in range(AHEAD):
                self._order(smp=smp)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def next(self, link: Link) -> Board | None:
        """Return the next board for such a place, or None when there is none any more."""
        made = self._made[link is Link.SMP]
        if not made:
            return None
        board = made.popleft().result()
        self._order(smp=link is Link.SMP)
        return board

    def _order(self, *, smp: bool) -> None:
        want = next(self._wanted[smp], None)
        if want is not None:
            self._made[smp].append(self._threads.submit(self._supplier.make, want.unit, want.kind, want.link))
