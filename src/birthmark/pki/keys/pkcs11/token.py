# SPDX-License-Identifier: Apache-2.0
"""
An open token: one login, a few sessions, and the ladder by which it comes back after a failure without a restart.

What a caller sees of a failure: nothing, where a new session or a first attempt to reopen mends it; TokenHealing with
`retry_after_s` while it lasts longer. A thread reopens the token meanwhile, whether somebody calls or not. No caller
waits longer than SESSION_WAIT_S and HEAL_WAIT_S, except in the module itself: a call that hangs there cannot be ended
from outside, but it holds up nobody else.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.errors import (
    KeyExists,
    KeyMissing,
    KeyStoreError,
    MechanismMissing,
    PinRefused,
    TokenFailed,
    TokenHealing,
)
from birthmark.pki.keys.pkcs11.connection import Connection, Place, prove
from birthmark.pki.keys.pkcs11.key import TokenEd25519Key, TokenKey
from birthmark.pki.keys.pkcs11.ladder import Ladder, Outage, State
from birthmark.pki.keys.pkcs11.meanings import Remedy, explained, meaning
from birthmark.pki.keys.pkcs11.module import openssl_error_sweeper, python_pkcs11
from birthmark.pki.keys.pkcs11.objects import (
    facts_of,
    find_private,
    findings_of,
    is_taken,
    make,
    mapper,
    private_keys,
    public_key,
    recipe,
)
from birthmark.pki.keys.pkcs11.policy import KeyFacts, check, check_new
from birthmark.pki.keys.pkcs11.seats import KnownKey, NoSeat, Seat

SESSION_WAIT_S: Final = 5.0
"""How long a caller waits for a session. If none came back from the module meanwhile, the token counts as failed."""
HEAL_WAIT_S: Final = 1.0
"""How long a caller waits for the first attempt to reopen a token that has just failed."""
BUSY_RETRY_S: Final = 1
_TRIES: Final = 2

T = TypeVar("T")


class Token:
    """
    An open token, for all threads of a process; it does not survive a fork. A process opens a token once.

    `on_event` is called once per outage, when it has ended, in the thread that reopened the token. It must not raise.
    `clock` returns seconds that do not jump; it paces the ladder and dates the events.
    """

    def __init__(
        self,
        place: Place,
        *,
        on_event: Callable[[Outage], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = place.label
        self._on_event = on_event
        self._clock = clock
        self._changed = threading.Condition()
        self._ladder = Ladder()
        self._refusal = ""
        self._generation = 0
        self._closed = False
        self._usable = True
        self._sweep = openssl_error_sweeper()
        self._connection = Connection(place, self._evicted)

    @classmethod
    def open(
        cls,
        module_path: Path,
        label: str,
        pin: bytes,
        *,
        on_event: Callable[[Outage], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """
        Log in to the token with this label.

        Raises:
            TokenMissing: no module, no such token, or two of that label.
            PinRefused: the PIN is wrong or locked, or one more wrong one would lock it.
            TokenFailed: anything else, for example a token that this process has open already.

        """
        return cls(Place(module_path, label, pin), on_event=on_event, clock=clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    @property
    def ladder(self) -> Ladder:
        """Where the token stands now, for health and metrics."""
        return self._ladder

    def close(self) -> None:
        """Log out and let go of the module. Waits a little for calls that are under way."""
        with self._changed:
            if self._closed:
                return
            self._closed, self._usable = True, False
            self._changed.notify_all()
        self._connection.close()

    def key(self, label: str) -> TokenKey | TokenEd25519Key:
        """
        Return the key of this label, after it was seen to be as the policy wants and to sign.

        Raises:
            KeyMissing: no such key, or two.
            KeyPolicyRefused: `key.policy.*`, it could leave the token, came from outside, or may do more than sign.
            TokenFailed: `key.changed`, its halves do not belong together; or as `sign`.

        """
        return self._use(partial(self._opened, label), f"key {label!r}")

    def generate(self, label: str, algorithm: KeyAlgorithm) -> TokenKey | TokenEd25519Key:
        """
        Make a key in the token as the policy wants: it can sign, and it never leaves.

        Raises:
            KeyExists: the label is taken. Keys are not overwritten.
            KeyPolicyRefused: the label does not say what the key is for, or the algorithm is not for that.
            MechanismMissing: the token cannot make or use such a key.
            TokenFailed: anything else.

        """
        check_new(label, algorithm)
        recipe(algorithm)
        self._use(partial(self._make, label, algorithm), f"a new key {label!r}", tries=1)
        return self.key(label)

    def keys(self) -> tuple[KeyFacts, ...]:
        """Return what the token says about each of its private keys, by label. Raises TokenFailed."""
        found = self._use(
            lambda seat: [facts_of(seat.session, key) for key in private_keys(seat.session)], "its private keys"
        )
        return tuple(sorted(found, key=lambda facts: (facts.label, facts.key_id)))

    def sign(self, label: str, data: bytes) -> bytes:
        """
        Return the raw signature by a key that was opened: over a digest for ECDSA, over the message for Ed25519.

        Raises:
            TokenHealing: the token failed and is being reopened, or is too busy; `retry_after_s` says when to come.
            PinRefused: the token came back and refuses the PIN, which is not offered again.
            KeyMissing: no key of that label was opened.

        """
        self._require_opened(label)
        return self._use(lambda seat: seat.sign(label, data), label)

    def sign_many(self, label: str, batch: Sequence[bytes]) -> list[bytes]:
        """Return the raw signature of each, in order, all through one session. Raises as `sign`: all or nothing."""
        self._require_opened(label)
        return self._use(lambda seat: seat.sign_many(label, batch), label)

    def _require_opened(self, label: str) -> None:
        if label not in self._connection.known:
            raise KeyMissing(f"key {label!r} was not opened")

    def _use(self, work: Callable[[Seat], T], where: str, tries: int = _TRIES) -> T:
        """Do the work in a session. What python-pkcs11 raises comes out as a KeyStoreError, or is mended."""
        failure: RuntimeError | None = None
        for _ in range(tries):
            if not self._usable:
                self._await_sound()
            seat = self._lent()
            generation = self._generation  # it does not change while a seat is taken
            try:
                return seat.run(work)
            except RuntimeError as error:
                failure = error
            finally:
                self._sweep()
                self._connection.seats.give_back(seat)
            known = meaning(failure)
            reason = explained(failure, f"token {self._label!r}, {where}")
            if known.remedy is Remedy.NOTHING_BROKEN:
                raise reason from failure
            self._failed(known.remedy, reason.message, generation)
        raise self._healing() from failure

    def _lent(self) -> Seat:
        try:
            return self._connection.seats.lend(SESSION_WAIT_S)
        except NoSeat as full:
            if full.still:
                cause = f"token {self._label!r}: no call came back from the module for {SESSION_WAIT_S:g} s"
                self._failed(Remedy.MODULE, cause, self._generation)
            raise self._healing() from None

    def _healing(self) -> KeyStoreError:
        with self._changed:
            if self._closed:
                return TokenFailed(f"token {self._label!r} was closed")
            if self._ladder.state is State.LOST:
                return PinRefused(self._refusal)
            if self._ladder.state is State.SOUND:
                return TokenHealing(f"token {self._label!r} has no time for this now", retry_after_s=BUSY_RETRY_S)
            after_s = self._ladder.retry_after_s(self._clock())
            return TokenHealing(f"{self._ladder.cause}; it is being reopened", retry_after_s=after_s)

    def _await_sound(self) -> None:
        """Wait for the end of the first attempt of an outage, no longer. Raises unless the token works then."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._is_new(), HEAL_WAIT_S)
            if self._usable:
                return
        raise self._healing()

    def _is_new(self) -> bool:
        """Whether the first attempt of an outage is due or under way."""
        ladder = self._ladder
        return (ladder.state is State.BROKEN and ladder.attempts == 0) or (
            ladder.state is State.CLIMBING and ladder.attempts == 1
        )

    def _opened(self, label: str, seat: Seat) -> TokenKey | TokenEd25519Key:
        session = seat.session
        facts = facts_of(session, find_private(session, label))
        check(label, findings_of(facts))
        if facts.algorithm is None:  # never so: `check` passes no other; the type checker wants to see it
            raise MechanismMissing(f"key {label!r} is of a kind that is not used here")
        how = recipe(facts.algorithm)
        public = public_key(session, label, facts.algorithm)
        known = KnownKey(label, facts.key_id, public, python_pkcs11().Mechanism[how.signature])
        return self._remembered(known, seat)

    def _remembered(self, known: KnownKey, seat: Seat) -> TokenKey | TokenEd25519Key:
        """A label stands for one key as long as the token is open: whoever holds it counts on that."""
        before = self._connection.known.setdefault(known.label, known)
        if before != known:
            raise TokenFailed(f"key {known.label!r} is not the one that was opened before", finding="key.changed")
        try:
            prove(seat, known)
        except TokenFailed:
            del self._connection.known[known.label]
            raise
        if isinstance(known.public, ed25519.Ed25519PublicKey):
            return TokenEd25519Key(self, known.label, known.public)
        if isinstance(known.public, ec.EllipticCurvePublicKey):
            return TokenKey(self, known.label, known.public)
        raise MechanismMissing(f"key {known.label!r} is of a kind that is not used here")

    def _make(self, label: str, algorithm: KeyAlgorithm, seat: Seat) -> None:
        if is_taken(seat.session, label):
            raise KeyExists(f"token {self._label!r} has a key {label!r} already", hint="choose another label")
        with self._connection.token.open(rw=True, attribute_mapper=mapper()) as session:
            make(session, label, algorithm)

    def _evicted(self) -> None:
        self._failed(
            Remedy.LOGIN, f"token {self._label!r}: the module was restarted for another token", self._generation
        )

    def _failed(self, remedy: Remedy, cause: str, generation: int) -> None:
        """Begin an outage, unless the failure is of a login that was replaced since."""
        with self._changed:
            if self._closed or generation != self._generation:
                return
            begins = self._ladder.state is State.SOUND
            self._ladder = self._ladder.failed(remedy, cause, self._clock())
            self._usable = False
            if begins:
                threading.Thread(target=self._heal, name=f"reopen {self._label}", daemon=True).start()

    def _heal(self) -> None:
        """Climb until the outage has ended or the token was closed; tell the end."""
        ended = None
        while ended is None and (rung := self._next_rung()) is not None:
            try:
                self._connection.reopen(rung)
            except PinRefused as refusal:
                self._refusal = refusal.message
                ended = self._moved(Ladder.lost)
            except Exception:  # noqa: BLE001 whatever a module does, the thread that reopens it must live on
                ended = self._moved(lambda ladder: ladder.slipped(self._clock()))
            else:
                ended = self._moved(Ladder.reached)
        if ended and self._on_event:
            self._on_event(ended)

    def _next_rung(self) -> Remedy | None:
        """Wait until the next attempt is due and begin it. None: there is no other."""
        with self._changed:
            while not self._closed and self._ladder.state is State.BROKEN:
                at_s = self._clock()
                wait_s = self._ladder.wait_s(at_s)
                if wait_s == 0:
                    self._ladder = self._ladder.climb(at_s)
                    return self._ladder.rung
                self._changed.wait(wait_s)
            return None

    def _moved(self, transition: Callable[[Ladder], Ladder]) -> Outage | None:
        """End an attempt; return the outage if it has ended with it. The next one may begin at once."""
        with self._changed:
            self._ladder = transition(self._ladder)
            if self._ladder.state is State.SOUND:
                self._generation += 1
                self._usable = not self._closed
            self._changed.notify_all()
            ended = self._ladder.state in {State.SOUND, State.LOST} and not self._closed
            return self._ladder.outage(self._label, self._clock()) if ended else None
