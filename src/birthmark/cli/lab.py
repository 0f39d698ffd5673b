# SPDX-License-Identifier: Apache-2.0
"""`birthmark lab`: a whole system on loopback, each part its own process."""

from pathlib import Path

import click

DIR = click.option(
    "--dir", "directory", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where the lab lives."
)


@click.group()
def lab() -> None:
    """Bring a whole system up on free loopback ports, and end it."""


@lab.command()
@DIR
@click.option("--boards", default=8, show_default=True, type=click.IntRange(1, 99), help="Boards on the panel.")
@click.option(
    "--chip",
    default="none",
    show_default=True,
    type=click.Choice(["none", "optiga-trust-m", "se050", "slb9670", "nextgen-pq"]),
    help="Timing of the simulated chips.",
)
@click.option("--tpm", is_flag=True, help="TPM 2.0 chips (swtpm) instead of simulated APDU chips.")
@click.option(
    "--link",
    default="direct",
    show_default=True,
    type=click.Choice(["direct", "smp-serial", "smp-udp"]),
    help="How the rigs reach the chips: on their bus, or through the board's MCU.",
)
@click.option("--hsm", is_flag=True, help="The issuing key in a PKCS#11 token (SoftHSM2).")
@click.option("--json", "as_json", is_flag=True, help="Print lab.json.")
def up(  # noqa: PLR0913 one per option
    directory: Path, boards: int, chip: str, link: str, *, tpm: bool, hsm: bool, as_json: bool
) -> None:
    """Start CA, cloud, chips and rigs' credentials in DIR and print where everything is."""
    from birthmark.testing.lab.start import lab_up
    from birthmark.testing.lab.view import as_table, as_text

    started = lab_up(directory, boards=boards, chip="tpm" if tpm else chip, link=link, hsm=hsm)
    click.echo(as_text(started) if as_json else as_table(started))


@lab.command()
@DIR
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print lab.json.")
def show(directory: Path, name: str | None, *, as_json: bool) -> None:
    """Print where everything in the lab in DIR is, or the one value NAME of its lab.json (for example ca_url)."""
    from birthmark.testing.lab.record import load
    from birthmark.testing.lab.view import as_table, as_text, value_of

    found = load(directory)
    if name is not None:
        click.echo(value_of(found, name))
    else:
        click.echo(as_text(found) if as_json else as_table(found))


@lab.command()
@DIR
def down(directory: Path) -> None:
    """End every process of the lab in DIR; its files stay."""
    from birthmark.testing.lab.start import lab_down

    click.echo(f"{lab_down(directory)} processes ended")
