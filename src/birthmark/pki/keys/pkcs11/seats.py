# SPDX-License-Identifier: Apache-2.0
"""
Sessions, lent to one caller at a time.

A seat is a place inside the module: only who holds one calls it. So when every seat is back nobody is inside, which is
the moment at which a module may be finalised.
"""

import contextlib
import functools
import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from birthmark.pki.algorithms import VerifyingKey
from birthmark.pki.keys.pkcs11.meanings import KeyGone, Remedy, meaning
from birthmark.pki.keys.pkcs11.module import python_pkcs11
from birthmark.pki.keys.pkcs11.objects import mapper, search

if TYPE_CHECKING:
    import pkcs11

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that was opened: where it is found again, and what it must still be then."""

    label: str
    key_id: bytes
    public: VerifyingKey
    mechanism: "pkcs11.Mechanism"


class Seat:
    """A session that opens when it is first used, and the private keys that were found through it."""

    def __init__(self, known: Mapping[str, KnownKey]) -> None:
        self._known = known
        self._token: pkcs11.Token | None = None
        self._session: pkcs11.Session | None = None
        self._signers: dict[str, Callable[[bytes], bytes]] = {}

    def prepare(self, token: "pkcs11.Token | None") -> None:
        """Forget a session that is gone, and open the next one with this token; without one, none."""
        self._token = token
        self._session = None
        self._signers.clear()

    @property
    def session(self) -> "pkcs11.Session":
        """The session, opened now if there is none."""
        if self._session is None:
            if self._token is None:
                raise KeyGone("the token is being reopened")
            self._session = self._token.open(attribute_mapper=mapper())
        return self._session

    def sign(self, label: str, data: bytes) -> bytes:
        """Return the raw signature: of a digest for ECDSA (r and s, each as long as the curve), else of the message."""
        signer = self._signers.get(label) or self._found(label)
        return signer(data)

    def sign_many(self, label: str, batch: Sequence[bytes]) -> list[bytes]:
        """Return the raw signature of each, in order."""
        signer = self._signers.get(label) or self._found(label)
        return [signer(data) for data in batch]

    def run(self, work: "Callable[[Seat], T]") -> T:
        """Do the work, and once more where the same session or a new one is all that it takes."""
        try:
            return work(self)
        except RuntimeError as error:
            remedy = meaning(error).remedy
            if remedy not in {Remedy.RETRY, Remedy.SESSION}:
                raise
            if remedy is Remedy.SESSION:
                self.close()
            return work(self)

    def close(self) -> None:
        """Close the session, if the token still knows it."""
        session, self._session = self._session, None
        self._signers.clear()
        if session is not None:
            with contextlib.suppress(RuntimeError):
                session.close()

    def _found(self, label: str) -> Callable[[bytes], bytes]:
        p11 = python_pkcs11()
        known = self._known[label]
        wanted = {
            p11.Attribute.CLASS: p11.ObjectClass.PRIVATE_KEY,
            p11.Attribute.LABEL: label,
            p11.Attribute.ID: known.key_id,
        }
        keys = search(self.session, wanted)
        if len(keys) != 1:
            raise KeyGone(f"the token has {len(keys)} keys {label!r} with the id that one had")
        sign: Callable[..., bytes] = keys[0].sign
        signer = self._signers[label] = functools.partial(sign, mechanism=known.mechanism)
        return signer


class NoSeat(Exception):
    """Every seat stayed taken. `still`: nobody gave one back meanwhile, so no call came back from the module."""

    def __init__(self, *, still: bool) -> None:
        super().__init__("every session is taken")
        self.still = still


class Seats:
    """The seats of one token. Whoever comes first is served first."""

    def __init__(self, count: int, known: Mapping[str, KnownKey]) -> None:
        self._all = tuple(Seat(known) for _ in range(count))
        self._free: queue.SimpleQueue[Seat] = queue.SimpleQueue()
        self._returned = 0  # not exact among threads; all that is asked of it is whether it moved

    def prepare(self, token: "pkcs11.Token | None") -> None:
        """
        Put every seat to this token, or to none. Nobody may hold one.

        Handles of sessions and keys are numbers that a restarted module gives out anew: a seat that kept its own could
        sign with somebody else's key.
        """
        for seat in self._all:
            seat.prepare(token)

    def lend(self, wait_s: float) -> Seat:
        """Return a seat that is nobody else's. Raises NoSeat after `wait_s`."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return self._awaited(wait_s)

    def give_back(self, seat: Seat) -> None:
        """End a loan."""
        self._returned += 1
        self._free.put(seat)

    def clear(self, wait_s: float) -> bool:
        """Take every seat out of use, waiting for each; tell whether all are. If not, they stay in use."""
        taken: list[Seat] = []
        try:
            for _ in self._all:
                taken.append(self._free.get(timeout=wait_s))  # noqa: PERF401 what was taken before the wait ended counts
        except queue.Empty:
            for seat in taken:
                self._free.put(seat)
            return False
        return True

    def close_sessions(self) -> None:
        """Close every session that the token still knows. Nobody may hold a seat."""
        for seat in self._all:
            seat.close()

    def open(self) -> None:
        """Put every seat in use, after `clear` or for the first time."""
        for seat in self._all:
            self._free.put(seat)

    def _awaited(self, wait_s: float) -> Seat:
        before = self._returned
        try:
            return self._free.get(timeout=wait_s)
        except queue.Empty:
            raise NoSeat(still=self._returned == before) from None
