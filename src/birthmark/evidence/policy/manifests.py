# SPDX-License-Identifier: Apache-2.0
"""
Delivery manifests: the serials of the chips that a maker says it has delivered to us.

A text file in UTF-8, one chip serial per line, written as the chip's AK certificate has it. Empty lines and lines that
begin with "#" are for people. The policy names the file with its SHA-256, so nobody changes one without the other.
"""

import hashlib
from collections.abc import Mapping

from birthmark.core.errors import ConfigError, DecodeError
from birthmark.core.ids import chip_serial
from birthmark.evidence.policy.file import DeliveryEntry

Serials = frozenset[str]


def read_manifest(content: bytes, sha256: str, where: str) -> Serials:
    """
    Return the chip serials of a manifest. `where` names the file.

    Raises:
        ConfigError: another digest, no text, or a line that is no chip serial or stands there twice.

    """
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ConfigError(
            f"{where}: its SHA-256 is {digest}, and the policy says {sha256}",
            hint="compare the manifest with what the chip maker sent, then mend the policy",
        )
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: no text in UTF-8, from byte {error.start} on") from error
    serials: set[str] = set()
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            _add(line, serials, f"{where}, line {number}")
    return frozenset(serials)


def _add(line: str, serials: set[str], where: str) -> None:
    try:
        serial = chip_serial(line)
    except DecodeError as error:
        raise ConfigError(f"{where}: {error.message}") from error
    if serial in serials:
        raise ConfigError(f"{where}: {serial} stands there twice")
    serials.add(serial)


def deliveries_of(
    maker: str, model: str, entries: tuple[DeliveryEntry, ...], manifests: Mapping[str, Serials]
) -> tuple[Serials, ...] | None:
    """Return the manifests that hold for a model, its maker's and its own; None when there is none at all."""
    ours = tuple(entry.file for entry in entries if entry.maker == maker and entry.model in {None, model})
    return tuple(manifests[file] for file in ours) if ours else None
