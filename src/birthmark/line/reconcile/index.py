# SPDX-License-Identifier: Apache-2.0
"""The books, arranged so that rows find each other."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

from birthmark.core.birth import BirthRecord, read_birth
from birthmark.core.errors import DecodeError
from birthmark.core.line_events import BIRTH_KIND
from birthmark.line.reconcile.books import Books, Certificate, Told

PASSED = frozenset({"PASS", "RESUMED", "PASS-ALREADY"})


@dataclass(frozen=True, slots=True)
class Index:
    """The books by certificate, by unit, by key and by number."""

    books: Books
    certificates: dict[str, Certificate]
    """By the SHA-256 of the certificate."""
    by_unit: dict[str, list[Certificate]]
    born: list[Told]
    """Every birth that a rig has on its disk."""
    births: dict[str, set[str]]
    """The birth records that rigs have, by the certificate's SHA-256: two rigs may have recorded one certificate."""
    passed: list[Told]
    """Every verdict of a rig after which the board may go on."""
    records: dict[str, BirthRecord | None] = field(default_factory=dict)

    @classmethod
    def of(cls, books: Books) -> Self:
        """Return the books arranged."""
        by_unit = defaultdict(list)
        for row in books.certificates:
            by_unit[row.unit_serial].append(row)
        told = [event for rig in books.rigs for event in rig.events]
        births = defaultdict(set)
        for event in told:
            if event.event == BIRTH_KIND:
                births[event.idempotency_key].add(event.jws)
        return cls(
            books=books,
            certificates={row.certificate_sha256: row for row in books.certificates if row.certificate_sha256},
            by_unit=by_unit,
            born=[event for event in told if event.event == BIRTH_KIND],
            births=births,
            passed=[event for event in told if event.verdict in PASSED],
        )

    def record(self, jws: str) -> BirthRecord | None:
        """Return what a birth record says, or None when it cannot be read. Its signature is the CA's to verify."""
        if jws not in self.records:
            try:
                self.records[jws] = read_birth(jws)
            except DecodeError:
                self.records[jws] = None
        return self.records[jws]
