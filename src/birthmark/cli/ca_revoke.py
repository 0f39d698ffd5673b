# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca revoke`: end a certificate, or all of a unit, a chip, an attestation key or a chip model."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from birthmark.cli.values import CERTIFICATE_SERIAL, UNIT, Value

if TYPE_CHECKING:
    from birthmark.ca.life.lifecycle import Lifecycle

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME_MAX: Final = 64


def _ak(text: str) -> str:
    if _DIGEST.fullmatch(text.lower()) is None:
        raise ValueError(f"{text[:64]!r} is no SHA-256 in hexadecimal of an attestation key's SubjectPublicKeyInfo")
    return text.lower()


def _name(text: str) -> str:
    if not 1 <= len(text) <= _NAME_MAX:
        raise ValueError(f"a name has 1 to {_NAME_MAX} characters")
    return text


_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The service's ca.toml."
)
_NAME = Value("name", _name)


@click.command()
@_CONFIG
@click.option("--certificate", type=CERTIFICATE_SERIAL, metavar="SERIAL", help="This one, and those it has replaced.")
@click.option("--unit", type=UNIT, metavar="UNIT", help="Every certificate of the unit.")
@click.option("--chip", type=(_NAME, _NAME), metavar="MAKER SERIAL", help="Every certificate of the chip; deny it.")
@click.option("--ak", type=Value("ak", _ak), metavar="SHA256", help="Every chip of this attestation key; deny it.")
@click.option("--model", type=_NAME, metavar="MODEL", help="Every chip of the model; deny it.")
@click.option("--reason", required=True, help="Why; goes into the audit trail.")
def revoke(config: Path, reason: str, **targets: Any) -> None:
    """Revoke for good, by exactly one of these."""
    from birthmark.ca.wiring import open_ca

    chosen = {name: value for name, value in targets.items() if value is not None}
    if len(chosen) != 1:
        raise click.UsageError(f"name exactly one of {', '.join(f'--{name}' for name in targets)}")
    ((name, target),) = chosen.items()
    with open_ca(config) as authority:
        ended = _REVOKERS[name](authority.lifecycle, target, reason)
    click.echo(ended)


def _certificate(life: "Lifecycle", serial: str, reason: str) -> str:
    from birthmark.ca.life.lifecycle import ADMINISTRATOR

    life.revoke_certificate(ADMINISTRATOR, serial, reason)
    return f"revoked {serial}"


def _unit(life: "Lifecycle", unit: str, reason: str) -> str:
    from birthmark.ca.life.lifecycle import ADMINISTRATOR

    return f"revoked {len(life.revoke_unit(ADMINISTRATOR, unit, reason))} certificates of {unit}"


def _chip(life: "Lifecycle", chip: tuple[str, str], reason: str) -> str:
    from birthmark.ca.life.lifecycle import ADMINISTRATOR
    from birthmark.core.issuance import ChipID

    return f"denied {chip[1]}, revoked {len(life.revoke_chip(ADMINISTRATOR, ChipID(*chip), reason))} certificates"


def _group(kind: str) -> Callable[["Lifecycle", Any, str], str]:
    def revoked(life: "Lifecycle", name: str, reason: str) -> str:
        from birthmark.ca.life.lifecycle import ADMINISTRATOR
        from birthmark.core.issuance import ChipGroup, GroupKind

        count = life.revoke_group(ADMINISTRATOR, ChipGroup(GroupKind(kind), name), reason)
        return f"denied {kind} {name}, revoked {count} certificates"

    return revoked


_REVOKERS: Final[Mapping[str, Callable[["Lifecycle", Any, str], str]]] = {
    "certificate": _certificate,
    "unit": _unit,
    "chip": _chip,
    "ak": _group("ak"),
    "model": _group("model"),
}
