# SPDX-License-Identifier: Apache-2.0
"""
What is killed while two rigs work: services beside the line, and things at the line itself.

Two saboteurs work at once, each with a deck of its own: every fault is dealt before one is dealt again. What they
strike, and where, comes from the seed; the moment comes from the machine.
"""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

import psycopg

from birthmark.silicon.simulator.rail import Rail
from support.shopfloor.boards import Board, Link, Place
from support.shopfloor.building import Factory
from support.shopfloor.shift import Shift

GAP_MAX_S = 0.4
RUNNING_S = 1.0
MID_PANEL_MAX_S = 0.7
AWAY_MAX_S = 1.5
SAG_V = 3.3

# Strikes and heals; returns whether there was anything to strike.
Strike = Callable[[], bool]


class Saboteur:
    """Strikes again and again, in a thread of its own, until the shift is over."""

    def __init__(self, name: str, strikes: Mapping[str, Strike], shift: Shift, chance: Random) -> None:
        self.struck: Counter[str] = Counter()
        self.problem: BaseException | None = None
        self._strikes = strikes
        self._shift = shift
        self._chance = chance
        self._thread = threading.Thread(target=self._work, name=name)

    def begin(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _work(self) -> None:
        deck: list[str] = []
        try:
            while not self._shift.over:
                if not deck:
                    deck = sorted(self._strikes)
                    self._chance.shuffle(deck)
                time.sleep(self._chance.uniform(0, GAP_MAX_S))
                fault = deck.pop()
                if self._strikes[fault]():
                    self.struck[fault] += 1
                else:
                    deck.insert(0, fault)
        except BaseException as problem:  # noqa: BLE001 reported in the test's own thread
            self.problem = self._shift.problem = problem


class Services:
    """CA, HSM, MES and databases: each goes away for a moment."""

    def __init__(self, factory: Factory, chance: Random) -> None:
        self._factory = factory
        self._chance = chance

    def strikes(self) -> dict[str, Strike]:
        return {
            "CA worker killed": self._ca,
            "HSM killed": self._hsm,
            "MES file away": self._mes_file,
            "MES webhook killed": self._webhook,
            "MES database closed": self._mes_database,
            "PostgreSQL killed": self._cluster,
        }

    def _away(self) -> None:
        time.sleep(self._chance.uniform(0, AWAY_MAX_S))

    def _ca(self) -> bool:
        worker = self._chance.choice(self._factory.workers)
        worker.kill()
        self._away()
        worker.start()
        return True

    def _hsm(self) -> bool:
        self._factory.hsm.kill()
        self._away()
        self._factory.hsm.start()
        return True

    def _mes_file(self) -> bool:
        folder = self._factory.mes_folder
        aside = folder.rename(folder.with_name("mes-away"))
        self._away()
        aside.rename(folder)
        return True

    def _webhook(self) -> bool:
        self._factory.webhook.stop()
        self._away()
        self._factory.webhook.start()
        return True

    def _mes_database(self) -> bool:
        name = self._factory.mes_database.rpartition("dbname=")[2]
        with psycopg.connect(self._factory.cluster.dsn, autocommit=True) as connection:
            connection.execute(f"alter database {name} allow_connections false".encode())
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            self._away()
            connection.execute(f"alter database {name} allow_connections true".encode())
        return True

    def _cluster(self) -> bool:
        """Ledger, units and one MES at once: immediate stop, and start."""
        self._factory.cluster.stop()
        self._away()
        self._factory.cluster.start()
        return True


class Floor:
    """Rigs, links and power: struck in mid-panel where a panel runs."""

    def __init__(self, shift: Shift, chance: Random) -> None:
        self._shift = shift
        self._chance = chance

    def strikes(self) -> dict[str, Strike]:
        return {
            "rig killed": lambda: self._rig(signal.SIGKILL),
            "rig ended (SIGTERM)": lambda: self._rig(signal.SIGTERM),
            "chip's link killed": self._chip,
            "board's MCU killed": self._mcu,
            "power off": self._power,
            "voltage sags": self._sag,
        }

    def _rig(self, number: signal.Signals) -> bool:
        rig = self._chance.choice(self._shift.rigs)
        if rig.running.wait(RUNNING_S):
            self._into_the_middle()
        if not rig.alive:
            return False
        rig.send(number)
        return True

    def _chip(self) -> bool:
        target = self._board({Link.DIRECT, Link.BENCH})
        if target is not None:
            self._shift.supplier.crash_chip(target[1])
        return target is not None

    def _mcu(self) -> bool:
        target = self._board({Link.SMP})
        if target is not None:
            self._shift.supplier.crash_mcu(target[1])
        return target is not None

    def _power(self) -> bool:
        target = self._board({Link.DIRECT, Link.SMP})
        if target is not None:
            Rail(target[0].rail).off()
        return target is not None

    def _sag(self) -> bool:
        target = self._board({Link.DIRECT, Link.SMP})
        if target is None:
            return False
        rail = Rail(target[0].rail)
        rail.arm_sag(SAG_V)
        time.sleep(self._chance.uniform(0, AWAY_MAX_S))
        rail.mend()
        return True

    def _board(self, links: set[Link]) -> tuple[Place, Board] | None:
        """Return a board with such a link in a panel that runs, in the panel's middle; None when none comes in time."""
        deadline = time.monotonic() + RUNNING_S
        while time.monotonic() < deadline:
            lying = [
                (rig.places[number - 1], board)
                for rig in self._shift.rigs
                if rig.running.is_set()
                for number, board in sorted(self._shift.in_work[rig.name].items())
                if board.link in links
            ]
            if lying:
                self._into_the_middle()
                return self._chance.choice(lying)
            time.sleep(0.01)
        return None

    def _into_the_middle(self) -> None:
        time.sleep(self._chance.uniform(0, MID_PANEL_MAX_S))
