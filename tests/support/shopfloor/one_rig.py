# SPDX-License-Identifier: Apache-2.0
"""One rig before a lab's CA, and panels of fresh boards: a line in which nothing goes wrong."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from birthmark.testing.lab.ceremony import offline_authority
from birthmark.testing.lab.files import Order
from birthmark.testing.lab.officers import open_orders
from birthmark.testing.lab.record import RIGS, Lab
from birthmark.testing.lab.start import lab_down, lab_up
from support.shopfloor.boards import Board, Kind, Link, Place, Supplier
from support.shopfloor.building import ORDER, QUANTITY, RECIPE
from support.shopfloor.magazine import Magazine
from support.shopfloor.rigs import Floor, Rig

POSITIONS = 8


@dataclass
class OneRig:
    """The rig, and what lies in its fixture now."""

    lab: Lab
    rig: Rig
    supplier: Supplier
    threads: ThreadPoolExecutor
    made: int = 0

    def panel(self, bad: frozenset[int]) -> tuple[Mapping[int, Board], Floor]:
        """Lay fresh boards into all places but the bad ones, run the panel, and take them away."""
        numbers = [place.number for place in self.rig.places if place.number not in bad]
        boards = dict(zip(numbers, self.threads.map(self._board, range(len(numbers))), strict=True))
        self.made += len(boards)
        try:
            return boards, self.rig.run(boards, self.supplier)
        finally:
            list(self.threads.map(self.supplier.take_away, boards.values()))

    def _board(self, number: int) -> Board:
        return self.supplier.make(f"BM-{self.made + number + 1:06d}", Kind.GOOD, Link.DIRECT)


@contextmanager
def one_rig(latency: str) -> Iterator[OneRig]:
    """Build it, with its station running, and take it down."""
    # Not below pytest's folder: the names of Unix sockets are short.
    home = Path(tempfile.mkdtemp(prefix="birthmark-r-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home)
        lab = lab_up(home / "lab", boards=0, chip="none", hsm=False)
        stack.callback(lab_down, home / "lab")
        order = lab.path / "orders" / f"{ORDER}.toml"
        order.write_text(Order(ORDER, quantity=QUANTITY).toml(datetime.now(UTC)))
        open_orders(lab.path, lab.ca_url, [order])
        for name in ("chips", "fixture"):
            (home / name).mkdir()
        magazine = stack.enter_context(Magazine(home / "chips"))
        supplier = Supplier(home / "boards", magazine, offline_authority(lab.path, "ak_ca"), latency)
        rig = stack.enter_context(Rig(RIGS[0], *_configured(lab, home), home))
        rig.start()
        threads = stack.enter_context(ThreadPoolExecutor(POSITIONS))
        yield OneRig(lab, rig, supplier, threads)
        rig.end()


def _configured(lab: Lab, home: Path) -> tuple[Path, tuple[Place, ...]]:
    places = tuple(Place(home / "fixture", RIGS[0], number, Link.DIRECT) for number in range(1, POSITIONS + 1))
    for place in places:
        place.rail.mkdir()
    (lab.path / "recipe.toml").write_text(RECIPE.format(order=ORDER))
    path = Path(lab.rig_configs[RIGS[0]])
    power = f'\n[power]\nkind = "simulated"\naddress = "{home}/fixture"\n'
    path.write_text(path.read_text() + power + "".join(place.toml for place in places))
    return path, places
