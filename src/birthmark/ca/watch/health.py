# SPDX-License-Identifier: Apache-2.0
"""
Whether a certificate could be issued now.

Each part that issuing needs is tried, not asked: the ledger is written, the keys sign (`pki.probe`: a signature that is
good for nothing else), the policy still allows something.

One examination answers everybody who asks within MEMORY_S, so asking often costs nothing.
"""

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from cryptography import x509

from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore
from birthmark.core.audit import decode_row
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError
from birthmark.pki.algorithms import SigningKey
from birthmark.pki.probe import probe

MEMORY_S: Final = 1.0
DISK_LEFT_BYTES: Final = 256 << 20
"""With less than this the CA does not count as ready: it stops before the disk is full, not after."""
DISK_LOW_BYTES: Final = 1 << 30
LOG_LAG: Final = timedelta(seconds=60)
CLOCK_AHEAD: Final = timedelta(seconds=60)
"""How far the latest entry of the ledger may lie in the future."""
EXPIRY_NEAR: Final = timedelta(days=90)
_ENTRY_BEFORE: Final = 1


class State(Enum):
    """What a check found. Only `failed` keeps the CA from being ready."""

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
class Health:
    """What all checks found."""

    at: datetime
    checks: tuple[Found, ...]

    @property
    def ready(self) -> bool:
        """Whether a certificate could be issued now."""
        return all(each.state is not State.FAILED for each in self.checks)


Check = Callable[[datetime], Found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Organs:
    """What issuing needs. `crl` returns the list (DER) that is in force; `folder` is on the disk that must not fill."""

    store: CAStore
    policy: Policy
    issuing: x509.Certificate
    issuing_key: SigningKey
    log_key: SigningKey
    crl: Callable[[], bytes]
    folder: Path


class HealthDesk:
    """Examines, at most once in MEMORY_S. Calls may come from several threads."""

    def __init__(self, organs: Organs, clock: Clock) -> None:
        self._checks: Mapping[str, Check] = checks(organs)
        self._clock = clock
        self._lock = threading.Lock()
        self._last: tuple[float, Health] | None = None

    def health(self) -> Health:
        """Return what was found now, or a moment ago."""
        with self._lock:
            now = time.monotonic()
            if self._last is None or now >= self._last[0] + MEMORY_S:
                at = self._clock()
                found = Health(at, tuple(_tried(name, check, at) for name, check in self._checks.items()))
                self._last = time.monotonic(), found
            return self._last[1]


def checks(organs: Organs) -> Mapping[str, Check]:
    """Return every check, by its name."""
    return {
        "store": lambda at: _store(organs.store, at),
        "issuing-key": lambda _: _key("issuing-key", organs.issuing_key),
        "log-key": lambda _: _key("log-key", organs.log_key),
        "log": lambda at: _log(organs.store, at),
        "disk": lambda _: _disk(shutil.disk_usage(organs.folder).free),
        "policy": lambda at: _policy(organs.policy, at),
        "clock": lambda at: _clock(organs.store, at),
        "issuing-certificate": lambda at: _certificate(organs.issuing, at),
        "crl": lambda at: _crl(organs.crl(), at),
    }


def _tried(name: str, check: Check, at: datetime) -> Found:
    try:
        return check(at)
    except BirthmarkError as error:
        return Found(name, State.FAILED, f"{error.finding}: {error.message}", error.hint)
    except OSError as error:
        return Found(name, State.FAILED, str(error), "look at the disk")


def _store(store: CAStore, at: datetime) -> Found:
    with store.writing() as ledger:
        ledger.probe(at)
    return Found("store", State.OK, "the ledger was written")


def _key(name: str, key: SigningKey) -> Found:
    probe(key)
    return Found(name, State.OK, "the key signed a probe")


def _log(store: CAStore, at: datetime) -> Found:
    with store.reading() as ledger:
        note = ledger.checkpoint()
        waiting = ledger.entries(0 if note is None else int(note.split("\n")[1]), 1)
    lag = at - decode_row(waiting[0]).at if waiting else timedelta(0)
    detail = f"the oldest entry without a checkpoint is {max(lag.total_seconds(), 0):.0f} s old"
    if lag > LOG_LAG:
        return Found("log", State.FAILED, detail, "see the log of the service: what does it say of its checkpoints?")
    return Found("log", State.OK, detail if waiting else "every entry is in a signed checkpoint")


def _disk(free: int) -> Found:
    detail = f"{free >> 20} MiB free"
    if free < DISK_LEFT_BYTES:
        return Found("disk", State.FAILED, detail, "make room")
    return Found("disk", State.WARNING if free < DISK_LOW_BYTES else State.OK, detail)


def _policy(policy: Policy, at: datetime) -> Found:
    open_now = [
        name for name, terms in policy.terms.items() if any(each.last_issue >= at.date() for each in terms.algorithms)
    ]
    if not open_now:
        return Found("policy", State.FAILED, "no profile may issue any more", "see [[profile]] last_issue in ca.toml")
    detail = f"policy {policy.endorsements.digest[:16]}, profiles {', '.join(sorted(open_now))}"
    return Found("policy", State.OK, detail)


def _clock(store: CAStore, at: datetime) -> Found:
    with store.reading() as ledger:
        size = ledger.log_size()
        last = ledger.entries(size - _ENTRY_BEFORE, 1) if size else ()
    ahead = decode_row(last[0]).at - at if last else timedelta(0)
    if ahead > CLOCK_AHEAD:
        told = f"the ledger's latest entry is {ahead.total_seconds():.0f} s in the future"
        return Found("clock", State.FAILED, told, "set this machine's clock, or the other worker's")
    return Found("clock", State.OK, at.isoformat(timespec="seconds"))


def _certificate(certificate: x509.Certificate, at: datetime) -> Found:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    detail = f"good from {begins.date()} to {ends.date()}"
    if not begins <= at < ends:
        return Found("issuing-certificate", State.FAILED, detail, "hold a ceremony for the next issuing CA")
    near = ends - at < EXPIRY_NEAR
    return Found("issuing-certificate", State.WARNING if near else State.OK, detail)


def _crl(der: bytes, at: datetime) -> Found:
    ends = x509.load_der_x509_crl(der).next_update_utc
    if ends is None or ends <= at:
        return Found("crl", State.FAILED, f"the list was good until {ends}", "see the log of the service")
    return Found("crl", State.OK, f"the list is good until {ends.isoformat(timespec='seconds')}")
