# SPDX-License-Identifier: Apache-2.0
"""Opens what is reconciled: rigs' databases by their rig.toml, the store that they share, MES, an export of the CA."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from birthmark.core.errors import ConfigError
from birthmark.core.secret_files import read_secret
from birthmark.line.config import RigConfig, load_rig
from birthmark.line.mes.wiring import routes
from birthmark.line.ports import UnitStore
from birthmark.line.reconcile.books import Books, RigBook, Told, units_named
from birthmark.line.reconcile.checks import Relation, reconcile
from birthmark.line.reconcile.reading import read_certificates, read_told
from birthmark.line.wiring import opened_units
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.mes_jsonl import kept_in_file

_PAGE = 1_000


def reconcile_line(rig_tomls: Sequence[Path], certificates: Path, received: Mapping[str, Path]) -> tuple[Relation, ...]:
    """
    Return every relation between the books of these rigs, their CA and their MES.

    `certificates` is an export of the ledger; `received` names further MES by files of events, one JSON object a line.

    Raises:
        ConfigError: a file is not there, or the rigs do not share one store of units.
        DecodeError: a row that cannot be read.
        UnitsAway, JournalUnwritable, StoreError: a store does not answer.

    """
    rigs = [load_rig(path) for path in dict.fromkeys(path.resolve() for path in rig_tomls)]
    _demand_one_store(rigs)
    if not certificates.exists():
        raise ConfigError(f"{certificates} is not there", hint="birthmark ca ledger export > FILE")
    ledger = read_certificates(kept_in_file(certificates), str(certificates))
    books = tuple(_rig_book(rig) for rig in rigs)
    mes = {**_mes_of(rigs), **{name: _file(path) for name, path in received.items()}}
    with closing(opened_units(rigs[0])) as store:
        serials = units_named(ledger, books) | _worked_on(store)
        units = store.units(sorted(serials))
    return reconcile(Books(ledger, books, units, mes))


def _demand_one_store(rigs: Sequence[RigConfig]) -> None:
    stores = {rig.units or rig.units_dsn_file or rig.units_database or rig.database for rig in rigs}
    if len(stores) > 1:
        raise ConfigError("these rigs do not share one store of units", hint="reconcile the rigs of one line")


def _rig_book(rig: RigConfig) -> RigBook:
    if not rig.database.exists():
        raise ConfigError(f"{rig.database} is not there", hint=f"has {rig.rig} ever run?")
    with LineSQLite(rig.database, routes(rig)) as store:
        told = read_told((parcel.body for parcel in store.told()), str(rig.database))
        return RigBook(rig.rig, told, store.backlog())


def _mes_of(rigs: Sequence[RigConfig]) -> dict[str, tuple[Told, ...]]:
    """Return what the MES have received that the rigs' files name and that can be read from here."""
    files = sorted({rig.mes_file for rig in rigs if rig.mes_file is not None})
    databases = sorted({rig.mes_postgres_dsn_file for rig in rigs if rig.mes_postgres_dsn_file is not None})
    found = {str(path): _file(path) for path in files}
    return found | {str(path): _database(path) for path in databases}


def _file(path: Path) -> tuple[Told, ...]:
    return read_told(kept_in_file(path), str(path))


def _database(dsn_file: Path) -> tuple[Told, ...]:
    try:
        from birthmark.stores.mes_postgres import kept_in_database  # noqa: PLC0415 psycopg is in the extra "line" only
    except ImportError as error:
        raise ConfigError(f"mes_postgres_dsn_file: {error}", hint="install birthmark[line]") from error
    return read_told(kept_in_database(read_secret(dsn_file).decode().strip()), str(dsn_file))


def _worked_on(store: UnitStore) -> frozenset[str]:
    return frozenset(_history(store))


def _history(store: UnitStore) -> Iterator[str]:
    after = 0
    while page := store.history(after, _PAGE):
        yield from (change.work.unit for change in page)
        after = page[-1].number
