# SPDX-License-Identifier: Apache-2.0
"""`birthmark line yields`: how many units pass, and where they do not."""

import json
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from birthmark.cli.values import shown

if TYPE_CHECKING:
    from birthmark.core.attempts import Attempt
    from birthmark.line.yield_office import Numbers
    from birthmark.line.yields import By, Trouble, Yields

ATTEMPT: Final = "attempt"
STANDS_OUT: Final = "*"
_NUMBERS: Final = ("units", "first-pass", "final", "throughput", "faults", "attempts", "untried", "share", "so far")
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Titles and rows."""
GROUPS: Final = ("rig", "position", "operator", "fixture", "hour", "order", "step", "finding", ATTEMPT)


@click.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The rig's rig.toml.")
@click.option(
    "--since", default="24h", show_default=True, metavar="TIME", help="A time, a span (90m, 8h, 7d), or 'shift'."
)
@click.option("--until", default="", metavar="TIME", help="A time or a span; without it, now.")
@click.option("--rig", default="", metavar="NAME", help="One rig alone; without it, all that share the units' store.")
@click.option("--by", type=click.Choice(GROUPS), default="position", show_default=True, help="What is compared.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def yields(config: Path, since: str, until: str, rig: str, **how: Any) -> None:
    """Print first-pass, final and throughput yield of a period, compared by rig, place, operator, fixture or hour."""
    if how["as_json"] and how["as_csv"]:
        raise click.UsageError("--json or --csv")
    from birthmark.core.errors import DecodeError
    from birthmark.line.wiring import open_yields

    with open_yields(config) as office:
        try:
            period = office.period(since, until)
        except DecodeError as error:
            raise click.UsageError(f"{error.message}; {error.hint}" if error.hint else error.message) from error
        if how["by"] == ATTEMPT:
            _print_attempts((each for each in office.attempts(period) if rig in {"", each.rig}), **how)
            return
        numbers = office.numbers(period, rig)
    _print_numbers(numbers, **how)


def _print_attempts(attempts: Any, *, by: str, as_json: bool, as_csv: bool) -> None:
    from birthmark.line.yield_forms import ATTEMPT_COLUMNS, attempt_members, csv_lines

    del by
    if as_csv:
        for line in csv_lines(ATTEMPT_COLUMNS, map(attempt_members, attempts)):
            click.echo(line, nl=False)
        return
    for attempt in attempts:
        click.echo(json.dumps(attempt_members(attempt)) if as_json else _line(attempt))


def _line(attempt: "Attempt") -> str:
    at = attempt.ended_at.astimezone().isoformat(timespec="seconds")
    where = f"{attempt.rig} {attempt.position}"
    why = f"{attempt.step}  {attempt.finding}" if attempt.finding else ""
    return f"{at}  {where:<10}  {attempt.unit:<12}  {attempt.verdict:<12}  {attempt.outcome:<8}  {why}".rstrip()


def _print_numbers(numbers: "Numbers", *, by: str, as_json: bool, as_csv: bool) -> None:
    from birthmark.line.yield_forms import columns_of, csv_lines, numbers_members, rows_of
    from birthmark.line.yields import By, Trouble

    group: By | Trouble = Trouble(by) if by in set(Trouble) else By(by)
    if as_csv:
        for line in csv_lines(columns_of(group), rows_of(numbers, group)):
            click.echo(line, nl=False)
    elif as_json:
        told = numbers_members(numbers)
        kind = "pareto" if isinstance(group, Trouble) else "by"
        click.echo(json.dumps({**told, "by": {}, "pareto": {}, kind: {by: told[kind][by]}}))
    else:
        _print_whole(numbers)
        _print_table(numbers, group)


def _print_whole(numbers: "Numbers") -> None:
    whole = numbers.whole
    since, until = (
        at.astimezone().isoformat(" ", "minutes")[:16] for at in (numbers.period.since, numbers.period.until)
    )
    click.echo(f"{since} to {until}, {numbers.rig or 'all rigs'}")
    first = f"{whole.first_passed} of {whole.units} units passed at the first attempt"
    click.echo(f"first-pass  {_percent(whole.first_pass)}  {first}")
    click.echo(f"final       {_percent(whole.final)}  {whole.good} of the same {whole.units} units are good now")
    click.echo(f"throughput  {_percent(whole.throughput)}  {whole.passed} of {whole.attempts} attempts passed")
    if whole.untried or whole.repeated or whole.faults:
        click.echo(
            f"not counted: {whole.untried} untried, {whole.repeated} repeated; {whole.faults} faults were retried"
        )


def _print_table(numbers: "Numbers", by: "By | Trouble") -> None:
    from birthmark.cli.tables import table_lines, terminal_width
    from birthmark.line.yields import By

    titles, rows = _groups(numbers, by) if isinstance(by, By) else _bars(numbers, by)
    click.echo()
    if not rows:
        click.echo("no attempt in this period" if isinstance(by, By) else "nothing failed in this period")
        return
    for line in table_lines(titles, rows, numbers=_NUMBERS, width=terminal_width()):
        click.echo(line)
    if any(row[-1] == STANDS_OUT for row in rows):
        click.echo(f"{STANDS_OUT} stands out: fewer pass there at first than chance explains")


def _bars(numbers: "Numbers", by: "Trouble") -> Table:
    titles = (by.value, "attempts", "untried", "share", "so far")
    return titles, [
        (
            shown(bar.name) or "-",
            str(bar.attempts),
            str(bar.untried),
            _percent(bar.share),
            _percent(bar.cumulative),
        )
        for bar in numbers.bars[by]
    ]


def _groups(numbers: "Numbers", by: "By") -> Table:
    from birthmark.line.yields import COLUMNS

    titles = (*COLUMNS[by], "units", "first-pass", "final", "throughput", "faults", "")
    return titles, [
        (*map(_name, group.key), *_cells(group.yields), STANDS_OUT if group.stands_out else "")
        for group in numbers.groups[by]
    ]


def _cells(those: "Yields") -> tuple[str, ...]:
    shares = map(_percent, (those.first_pass, those.final, those.throughput))
    return (str(those.units), *shares, str(those.faults))


def _name(part: str) -> str:
    try:
        moment = datetime.fromisoformat(part) if len(part) > len("2026-11-23") else None
    except ValueError:
        moment = None
    return moment.astimezone().isoformat(" ", "minutes")[:16] if moment else shown(part) or "-"


def _percent(share: float | None) -> str:
    if share is None:
        return "     -"
    # As the station's page has it: not all is not 100.0. Through the shortest decimal, in which 0.57 is 57.0.
    return f"{(Decimal(str(share)) * 100).quantize(Decimal('0.1'), ROUND_FLOOR):>5}%"
