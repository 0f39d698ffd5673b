# SPDX-License-Identifier: Apache-2.0
"""
The line's events, told as CFX messages: a pure fold. Each event gives a new story and the messages that it makes.

What the line says between two panels belongs to the session, from the start of the rig's process to its end: its state
changes and faults are numbered in it, so that each has a key of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, cast

from birthmark.line.cfx import mapping
from birthmark.line.cfx.envelope import Envelope, occurrence_id, unique_id
from birthmark.line.cfx.mapping import Ended, Place, Verdict, Work
from birthmark.line.cfx.messages import CFXMessage, FaultCleared, FaultOccurred, StationStateChanged, time_span
from birthmark.line.cfx.structures import AccessType, Fault, FaultCause, FaultSeverity, ResourceState

_CAUSES: Final = (
    ("chip.", FaultCause.ELECTRICAL_FAILURE),
    ("fixture.", FaultCause.POWER_FAILURE),
    ("line.disk", FaultCause.SOFTWARE_FAILURE),
    ("line.unit", FaultCause.PROCESS_ERROR),
)
"""What a finding comes from, by how it begins. Everything else that stops a line is a service that is not there."""
Told = tuple["Story", tuple[Envelope, ...]]


@dataclass(frozen=True, slots=True)
class Story:
    """
    What has been told so far.

    `number` counts the session's state changes and faults, `faults` are those that are not over, in their order.
    """

    handle: str
    rig: str
    session: str
    since: datetime
    state: ResourceState = ResourceState.SHUTDOWN_AND_STARTUP
    number: int = 0
    faults: tuple[Fault, ...] = ()
    work: Work | None = None
    began: tuple[tuple[int, str], ...] = ()
    ended: tuple[Ended, ...] = ()


def ready(story: Story, at: datetime) -> Told:
    """Tell that the rig is ready and waits for a panel."""
    return _change(story, ResourceState.NO_PRODUCT, at)


def arrive(story: Story, work: Work, at: datetime) -> Told:
    """Tell that a panel has come. What it is must be known before its events are heard."""
    return replace(story, work=work, began=(), ended=()), (mapping.arrived(work, at),)


def hear(story: Story, event: Mapping[str, object], at: datetime) -> Told:
    """Tell what an event of the line means; most of them mean nothing to the factory."""
    match event.get("event"):
        case "hold":
            return _hold(story, str(event.get("finding", "")), str(event.get("what", "")), at)
        case "resume":
            return _resume(story, at)
        case "panel.start" if story.work is not None:
            changed, told = _change(story, ResourceState.REGULAR_WORK, at)
            return changed, (*told, mapping.started(story.work, at))
        case "panel.end" if story.work is not None:
            return _end(story, story.work, at)
        case _:
            return _note(story, event, at), ()


def break_off(story: Story, at: datetime) -> Told:
    """Tell that the process ends: a panel that is in work is broken off, and the station shuts down."""
    told: tuple[Envelope, ...] = ()
    if story.work is not None:
        told = (mapping.completed(story.work, story.ended, at),)
        story = replace(story, work=None, began=(), ended=())
    changed, more = _change(story, ResourceState.SHUTDOWN_AND_STARTUP, at)
    return changed, told + more


def _note(story: Story, event: Mapping[str, object], at: datetime) -> Story:
    match event.get("event"):
        case "step.begin":
            return _begin(story, cast("int", event["position"]), at)
        case "verdict":
            return _verdict(story, event, at)
        case _:
            return story


def _begin(story: Story, position: int, at: datetime) -> Story:
    if any(position == each for each, _ in story.began):
        return story
    return replace(story, began=(*story.began, (position, at.isoformat())))


def _verdict(story: Story, event: Mapping[str, object], at: datetime) -> Story:
    position = cast("int", event["position"])
    verdict = cast("Verdict", event["verdict"])
    ended = Ended(
        place=Place(position, str(event.get("unit", "")), bad=verdict == "SKIP"),
        verdict=verdict,
        finding=str(event.get("finding", "")),
        reason=str(event.get("reason", "")),
        began=dict(story.began).get(position),
        ended=at.isoformat(),
    )
    return replace(story, ended=(*story.ended, ended))


def _end(story: Story, work: Work, at: datetime) -> Told:
    in_order = sorted(story.ended, key=lambda each: each.place.position)
    told = (
        mapping.tested(work, in_order, at),
        mapping.completed(work, in_order, at),
        mapping.departed(work, in_order, at),
    )
    changed, more = _change(replace(story, work=None, began=(), ended=()), ResourceState.NO_PRODUCT, at)
    return changed, told + more


def _hold(story: Story, finding: str, what: str, at: datetime) -> Told:
    fault = Fault(
        cause=next((cause for start, cause in _CAUSES if finding.startswith(start)), FaultCause.SERVICES_FAILURE),
        severity=FaultSeverity.ERROR,
        fault_code=finding,
        fault_occurrence_id=occurrence_id(story.rig, story.session, story.number),
        lane=story.work.lane if story.work else None,
        access_type=AccessType.REMOTE,
        description=what or None,
        occurred_at=at.isoformat(),
    )
    first = not story.faults
    story, told = _say(replace(story, faults=(*story.faults, fault)), at, FaultOccurred(fault=fault))
    if not first:
        return story, (told,)
    story, more = _change(story, ResourceState.NO_HOST, at, fault)
    return story, (told, *more)


def _resume(story: Story, at: datetime) -> Told:
    if not story.faults:
        return story, ()
    over, *left = story.faults
    story, told = _say(
        replace(story, faults=tuple(left)), at, FaultCleared(fault_occurrence_id=over.fault_occurrence_id)
    )
    if left:
        return story, (told,)
    back = ResourceState.REGULAR_WORK if story.work is not None else ResourceState.NO_PRODUCT
    story, more = _change(story, back, at)
    return story, (told, *more)


def _change(story: Story, state: ResourceState, at: datetime, fault: Fault | None = None) -> Told:
    if state is story.state:
        return story, ()
    body = StationStateChanged(
        old_state=story.state,
        old_state_duration=time_span(max(0.0, (at - story.since).total_seconds())),
        new_state=state,
        related_fault=fault,
    )
    changed, told = _say(replace(story, state=state, since=at), at, body)
    return changed, (told,)


def _say(story: Story, at: datetime, body: CFXMessage) -> tuple[Story, Envelope]:
    key = f"session:{story.rig}:{story.session}:{story.number}"
    envelope = Envelope(time_stamp=at, unique_id=unique_id(key), source=story.handle, body=body)
    return replace(story, number=story.number + 1), envelope
