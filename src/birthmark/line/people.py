# SPDX-License-Identifier: Apache-2.0
"""
Who works at a station: operators, whom a badge names, and leads, who decide with a PIN.

A badge says who somebody is and proves nothing. A lead's PIN is kept as a salted scrypt hash (RFC 7914) in rig.toml,
which then nobody but its owner may read. Wrong PINs are counted: after a few of them a lead waits.
"""

import base64
import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from birthmark.core.errors import DecodeError
from birthmark.line.errors import LeadRefused
from birthmark.line.ports import Stopwatch

BADGE: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")
PIN_MIN_CHARACTERS: Final = 6
PIN_MAX_CHARACTERS: Final = 64
WRONG_PINS_MAX: Final = 5
"""So many wrong PINs in a row, and the lead waits."""
WAIT_S: Final = 60.0
_SCHEME: Final = "scrypt-15-8-1"
"""log2(N), r, p: 32 MiB and about a tenth of a second for each try."""
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_MEMORY_MAX_BYTES: Final = 64 << 20


class Role(StrEnum):
    """What somebody may do at a station."""

    OPERATOR = "operator"
    LEAD = "lead"


@dataclass(frozen=True, slots=True)
class PinHash:
    """A lead's PIN, salted and hashed. Its text form is `scrypt-15-8-1$SALT$HASH`, in base64url without padding."""

    salt: bytes
    digest: bytes

    def fits(self, pin: str) -> bool:
        """Say whether this is the PIN; takes the same time for every wrong one."""
        return hmac.compare_digest(self.digest, _digest(pin, self.salt))

    def __str__(self) -> str:
        return f"{_SCHEME}${_text(self.salt)}${_text(self.digest)}"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a badge; leads have a PIN too."""

    badge: str
    role: Role
    pin: PinHash | None = None


def hash_pin(pin: str) -> PinHash:
    """Return a new PIN's hash. Raises DecodeError for one that is too short or too long."""
    if not PIN_MIN_CHARACTERS <= len(pin) <= PIN_MAX_CHARACTERS or not pin.isprintable():
        raise DecodeError(
            "this is no PIN",
            hint=f"{PIN_MIN_CHARACTERS} to {PIN_MAX_CHARACTERS} printable characters",
            finding="line.lead.pin-form",
        )
    salt = secrets.token_bytes(_SALT_BYTES)
    return PinHash(salt, _digest(pin, salt))


def read_pin_hash(text: str) -> PinHash:
    """Return the hash that a text stands for. Raises DecodeError for any other text than its one form."""
    try:
        scheme, salt, digest = text.split("$")
        read = PinHash(_bytes(salt), _bytes(digest))
    except ValueError as error:
        raise _malformed() from error
    if scheme != _SCHEME or (len(read.salt), len(read.digest)) != (_SALT_BYTES, _HASH_BYTES) or str(read) != text:
        raise _malformed()
    return read


class People:
    """All who may work here. With nobody named, every badge is an operator's and there are no leads. Thread-safe."""

    def __init__(self, people: Sequence[Person], stopwatch: Stopwatch) -> None:
        self._people = {person.badge: person for person in people}
        self._stopwatch = stopwatch
        self._lock = threading.Lock()
        self._wrong: dict[str, int] = {}
        self._waits_until_s: dict[str, float] = {}

    @property
    def leads(self) -> tuple[str, ...]:
        """Return the names of the leads."""
        return tuple(person.badge for person in self._people.values() if person.role is Role.LEAD)

    def role_of(self, badge: str) -> Role | None:
        """Return what somebody may do, or None for a badge that is nobody's."""
        if not self._people:
            return Role.OPERATOR
        person = self._people.get(badge)
        return None if person is None else person.role

    def demand_lead(self, badge: str, pin: str) -> None:
        """
        Pass a lead with the right PIN.

        Raises:
            LeadRefused: line.lead.role, line.lead.wait, line.lead.pin.

        """
        person = self._people.get(badge)
        if person is None or person.pin is None:
            raise LeadRefused("only a lead decides this", hint="call the lead of the line", finding="line.lead.role")
        with self._lock:  # one try at a time, so that many at once are not tried faster
            self._demand_patience(badge)
            if person.pin.fits(pin):
                self._wrong.pop(badge, None)
                return
            self._count_wrong(badge)
        raise LeadRefused(f"this is not the PIN of {badge}", hint="type it again", finding="line.lead.pin")

    def _demand_patience(self, badge: str) -> None:
        wait_s = self._waits_until_s.get(badge, 0.0) - self._stopwatch()
        if wait_s > 0:
            raise LeadRefused(f"too many wrong PINs; {badge} waits {wait_s:.0f} s", finding="line.lead.wait")

    def _count_wrong(self, badge: str) -> None:
        self._wrong[badge] = self._wrong.get(badge, 0) + 1
        if self._wrong[badge] >= WRONG_PINS_MAX:
            del self._wrong[badge]
            self._waits_until_s[badge] = self._stopwatch() + WAIT_S


def _digest(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, n=1 << 15, r=8, p=1, maxmem=_MEMORY_MAX_BYTES, dklen=_HASH_BYTES)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _malformed() -> DecodeError:
    return DecodeError("this is no PIN's hash", hint="make it with: birthmark line pin", finding="line.lead.pin-hash")
