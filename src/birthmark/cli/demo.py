# SPDX-License-Identifier: Apache-2.0
"""`birthmark demo`: the whole chain, end to end, with everything measured."""

import sys
from pathlib import Path

import click

from birthmark.cli.exits import Exit
from birthmark.cli.values import OUTPUT


@click.command()
@click.option("--boards", default=8, show_default=True, type=click.IntRange(1, 32), help="Boards on the panel.")
@click.option(
    "--chip",
    default="optiga-trust-m",
    show_default=True,
    type=click.Choice(["none", "optiga-trust-m", "se050", "slb9670", "tpm"]),
    help="Timing of the simulated chip, or a TPM 2.0 (swtpm).",
)
@click.option("--hsm", is_flag=True, help="The issuing key in a PKCS#11 token (SoftHSM2).")
@click.option("--report", type=OUTPUT, metavar="FILE", help="Write report.json here.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), metavar="DIR", help="Keep the lab in DIR.")
def demo(boards: int, chip: str, report: Path | None, directory: Path | None, *, hsm: bool) -> None:
    """Give a panel of boards its identity, connect them, rotate them, and attack it all."""
    from birthmark.testing.demo.run import run_demo

    held = run_demo(boards=boards, chip=chip, hsm=hsm, report=report, directory=directory)
    sys.exit(Exit.OK if held else Exit.NOT_HELD)
