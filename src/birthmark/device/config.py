# SPDX-License-Identifier: Apache-2.0
"""device.toml: the keys, their types and their defaults (docs/reference/config.md)."""

from typing import Annotated

import msgspec

from birthmark.core.config import Config


class DeviceConfig(Config, frozen=True):
    """One unit's agent. Paths are relative to the file; `trust`, `issuing` and `device_trust` are PEM."""

    unit: str
    product: str
    chip: str
    ca_url: str
    cloud_url: str
    trust: str
    issuing: str
    device_trust: str | None = None
    endorsements: str | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
