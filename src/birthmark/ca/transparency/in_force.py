# SPDX-License-Identifier: Apache-2.0
"""What is in force from a moment on, as an entry of the log, with its texts kept for auditors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from birthmark.ca.ports import CAStore, Ledger, LedgerReader
from birthmark.ca.transparency.configuration import NAME, changes
from birthmark.core.audit import CONFIGURATION_ACT, POLICY_ACT, AuditRow
from birthmark.core.clock import Clock
from birthmark.core.ids import fingerprint
from birthmark.core.in_force import InForce
from birthmark.core.ledger_rows import in_force_row, said

AUTHORITY: Final = "authority"


@dataclass(frozen=True, slots=True)
class _Register:
    """A table of what was in force, and the act under which the log has it."""

    table: str
    act: str
    read: Callable[[LedgerReader], tuple[InForce, ...]]
    put: Callable[[Ledger, InForce], None]


_POLICIES: Final = _Register(
    "policy", POLICY_ACT, lambda ledger: ledger.policies(), lambda ledger, found: ledger.put_policy(found)
)
_CONFIGURATIONS: Final = _Register(
    "configuration",
    CONFIGURATION_ACT,
    lambda ledger: ledger.configurations(),
    lambda ledger, found: ledger.put_configuration(found),
)


def announce_policy(store: CAStore, canonical: bytes, texts: Mapping[str, bytes], clock: Clock) -> InForce:
    """
    Write down that this policy is in force from now on, unless it is the last one that was; return what the log has.

    `canonical` is what its digest is the digest of: kept, it says in ten years what was in force, whatever the program
    reads then. `texts` are the files that the policy is made of, by name, its own file first. Raises StoreError.
    """

    def told(_ledger: LedgerReader, before: InForce | None) -> str:
        return f"instead of {before.digest}" if before else "the first one"

    return _announce(store, _POLICIES, canonical, texts, clock, told)


def announce_configuration(store: CAStore, text: bytes, clock: Clock) -> InForce:
    """
    Write down that this configuration (`signing_configuration`) is in force from now on, unless it is the last one.

    Of several workers that begin together one writes. Return what the log has of it. Raises StoreError.
    """

    def told(ledger: LedgerReader, before: InForce | None) -> str:
        if before is None:
            return changes(None, text)
        old = ledger.kept([before.digest]).get(before.digest)
        if old is None or fingerprint(old) != before.digest:
            return f"instead of {before.digest}, whose text is not kept"
        return changes(old, text)

    return _announce(store, _CONFIGURATIONS, text, {NAME: text}, clock, told)


def _announce(
    store: CAStore,
    register: _Register,
    canonical: bytes,
    texts: Mapping[str, bytes],
    clock: Clock,
    told: Callable[[LedgerReader, InForce | None], str],
) -> InForce:
    digest = fingerprint(canonical)
    with store.reading() as ledger:
        if last := _last(register.read(ledger), digest):
            return last
    with store.writing() as ledger:
        known = register.read(ledger)
        if last := _last(known, digest):
            return last
        files = MappingProxyType({name: fingerprint(text) for name, text in texts.items()})
        found = InForce(digest, files, ledger.log_size(), clock())
        row = AuditRow(
            at=found.since,
            who=AUTHORITY,
            act=register.act,
            about=digest,
            detail=told(ledger, known[-1] if known else None),
            state=said(register.table, in_force_row(found)),
        )
        ledger.keep([canonical, *texts.values()])
        ledger.append([row])
        register.put(ledger, found)
    return found


def _last(known: tuple[InForce, ...], digest: str) -> InForce | None:
    """Return the last one when it has this digest."""
    return known[-1] if known and known[-1].digest == digest else None
