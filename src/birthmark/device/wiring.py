# SPDX-License-Identifier: Apache-2.0
"""The agent put together: the only place that chooses its chip, its clock and its connections."""

from pathlib import Path

from birthmark.core.clock import system_clock
from birthmark.core.config import load, read_file
from birthmark.core.errors import ConfigError, DecodeError
from birthmark.core.ids import unit_serial
from birthmark.device.acceptance import Standards
from birthmark.device.config import DeviceConfig
from birthmark.device.links import ChipLinks
from birthmark.device.renewal import Renewal
from birthmark.device.service import Agent
from birthmark.evidence.endorsements import read_endorsements
from birthmark.pki.paths import TrustAnchors, read_certificates, read_trust
from birthmark.silicon.address import open_chip


def open_agent(config_path: Path) -> Agent:
    """
    Return the agent of one unit with its chip open; use it as a context manager.

    Raises:
        ConfigError: a file that cannot be used.
        ChipError: the chip is not there.

    """
    config = load(DeviceConfig, config_path)
    folder = config_path.parent
    unit = _unit(config.unit, config_path)
    trust_pem = read_file(folder / config.trust)
    standards = _standards(config, folder, trust_pem)
    chip = open_chip(config.chip)
    links = ChipLinks(chip, config.cloud_url, config.ca_url, trust_pem, config.timeout_s)
    return Agent(chip, unit, links, lambda: Renewal(chip, unit, links, standards, system_clock))


def _standards(config: DeviceConfig, folder: Path, trust_pem: bytes) -> Standards:
    if config.device_trust is not None:
        trust_pem = trust_pem + b"\n" + read_file(folder / config.device_trust)
    root = read_trust(trust_pem, str(folder / (config.device_trust or config.trust)))
    issuing = read_certificates(read_file(folder / config.issuing), str(folder / config.issuing))
    # Whatever stands in `issuing` helps to build a path; only `trust` ends one.
    trust = TrustAnchors(root.certs, (*root.intermediates, *issuing))
    if config.endorsements is None:
        return Standards(trust)
    return Standards(trust, read_endorsements(folder / config.endorsements, read_file))


def _unit(text: str, where: Path) -> str:
    try:
        return unit_serial(text)
    except DecodeError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error
