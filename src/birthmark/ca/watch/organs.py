# SPDX-License-Identifier: Apache-2.0
"""
What issuing needs, each part tried and not asked: the ledger is written, every key signs.

A key signs a probe (`pki.probe`), which is good for nothing else. Each check says what it concerns: every profile,
those of one issuing CA, those whose certificates carry a signed result; or none, where issuing goes on without it.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from cryptography import x509

from birthmark.ca.demands import Terms
from birthmark.ca.issuing.configured import issues_until
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore
from birthmark.core.audit import decode_row
from birthmark.core.errors import BirthmarkError
from birthmark.pki.algorithms import SigningKey
from birthmark.pki.authorities import Authority
from birthmark.pki.probe import probe
from birthmark.pki.profiles import DEVICE_PRIVATE

DISK_LEFT_BYTES: Final = 256 << 20
"""With less than this the CA does not count as ready: it stops before the disk is full, not after."""
DISK_LOW_BYTES: Final = 1 << 30
LOG_LAG: Final = timedelta(seconds=60)
CLOCK_AHEAD: Final = timedelta(seconds=60)
"""How far the latest entry of the ledger may lie in the future."""
EXPIRY_NEAR: Final = timedelta(days=90)
_ENTRY_BEFORE: Final = 1


class State(Enum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Found:
    """What one check found, and what to do about it."""

    name: str
    state: State
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class IssuerOrgans:
    """
    What one issuing CA needs. `crl` returns its list (DER) that is in force.

    `responder_key` is that of its OCSP responder, where it has one.
    """

    authority: Authority
    crl: Callable[[], bytes]
    responder_key: SigningKey | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Organs:
    """
    What issuing needs: `issuers` by name, the first one's is "". `folder` is on the disk that must not fill.

    `result_key` signs attestation results, where profiles need them.
    """

    store: CAStore
    policy: Policy
    issuers: Mapping[str, IssuerOrgans]
    log_key: SigningKey = field(repr=False)
    result_key: SigningKey | None = field(default=None, repr=False)
    folder: Path
    unannounced: str = ""
    """SHA-256 of the configuration of somebody who only looks: it has not been put in force by them."""


def _every(_terms: Terms) -> bool:
    return True


def _none(_terms: Terms) -> bool:
    return False


def _with_results(terms: Terms) -> bool:
    return terms.kind is DEVICE_PRIVATE


@dataclass(frozen=True, slots=True)
class Check:
    """One part to try. `concerns` says which profiles issue nothing without it."""

    name: str
    look: Callable[[str, datetime], Found]
    concerns: Callable[[Terms], bool] = _every

    def found(self, at: datetime) -> Found:
        """Return what was found. What no profile needs is a warning at most."""
        try:
            found = self.look(self.name, at)
        except BirthmarkError as error:
            found = Found(self.name, State.FAILED, f"{error.finding}: {error.message}", error.hint)
        except OSError as error:
            found = Found(self.name, State.FAILED, str(error), "look at the disk")
        if found.state is State.FAILED and self.concerns is _none:
            return Found(found.name, State.WARNING, found.detail, found.hint)
        return found


def checks(organs: Organs) -> tuple[Check, ...]:
    """Return every check."""
    return (
        Check("store", lambda name, at: _store(name, organs.store, at)),
        Check("log-key", lambda name, _: _key(name, organs.log_key)),
        Check("log", lambda name, at: _log(name, organs.store, at)),
        Check("disk", lambda name, _: _disk(name, shutil.disk_usage(organs.folder).free)),
        Check("policy", lambda name, at: _policy(name, organs.policy, at)),
        Check("configuration", lambda name, at: _configuration(name, organs, at)),
        Check("clock", lambda name, at: _clock(name, organs.store, at)),
        *(check for issuer, each in organs.issuers.items() for check in _checks_of(issuer, each)),
        *_check_of_results(organs.result_key),
    )


def is_open(terms: Terms, at: datetime) -> bool:
    """Say whether the profile issues on that day."""
    return any(each.last_issue >= at.date() for each in terms.algorithms)


def _checks_of(issuer: str, organs: IssuerOrgans) -> Iterator[Check]:
    """Yield the checks of one issuing CA; those of all but the first one say its name."""
    of = f":{issuer}" if issuer else ""
    certificate, key = organs.authority.certificate, organs.authority.key

    def concerns(terms: Terms) -> bool:
        return terms.issuer == issuer

    yield Check(f"issuing-key{of}", lambda name, _: _key(name, key), concerns)
    yield Check(f"issuing-certificate{of}", lambda name, at: _certificate(name, certificate, at), concerns)
    yield Check(f"crl{of}", lambda name, at: _crl(name, organs.crl(), at), concerns)
    responder_key = organs.responder_key
    if responder_key is not None:
        yield Check(f"ocsp-key{of}", lambda name, _: _key(name, responder_key), _none)


def _check_of_results(key: SigningKey | None) -> Iterator[Check]:
    if key is not None:
        yield Check("result-key", lambda name, _: _key(name, key), _with_results)


def _store(name: str, store: CAStore, at: datetime) -> Found:
    with store.writing() as ledger:
        ledger.probe(at)
    return Found(name, State.OK, "the ledger was written")


def _key(name: str, key: SigningKey) -> Found:
    probe(key)
    return Found(name, State.OK, "the key signed a probe")


def _log(name: str, store: CAStore, at: datetime) -> Found:
    with store.reading() as ledger:
        note = ledger.checkpoint()
        waiting = ledger.entries(0 if note is None else int(note.split("\n")[1]), 1)
    lag = at - decode_row(waiting[0]).at if waiting else timedelta(0)
    detail = f"the oldest entry without a checkpoint is {max(lag.total_seconds(), 0):.0f} s old"
    if lag > LOG_LAG:
        return Found(name, State.FAILED, detail, "see the log of the service: what does it say of its checkpoints?")
    return Found(name, State.OK, detail if waiting else "every entry is in a signed checkpoint")


def _disk(name: str, free: int) -> Found:
    detail = f"{free >> 20} MiB free"
    if free < DISK_LEFT_BYTES:
        return Found(name, State.FAILED, detail, "make room")
    return Found(name, State.WARNING if free < DISK_LOW_BYTES else State.OK, detail)


def _policy(name: str, policy: Policy, at: datetime) -> Found:
    open_now = [profile for profile, terms in policy.terms.items() if is_open(terms, at)]
    if not open_now:
        return Found(name, State.FAILED, "no profile may issue any more", "see [[profile]] last_issue in ca.toml")
    detail = f"policy {policy.endorsements.digest[:16]}, profiles {', '.join(sorted(open_now))}"
    return Found(name, State.OK, detail)


def _configuration(name: str, organs: Organs, at: datetime) -> Found:
    with organs.store.reading() as ledger:
        recent = ledger.recent_configurations()
    in_force, own = recent[0].digest[:16] if recent else "none", organs.policy.configuration
    if organs.unannounced and organs.unannounced[:16] != in_force:
        detail = f"{in_force} is in force, this file makes {organs.unannounced[:16]}"
        return Found(name, State.WARNING, detail, "it comes into force when the service is started again")
    until = None if organs.unannounced else issues_until(own, recent)
    if until is None:
        return Found(name, State.OK, f"configuration {in_force} is in force")
    state = State.WARNING if at < until else State.FAILED
    detail = f"{in_force} is in force, this worker issues by another one until {until.isoformat(timespec='seconds')}"
    return Found(name, state, detail, "give all workers one ca.toml, and start them again")


def _clock(name: str, store: CAStore, at: datetime) -> Found:
    with store.reading() as ledger:
        size = ledger.log_size()
        last = ledger.entries(size - _ENTRY_BEFORE, 1) if size else ()
    ahead = decode_row(last[0]).at - at if last else timedelta(0)
    if ahead > CLOCK_AHEAD:
        told = f"the ledger's latest entry is {ahead.total_seconds():.0f} s in the future"
        return Found(name, State.FAILED, told, "set this machine's clock, or the other worker's")
    return Found(name, State.OK, at.isoformat(timespec="seconds"))


def _certificate(name: str, certificate: x509.Certificate, at: datetime) -> Found:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    detail = f"good from {begins.date()} to {ends.date()}"
    if not begins <= at < ends:
        return Found(name, State.FAILED, detail, "hold a ceremony for the next issuing CA")
    near = ends - at < EXPIRY_NEAR
    return Found(name, State.WARNING if near else State.OK, detail)


def _crl(name: str, der: bytes, at: datetime) -> Found:
    ends = x509.load_der_x509_crl(der).next_update_utc
    if ends is None or ends <= at:
        return Found(name, State.FAILED, f"the list was good until {ends}", "see the log of the service")
    return Found(name, State.OK, f"the list is good until {ends.isoformat(timespec='seconds')}")
