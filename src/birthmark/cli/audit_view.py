# SPDX-License-Identifier: Apache-2.0
"""How the judgement of an audit bundle is told: to people in 80 columns, to machines as one JSON object."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from birthmark.cli.values import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from birthmark.ca.audit.findings import Judgement, Life, Proven, Unproven
    from birthmark.core.audit import AuditRow

WIDTH: Final = 80
_TOPIC_WIDTH: Final = 12
_ACT_WIDTH: Final = 15


def plain(judged: "Judgement") -> dict[str, Any]:
    """Return the judgement as JSON has it. docs/reference/audit.md lists the members."""
    return {
        "verified": not judged.findings,
        "unit_serial": judged.unit_serial,
        "log": judged.log,
        "log_size": judged.log_size,
        "complete_until": judged.complete_until.isoformat(),
        "software": judged.manifest.software,
        "findings": [{"id": each.id, "member": each.member, "detail": each.detail} for each in judged.findings],
        "certificates": [
            {
                "serial": each.serial,
                "issued": each.issued_at.isoformat(),
                "order": each.order,
                "chip": each.chip,
                "policy": each.policy,
                "birth": each.birth,
                "state": each.state,
            }
            for each in judged.lives
        ],
        "entries": [_plain_entry(number, row) for number, row in judged.rows],
        "others": [_plain_entry(number, row) for number, row in judged.others],
        "proven": [{"topic": each.topic, "text": each.text} for each in judged.proven],
        "not_proven": [{"topic": each.topic, "text": each.text} for each in judged.unproven],
    }


def _plain_entry(number: int, row: "AuditRow") -> dict[str, Any]:
    return {
        "number": number,
        "at": row.at.isoformat(),
        "act": row.act,
        "who": row.who,
        "certificate": row.certificate,
        "chip": row.chip_serial,
        "order": row.order,
        "finding": row.finding,
        "detail": row.detail,
    }


def show(judged: "Judgement") -> None:
    """Print the judgement: the verdict, what stands against it, the unit's story, and what is proven and what not."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    _show_verdict(console, judged)
    _show_findings(console, judged)
    _show_lives(console, judged.lives)
    _show_entries(console, judged)
    _show_told(console, "proven", "green", judged.proven)
    _show_told(console, "not proven by this bundle", "yellow", judged.unproven)


def _show_verdict(console: "Console", judged: "Judgement") -> None:
    from rich.panel import Panel
    from rich.text import Text

    colour, word = ("red", "NOT VERIFIED") if judged.findings else ("green", "VERIFIED")
    until = "made" if judged.findings else "complete until"
    lines = [f"unit {judged.unit_serial}, {until} {_moment(judged.complete_until)} UTC"]
    lines += [f"log {judged.log}, {judged.log_size} entries"] if judged.log else []
    lines += [f"bundle made by {judged.manifest.software}"]
    if judged.findings:
        lines.append(f"{len(judged.findings)} findings: nothing in this file is proven")
    body = Text("\n".join(map(shown, lines)))
    console.print(Panel(body, title=Text(word, f"bold {colour}"), title_align="left", border_style=colour))


def _show_findings(console: "Console", judged: "Judgement") -> None:
    for each in judged.findings:
        console.print(_line(("NO  ", "bold red"), (f"{each.id}  ", "red"), (each.member, "bold")))
        console.print(_indented(each.detail, 4))
    if judged.findings:
        console.print()


def _show_lives(console: "Console", lives: Iterable["Life"]) -> None:
    for each in lives:
        console.print(_line((f"certificate {each.serial}", "bold")))
        for name, text in (
            ("issued", f"{_moment(each.issued_at)} under {each.order}"),
            ("chip", each.chip),
            ("policy", each.policy),
            ("birth", each.birth or "never confirmed"),
            ("state", each.state),
        ):
            console.print(_row((f"  {name}", "dim"), text, _TOPIC_WIDTH))
        console.print()


def _show_entries(console: "Console", judged: "Judgement") -> None:
    rows = sorted([*judged.rows, *judged.others], key=lambda each: each[0])
    if not rows:
        return
    console.print(_line(("entries of the log, times in UTC", "bold")))
    for number, row in rows:
        act = row.act if len(row.act) <= _ACT_WIDTH else f"{row.act[: _ACT_WIDTH - 1]}…"
        console.print(_line(f"{number:>7}  {_moment(row.at)}  ", (f"{act:<{_ACT_WIDTH}}  ", "cyan"), row.who))
        if row.finding:
            console.print(_indented(f"REFUSED {row.finding}", 9, "yellow"))
        told = " ".join(filter(None, (row.certificate, row.detail)))
        if told:
            console.print(_indented(told, 9, "dim"))
    console.print()


def _show_told(console: "Console", title: str, colour: str, told: "Iterable[Proven | Unproven]") -> None:
    every = tuple(told)
    if not every:
        return
    console.print(_line((title, f"bold {colour}")))
    topic = ""
    for each in every:
        console.print(_row((f"  {each.topic if each.topic != topic else ''}", colour), each.text, _TOPIC_WIDTH + 2))
        topic = each.topic
    console.print()


def _line(*parts: str | tuple[str, str]) -> "Text":
    from rich.text import Text

    escaped = [shown(each) if isinstance(each, str) else (shown(each[0]), each[1]) for each in parts]
    return Text.assemble(*escaped, overflow="fold")


def _indented(text: str, by: int, style: str = "") -> Any:
    from rich.padding import Padding
    from rich.text import Text

    return Padding(Text(shown(text), style, overflow="fold"), (0, 0, 0, by), expand=False)


def _row(name: tuple[str, str], text: str, width: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(width=width, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(*name), Text(shown(text)))
    return row


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
