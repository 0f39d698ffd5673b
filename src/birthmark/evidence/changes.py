# SPDX-License-Identifier: Apache-2.0
"""What is written differently in two policies, entry by entry: what a second person reads before approving it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.ids import fingerprint
from birthmark.evidence.endorsements import Endorsements
from birthmark.pki.reading import subject_text

_KEYS: Final = {
    "maker": ("name",),
    "model": ("id",),
    "certification": ("id",),
    "delivery": ("file",),
    "denied_chip": ("maker", "serial"),
    "calendar": ("name",),
    "profile": ("name",),
}
"""The tables of the file, and what an entry of each is known by."""
_LISTS: Final = ("denied_aks", "denied_ak_cas")


class Kind(Enum):
    """What happened to an entry."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One entry that is new, gone or different."""

    kind: Kind
    table: str
    name: str
    detail: str = ""


def changes(old: Endorsements, new: Endorsements) -> tuple[Change, ...]:
    """Return what the new policy says otherwise than the old one, in the order of the file's tables."""
    before, after = msgspec.to_builtins(old.file), msgspec.to_builtins(new.file)
    return (
        *_of_tables(before, after),
        *(change for name in _LISTS for change in _of_sets(name, _each(before.get(name)), _each(after.get(name)))),
        *_of_sets("anchor", _certificates(old.trust.certs), _certificates(new.trust.certs)),
        *_of_sets("intermediate", _certificates(old.trust.intermediates), _certificates(new.trust.intermediates)),
    )


def _of_tables(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for table, key in _KEYS.items():
        gone, come = _by_key(before.get(table, ()), key), _by_key(after.get(table, ()), key)
        for name in dict.fromkeys((*gone, *come)):
            if name not in come:
                yield Change(Kind.REMOVED, table, name)
            elif name not in gone:
                yield Change(Kind.ADDED, table, name)
            elif gone[name] != come[name]:
                yield Change(Kind.CHANGED, table, name, _fields(gone[name], come[name]))


def _by_key(entries: Sequence[Mapping[str, Any]], key: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    return {" ".join(str(entry[part]) for part in key): entry for entry in entries}


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
    return "; ".join(f"{name}: {_text(before.get(name))} -> {_text(after.get(name))}" for name in names)


def _text(value: object) -> str:
    return "none" if value is None else msgspec.json.encode(value).decode()


def _of_sets(table: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    yield from (Change(Kind.REMOVED, table, name, before[name]) for name in before if name not in after)
    yield from (Change(Kind.ADDED, table, name, after[name]) for name in after if name not in before)


def _each(values: Sequence[str] | None) -> dict[str, str]:
    return dict.fromkeys(values or (), "")


def _certificates(certificates: Sequence[x509.Certificate]) -> dict[str, str]:
    return {fingerprint(each.public_bytes(Encoding.DER)): subject_text(each) for each in certificates}
