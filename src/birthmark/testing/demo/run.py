# SPDX-License-Identifier: Apache-2.0
"""The demo from end to end: bring a lab up, make the panel, go to the field, rotate, attack, sum up."""

import platform
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec
from rich.console import Console

from birthmark.silicon.address import open_chip
from birthmark.testing.attacks.campaign import attack_lab
from birthmark.testing.attacks.catalogue import Result
from birthmark.testing.demo import field, figures, view
from birthmark.testing.demo.floor import chip_floor_s
from birthmark.testing.demo.report import (
    CERTIFICATE_LIMIT_BYTES,
    PANEL_LIMIT_S,
    AttackRow,
    Report,
    write,
)
from birthmark.testing.lab.record import RIGS, Lab
from birthmark.testing.lab.rig import PanelRun, run_rig
from birthmark.testing.lab.start import lab_down, lab_up

# The panel's limit is promised for this chip's timing on an eight-board panel.
TIMED_CHIP = "optiga-trust-m"
TIMED_BOARDS = 8
_FLOOR_CERTIFICATE_BYTES = 1_500


def run_demo(*, boards: int, chip: str, hsm: bool, report: Path | None, directory: Path | None) -> bool:
    """Run the demo and show it; return whether everything held. Writes report.json when a path is given."""
    console = Console(highlight=False)
    with _lab(console, boards=boards, chip=chip, hsm=hsm, directory=directory) as lab:
        outcome = _play(console, lab)
    view.show_summary(console, outcome)
    if report is not None:
        write(outcome, report)
    return not outcome.not_held


@contextmanager
def _lab(console: Console, *, boards: int, chip: str, hsm: bool, directory: Path | None) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="birthmark-") as fallback:
        where = directory or Path(fallback)
        with console.status("starting the CA, the cloud and the chips, each its own process"):
            lab = lab_up(where, boards=boards, chip=chip, hsm=hsm)
        try:
            signer = "a PKCS#11 token" if hsm else "an encrypted file"
            console.print(f"[bold]lab[/]       {boards} boards, {chip} chips, issuing key in {signer}\n")
            yield lab
        finally:
            lab_down(where)


def _play(console: Console, lab: Lab) -> Report:
    floor_s = _floor(lab)
    with view.BoardsView(console, [board.unit for board in lab.boards]) as boards_view:
        run = run_rig(Path(lab.rig_configs[RIGS[0]]), Path(lab.panel), boards_view.watch)
    if run.stderr.strip():
        console.print(run.stderr.strip(), style="yellow")
    view.show_steps(console, run)
    console.print()
    field.send_commands(lab)
    connected = field.connect_all(lab)
    totals = field.cloud_totals(connected)
    told = f"{totals.onboarded} onboarded, {totals.telemetry} published, {totals.commands} took a command"
    view.show_field(console, connected, f"[bold]cloud[/]     {told}")
    rotated = field.rotate_all(lab)
    rotation = field.rotation_totals(rotated)
    view.show_field(
        console,
        rotated,
        f"[bold]rotation[/]  {sum(day.rotated for day in rotated)} rotated to a new key; "
        f"{rotation.bytes_up} bytes up, {rotation.bytes_down} down",
    )
    results = _attack(console, lab)
    outcome = _report(run, floor_s, lab, (connected, rotated), results)
    view.show_panel(console, outcome)
    return outcome


def _floor(lab: Lab) -> float:
    chip = open_chip(lab.spare.chip)
    try:
        return chip_floor_s(chip, _FLOOR_CERTIFICATE_BYTES)
    finally:
        chip.close()


def _attack(console: Console, lab: Lab) -> list[Result]:
    console.print("[bold]attacks[/]   each over the wire, against what runs here")
    results: list[Result] = []
    for result in attack_lab(lab):
        if not results or results[-1].threat != result.threat:
            view.show_threat(console, result.threat)
        view.show_attack(console, result)
        results.append(result)
    return results


def _report(
    run: PanelRun,
    floor_s: float,
    lab: Lab,
    days: tuple[tuple[field.FieldDay, ...], tuple[field.FieldDay, ...]],
    results: list[Result],
) -> Report:
    connected, rotated = days
    over = run.panel_s / floor_s if floor_s else 0.0
    cloud, rotation = field.cloud_totals(connected), field.rotation_totals(rotated)
    rows = tuple(AttackRow(r.id, r.threat, r.refused, r.finding) for r in results)
    draft = Report(
        boards=len(lab.boards),
        passed=run.passed,
        panel_s=round(run.panel_s, 4),
        board_s=figures.spread_of(run, "board_s"),
        steps=figures.step_spreads(run),
        chip_floor_s=round(floor_s, 4),
        panel_over_chip_floor=round(over, 3),
        software_s=figures.spread_of(run, "software_s"),
        certificate_bytes=max((event["certificate_bytes"] for event in run.verdicts), default=0),
        rotation=rotation,
        cloud=cloud,
        attacks=rows,
        versions=_versions(),
        not_held=(),
    )
    return _with_judgement(draft, lab, [*connected, *rotated])


def _with_judgement(draft: Report, lab: Lab, days: list[field.FieldDay]) -> Report:
    wrong = [f"{draft.boards - draft.passed} boards did not pass"] if draft.passed < draft.boards else []
    wrong += [f"{day.unit}: {day.trouble}" for day in days if day.trouble]
    if draft.cloud.commands < draft.boards:
        wrong.append(f"only {draft.cloud.commands} of {draft.boards} boards took their command")
    if not draft.rotation.ok:
        wrong.append("not every board rotated")
    if draft.certificate_bytes > CERTIFICATE_LIMIT_BYTES:
        wrong.append(f"a certificate has {draft.certificate_bytes} bytes, more than {CERTIFICATE_LIMIT_BYTES}")
    wrong += [f"BREACH {row.id}: {row.finding}" for row in draft.attacks if not row.refused]
    if lab.chip == TIMED_CHIP and draft.boards <= TIMED_BOARDS and draft.panel_s > PANEL_LIMIT_S:
        wrong.append(f"the panel took {draft.panel_s:.3f} s, more than {PANEL_LIMIT_S:.1f} s")
    return msgspec.structs.replace(draft, not_held=tuple(wrong))


def _versions() -> dict[str, str]:
    return {
        "birthmark": version("birthmark"),
        "cryptography": version("cryptography"),
        "python": platform.python_version(),
        "tls": ssl.OPENSSL_VERSION,
    }
