# SPDX-License-Identifier: Apache-2.0
"""Everything that would stop a ceremony, found beforehand: nothing is written, no key made, no PIN tried twice."""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from birthmark.ca.ceremony.acts import Bench
from birthmark.ca.ceremony.file import TokenKey
from birthmark.ca.ceremony.journal import NAME as JOURNAL
from birthmark.ca.ceremony.journal import Begun, Line, Opened, read_journal
from birthmark.ca.ceremony.plan import Plan, PlannedKey, digest
from birthmark.ca.ceremony.present import put_present_one
from birthmark.ca.ceremony.rules import Problem, broken_rules, clock_problem, planned_files
from birthmark.ca.ceremony.workshop import Workshop
from birthmark.core.errors import BirthmarkError


def find_problems(plan: Plan, home: Path, at: datetime) -> list[Problem]:
    """
    Return what stands in the way of the plan, here and now.

    What an interrupted run of the same plan has begun does not. The first run alone minds the clock.

    Raises:
        CeremonyChanged: `ceremony.journal`, the folder's journal is damaged.

    """
    lines = read_journal(home / plan.folder)
    broken = [*_other_plan(plan, lines), *broken_rules(plan)]
    if broken:
        return broken
    with Workshop(plan, home) as workshop:
        return [*_clock(plan, lines, at), *_files(plan, home, lines), *_keys(plan, workshop, lines)]


def _other_plan(plan: Plan, lines: tuple[Line, ...]) -> Iterator[Problem]:
    begun = next((line.plan_sha256 for line in lines if isinstance(line, Opened)), digest(plan))
    if begun != digest(plan):
        yield Problem("ceremony.other-plan", f"{plan.folder} holds the ceremony of another plan, {begun}")


def _clock(plan: Plan, lines: tuple[Line, ...], at: datetime) -> Iterator[Problem]:
    problem = None if any(isinstance(line, Opened) for line in lines) else clock_problem(plan, at)
    if problem:
        yield problem


def _files(plan: Plan, home: Path, lines: tuple[Line, ...]) -> Iterator[Problem]:
    if not lines:
        yield from _folder(home / plan.folder)
    folder = (home / plan.folder).resolve()
    for name in planned_files(plan):
        path = home / name
        if path.parent.resolve() != folder and not _is_writable(path.parent):
            yield Problem("ceremony.directory", f"{path.parent}, for {path.name}, is no directory that can be written")
        if not lines and path.exists():
            yield Problem("ceremony.present", f"{path} is there already")


def _folder(folder: Path) -> Iterator[Problem]:
    if folder.exists() and (not folder.is_dir() or any(map(_is_foreign, folder.iterdir()))):
        yield Problem("ceremony.folder", f"{folder} is not an empty or new directory")


def _is_foreign(path: Path) -> bool:
    """Tell whether a file in the folder is not ours: a run that was cut off at once leaves a journal without a line."""
    return path.name != JOURNAL or path.stat().st_size > 0


def _is_writable(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def _keys(plan: Plan, workshop: Workshop, lines: tuple[Line, ...]) -> Iterator[Problem]:
    begun = {line.act for line in lines if isinstance(line, Begun)}
    bench, dead = Bench(plan, workshop), set[str]()
    for section in plan.tokens:
        try:
            workshop.token(section.label)
        except BirthmarkError as error:
            dead.add(section.label)
            yield Problem(error.finding, f"token {section.label}: {error.message}")
    for key in plan.keys:
        if f"key {key.id}" not in begun and not (isinstance(key.place, TokenKey) and key.place.token in dead):
            yield from _key(bench, key)


def _key(bench: Bench, key: PlannedKey) -> Iterator[Problem]:
    """Look for the key: one that is there must be, and one that is to be made must not."""
    try:
        if key.present:
            put_present_one(bench, key)
        elif isinstance(key.place, TokenKey) and bench.workshop.is_taken(key.place):
            yield Problem("key.exists", f"token {key.place.token} has something labelled {key.place.label!r} already")
    except BirthmarkError as error:
        yield Problem(error.finding, f"key {key.id}: {error.message}")
