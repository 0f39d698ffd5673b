# SPDX-License-Identifier: Apache-2.0
"""What a person sees and decides about a rig's outbox: how it stands, what is parked, what is offered again."""

from birthmark.core.clock import Clock
from birthmark.core.delivery import Aside, Backlog, Parcel
from birthmark.line.errors import OutboxRefused
from birthmark.line.ports import LineStore

_HINT = "see: birthmark line outbox list"


class OutboxOffice:
    """The outbox of one rig, also while the rig works."""

    def __init__(self, store: LineStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def standings(self) -> tuple[Backlog, ...]:
        """Return how every destination stands."""
        return self._store.backlog()

    def parked(self) -> tuple[Aside, ...]:
        """Return what is parked, in the order of the events."""
        return self._store.aside()

    def show(self, sequence: int) -> tuple[Parcel, tuple[tuple[str, str], ...]]:
        """Return the event with this number, and how it stands at each destination. Raises OutboxRefused."""
        parcel = self._store.event_at(sequence)
        if parcel is None:
            raise OutboxRefused(f"there is no event {sequence}, or no more", hint=_HINT, finding="line.outbox.no-event")
        return parcel, tuple((each.destination, self._state(each, sequence)) for each in self._store.backlog())

    def retry(self, destination: str, sequence: int | None) -> int:
        """
        Let what is parked for the destination, or the one parcel, be offered again; return how many.

        Raises:
            OutboxRefused: line.outbox.destination, line.outbox.not-parked.

        """
        self._demand(destination)
        count = self._store.unpark(destination, sequence)
        if not count:
            what = "nothing" if sequence is None else f"event {sequence} is not"
            raise OutboxRefused(f"{what} parked for {destination}", hint=_HINT, finding="line.outbox.not-parked")
        return count

    def park(self, destination: str, sequence: int, by: str, reason: str) -> None:
        """
        Put a parcel aside that waits, so that what is behind it goes.

        Raises:
            OutboxRefused: line.outbox.destination, line.outbox.not-waiting, line.outbox.reason.

        """
        self._demand(destination)
        if not by.strip() or not reason.strip():
            raise OutboxRefused("who decides, and why, must be said", finding="line.outbox.reason")
        parcel = self._store.waiting_parcel(destination, sequence)
        if parcel is None:
            raise OutboxRefused(
                f"event {sequence} does not wait for {destination}", hint=_HINT, finding="line.outbox.not-waiting"
            )
        self._store.parked(parcel, f"by {by}: {reason}", self._clock().isoformat(timespec="milliseconds"))

    def forget(self, destination: str) -> None:
        """
        Give up a destination that rig.toml names no more, and what waits for it.

        Raises:
            OutboxRefused: line.outbox.destination, line.outbox.configured.

        """
        if self._demand(destination).configured:
            raise OutboxRefused(
                f"{destination} is in rig.toml", hint="take it out first", finding="line.outbox.configured"
            )
        self._store.forget(destination)

    def _demand(self, destination: str) -> Backlog:
        for each in self._store.backlog():
            if each.destination == destination:
                return each
        raise OutboxRefused(f"no destination {destination!r}", hint=_HINT, finding="line.outbox.destination")

    def _state(self, standing: Backlog, sequence: int) -> str:
        for aside in self._store.aside(standing.destination):
            if aside.parcel.sequence == sequence:
                return f"parked: {aside.reason}"
        if self._store.waiting_parcel(standing.destination, sequence) is not None:
            return "waiting"
        return "delivered or not wanted" if sequence <= standing.done else "not wanted"
