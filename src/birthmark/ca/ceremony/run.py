# SPDX-License-Identifier: Apache-2.0
"""
Holds a ceremony: does the acts of a plan one after the other, and ends with a signed transcript.

```text
in the journal   is it there?   then
-                no             journal "begun", make it, journal "done"
-                yes            refuse: it is not ours
begun            no             make it, journal "done"
begun            yes            ours: made just before the interruption; journal "done"
done             as recorded    go on
done             otherwise      refuse: somebody changed it
```
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from birthmark.ca.ceremony import files
from birthmark.ca.ceremony.acts import Act, Bench, acts
from birthmark.ca.ceremony.errors import CeremonyChanged, CeremonyRefused
from birthmark.ca.ceremony.journal import (
    Begun,
    Done,
    Finished,
    Journal,
    Line,
    Opened,
    Started,
    open_journal,
    read_journal,
)
from birthmark.ca.ceremony.plan import Plan, digest
from birthmark.ca.ceremony.present import put_present
from birthmark.ca.ceremony.problems import find_problems
from birthmark.ca.ceremony.rules import Problem
from birthmark.ca.ceremony.transcript import (
    ActRecord,
    RunRecord,
    Transcript,
    sha256_of,
    sign_transcript,
    verify_transcript,
)
from birthmark.ca.ceremony.workshop import Workshop
from birthmark.core.clock import Clock
from birthmark.core.config import read_file
from birthmark.core.ids import fingerprint

TRANSCRIPT_NAME = "transcript.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a ceremony ended: the file with its transcript, that file's SHA-256, and the roots' fingerprints."""

    plan: Plan
    transcript: Path
    transcript_sha256: str
    roots: dict[str, str]
    already: bool
    """It had ended before: this run has done nothing."""


Tell = Callable[[str], None]


def hold(plan: Plan, home: Path, clock: Clock, software: dict[str, str], tell: Tell) -> Outcome:
    """
    Hold the ceremony, or go on with one that was interrupted. `software` names the versions that are used.

    Raises:
        CeremonyRefused: a problem stands in the way (`ceremony.problems`), or another run is under way
            (`ceremony.running`). Nothing was changed.
        CeremonyChanged: what was made before the interruption is not as it was.
        KeyStoreError: a token or a key file fails. The next run goes on.
        OSError: a file cannot be written. The next run goes on.

    """
    folder = home / plan.folder
    before = read_journal(folder)
    finished = _finished(plan, before)
    if finished:
        return _outcome(plan, home, finished, already=True)
    _require_no_problems(find_problems(plan, home, clock()))
    with open_journal(folder) as journal, Workshop(plan, home) as workshop:
        _require_alone(journal, before)
        if not before:
            journal.add(Opened(at=clock(), plan_sha256=digest(plan)))
        journal.add(Started(at=clock(), software=software))
        bench = Bench(plan, workshop)
        put_present(bench)
        for act in acts(plan):
            _do(act, bench, journal, clock, tell)
        finished = _end(bench, journal, clock)
    return _outcome(plan, home, finished, already=False)


def _require_no_problems(problems: list[Problem]) -> None:
    if problems:
        first, more = problems[0], len(problems) - 1
        message = f"{first.id}: {first.text}" + (f" (and {more} more)" if more else "")
        raise CeremonyRefused(message, finding="ceremony.problems")


def _finished(plan: Plan, lines: tuple[Line, ...]) -> Finished | None:
    """Return how this very plan ended, if it did. Its keys' media need not be there any more."""
    ours = any(isinstance(line, Opened) and line.plan_sha256 == digest(plan) for line in lines)
    return next((line for line in lines if ours and isinstance(line, Finished)), None)


def _require_alone(journal: Journal, before: tuple[Line, ...]) -> None:
    """What was found beforehand holds only if nobody was here since."""
    if tuple(journal.lines) != before:
        raise CeremonyRefused("another run has just been here", hint="run it again", finding="ceremony.running")


def _do(act: Act, bench: Bench, journal: Journal, clock: Clock, tell: Tell) -> None:
    found = act.find(bench)
    recorded = journal.done.get(act.name)
    if recorded is not None:
        _require_unchanged(act, recorded, found)
        return
    if act.name not in journal.begun:
        if found is not None:
            raise CeremonyRefused(f"{act.name} is there already; nothing is overwritten", finding="ceremony.present")
        journal.add(Begun(at=clock(), act=act.name))
    facts = act.make(bench) if found is None else found
    journal.add(Done(at=clock(), act=act.name, facts=facts))
    tell(act.name)


def _require_unchanged(act: Act, recorded: Done, found: dict[str, str | tuple[str, ...]] | None) -> None:
    if found is None:
        raise CeremonyChanged(f"{act.name} was made and is gone")
    if found != recorded.facts:
        raise CeremonyChanged(f"{act.name} is not what the journal says that was made")


def _end(bench: Bench, journal: Journal, clock: Clock) -> Finished:
    """Write the transcript. An attempt that was cut off before it was journalled is replaced: it says the same."""
    path = bench.workshop.path(bench.plan.folder) / TRANSCRIPT_NAME
    text = sign_transcript(_transcript(bench.plan, journal, clock), bench)
    path.unlink(missing_ok=True)
    files.write_new(path, text, files.PUBLIC_MODE)
    finished = Finished(at=clock(), transcript_sha256=fingerprint(text))
    journal.add(finished)
    return finished


def _transcript(plan: Plan, journal: Journal, clock: Clock) -> Transcript:
    begun, done = journal.begun, journal.done
    return Transcript(
        rehearsal=plan.rehearsal,
        plan_sha256=digest(plan),
        plan=plan,
        runs=tuple(RunRecord(at=run.at, software=run.software) for run in journal.started),
        acts=tuple(
            ActRecord(act=name, begun=begun[name], done=line.at, facts=line.facts) for name, line in done.items()
        ),
        finished=clock(),
    )


def _outcome(plan: Plan, home: Path, finished: Finished, *, already: bool) -> Outcome:
    path = home / plan.folder / TRANSCRIPT_NAME
    proven = verify_transcript(path)
    if fingerprint(read_file(path)) != finished.transcript_sha256:
        raise CeremonyChanged(f"{path} is not the transcript that was written")
    roots = {one.subject.rfc4514_string(): sha256_of(one) for one in proven.signers}
    return Outcome(plan, path, finished.transcript_sha256, roots, already)
