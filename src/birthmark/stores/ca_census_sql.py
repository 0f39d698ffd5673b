# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - what each operation guarantees stands in ca.ports.LedgerReader, which these implement
"""What the ledger holds in numbers, and whether it can be written. For metrics and health, not for the hot path."""

from datetime import datetime
from typing import Final

from birthmark.core.census import Census
from birthmark.core.issuance import Ending
from birthmark.core.ledger_rows import us
from birthmark.stores.ca_database import Database

_DECIDED: Final = ", ".join(f"'{ending.value}'" for ending in Ending if ending.decided)
_SUCCEEDED: Final = f"'{Ending.SUPERSEDED.value}', '{Ending.ROTATED.value}'"
_ENDED: Final = f"(l.ending IN ({_DECIDED}) OR l.dies_us <= ?)"
_DEAD: Final = (
    f"CASE WHEN l.ending IN ({_SUCCEEDED}) THEN 'superseded'"
    f" WHEN l.ending = '{Ending.HELD.value}' THEN 'held' ELSE 'revoked' END"
)
_STATES: Final = (
    f"SELECT CASE WHEN {_ENDED} THEN {_DEAD}"  # noqa: S608 constant text
    " WHEN l.expires_us <= ? THEN 'expired' WHEN l.confirmed_us IS NOT NULL AND c.serial IS NOT NULL THEN 'confirmed'"
    " WHEN c.serial IS NOT NULL THEN 'issued' ELSE 'intended' END AS state, count(*)"
    " FROM life l LEFT JOIN certificate c ON c.serial = l.serial GROUP BY state"
)
_OPEN_NONCES: Final = (
    "SELECT count(*) FROM nonce n LEFT JOIN nonce_use u ON u.digest = n.digest"
    " WHERE u.serial IS NULL AND n.expires_us > ?"
)


class CensusReads:
    """A part of `ca_sql.SQLLedger`."""

    _db: Database

    def census(self, at: datetime) -> Census:
        now = us(at)
        states, nonces = self._db.read_all(((_STATES, (now, now)), (_OPEN_NONCES, (now,))))
        return Census(dict(states), int(nonces[0][0]))

    def probe(self, at: datetime) -> None:
        upsert = "INSERT INTO probe (id, at_us) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at_us = excluded.at_us"
        self._db.write(upsert, us(at))
