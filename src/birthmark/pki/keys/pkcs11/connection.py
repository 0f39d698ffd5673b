# SPDX-License-Identifier: Apache-2.0
"""One login to one token: how it is made, made again on each rung of the ladder, and proven before it is used."""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.pki.algorithms import signature_hash, verify_data
from birthmark.pki.errors import PinRefused, TokenFailed, TokenMissing
from birthmark.pki.keys.pkcs11.key import der_signature
from birthmark.pki.keys.pkcs11.meanings import Remedy, explained
from birthmark.pki.keys.pkcs11.module import Module, enter, leave, openssl_error_sweeper, python_pkcs11
from birthmark.pki.keys.pkcs11.objects import mapper
from birthmark.pki.keys.pkcs11.seats import KnownKey, Seat, Seats

if TYPE_CHECKING:
    import pkcs11

POOL_MAX_SESSIONS: Final = 8
"""Sessions that one Token lends; fewer where the token allows fewer."""
_OTHER_SESSIONS: Final = 2
"""The login's, and one that makes a key."""
CALL_WAIT_S: Final = 2.0
"""How long a call that is under way is waited for before the module is touched."""
_CHALLENGE: Final = b"birthmark: is this still the key?"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token is, and the PIN that opens it."""

    module: Path
    label: str
    pin: bytes = field(repr=False)


class Connection:
    """A login and the sessions under it. `evict` is called when another token's trouble has ended them."""

    def __init__(self, place: Place, evict: Callable[[], None]) -> None:
        """Log in. Raises TokenMissing, PinRefused or TokenFailed."""
        self._place = place
        self._evict = evict
        self._serial: bytes | None = None
        self._login: pkcs11.Session | None = None
        self.known: dict[str, KnownKey] = {}
        self.module: Module = enter(place.module, self)
        try:
            with self.module.changing:
                self.token = self._logged_in()
                self.seats = Seats(self._seat_count(), self.known)
                self.seats.prepare(self.token)
                self.seats.open()
        except BaseException:
            leave(self.module, self, inside=False)
            raise

    def reopen(self, rung: Remedy) -> None:
        """
        Log in anew, after a restart of the module if the rung says so, and prove every key that was opened.

        Raises:
            TokenFailed: it is not over yet, or a call does not come back from the module.
            TokenMissing: the token is not there.
            PinRefused: the PIN is refused, and not to be offered again.

        """
        with self.module.changing:
            if not self.vacate():
                raise TokenFailed(f"token {self._place.label!r}: calls do not come back from the module")
            try:
                self._forget()
                if rung >= Remedy.MODULE or not self.module.close_sessions(self.token.slot.slot_id):
                    self.module.restart(self)
                self.token = self._logged_in()
                self._prove_all()
                self.seats.prepare(self.token)
            finally:
                self.reoccupy()

    def close(self) -> None:
        """Log out, and let go of the module. A call that does not come back keeps the module as it is."""
        locked = self.module.changing.acquire(timeout=CALL_WAIT_S)
        try:
            vacant = locked and self.vacate()
            if vacant:
                self._log_out()
            leave(self.module, self, inside=not vacant)
        finally:
            if locked:
                self.module.changing.release()

    def vacate(self) -> bool:
        """Keep callers out of the module; False, and nothing is changed, if one does not come out."""
        return self.seats.clear(CALL_WAIT_S)

    def reoccupy(self) -> None:
        """Let callers in again."""
        self.seats.open()

    def evicted(self) -> None:
        """Know that every session is gone."""
        self._forget()
        self._evict()

    def _forget(self) -> None:
        self.seats.prepare(None)
        self._login = None

    def _logged_in(self) -> "pkcs11.Token":
        where = f"token {self._place.label!r}"
        try:
            token = self.module.library.get_token(token_label=self._place.label)
            self._check_same(token)
            check_pin_flags(int(token.flags))
            self._login = token.open(user_pin=self._place.pin.decode(), attribute_mapper=mapper())
        except UnicodeDecodeError:
            raise PinRefused("the PIN is not UTF-8") from None
        except RuntimeError as error:  # UserAlreadyLoggedIn: another Token of this process has it open
            raise explained(error, where) from error
        finally:
            openssl_error_sweeper()()
        self._serial = token.serial
        return token

    def _check_same(self, token: "pkcs11.Token") -> None:
        """Offer the PIN to no other token that took the label."""
        if self._serial not in {None, token.serial}:
            raise TokenMissing(f"another token has the label {self._place.label!r} now: its serial is not the one")

    def _seat_count(self) -> int:
        if not self.module.shared:
            return 1
        allowed, _ = self.module.session_counts(self.token.slot.slot_id)
        return POOL_MAX_SESSIONS if not allowed else max(1, min(POOL_MAX_SESSIONS, allowed - _OTHER_SESSIONS))

    def _prove_all(self) -> None:
        """A token that came back signs nothing for anybody before each key has shown that it is still the one."""
        seat = Seat(self.known)
        seat.prepare(self.token)
        try:
            for known in self.known.values():
                prove(seat, known)
        except RuntimeError as error:
            raise explained(error, f"token {self._place.label!r}") from error
        finally:
            seat.close()
            openssl_error_sweeper()()

    def _log_out(self) -> None:
        if self.module.close_sessions(self.token.slot.slot_id):
            return
        self.seats.close_sessions()
        if self._login is not None:
            with contextlib.suppress(RuntimeError):  # a token that is gone needs no logout
                self._login.close()


def check_pin_flags(flags: int) -> None:
    """
    Pass a token to which a PIN may be offered. Raises PinRefused where that could be the try that locks it.

    A token that allows one more try has refused somebody's PIN before; a person must look first.
    """
    known = python_pkcs11().TokenFlag
    if flags & known.USER_PIN_LOCKED:
        raise PinRefused("the token's user PIN is locked", hint="its security officer can set a new one")
    if flags & known.USER_PIN_FINAL_TRY:
        raise PinRefused(
            "one more wrong PIN would lock the token, so none is offered",
            hint="log in by hand with the right one first",
        )


def prove(seat: Seat, known: KnownKey) -> None:
    """
    Sign a fresh challenge with a key and verify it with the public half that it is known by.

    Raises:
        TokenFailed: `key.changed`, it is another key.

    """
    challenge = _CHALLENGE + secrets.token_bytes(16)
    digest = signature_hash(known.public)
    raw = seat.sign(known.label, _hashed(challenge, digest))
    signature = der_signature(raw) if isinstance(known.public, ec.EllipticCurvePublicKey) else raw
    try:
        verify_data(known.public, signature, challenge)
    except InvalidSignature as error:
        raise TokenFailed(
            f"key {known.label!r} in the token does not fit its public key", finding="key.changed"
        ) from error


def _hashed(data: bytes, algorithm: hashes.HashAlgorithm | None) -> bytes:
    if algorithm is None:
        return data
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
