# SPDX-License-Identifier: Apache-2.0
"""cloud.toml: the keys, their types and their defaults (docs/reference/config.md)."""

from datetime import datetime
from typing import Annotated

import msgspec

from birthmark.core.config import Config
from birthmark.pki.crl import PARTITIONS_MAX

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class CloudConfig(Config, frozen=True):
    """One cloud service. Paths are relative to the file; every file named is PEM, except `database`."""

    tls_certificate: str
    tls_key: str
    device_trust: str
    endorsements: str
    crl_url: str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    crl_trust: str
    crl_refresh_s: Seconds = 30.0
    crl_partitions: Annotated[int, msgspec.Meta(ge=0, le=PARTITIONS_MAX)] = 0
    crl_name: str | None = None
    feed_url: str | None = None
    feed_certificate: str | None = None
    feed_key: str | None = None
    host: str = "127.0.0.1"
    port: Port = 0
    database: str = "cloud.sqlite"
    legacy_trust: str | None = None
    legacy_sunset: Moment | None = None
    new_line_serials: str = "^BM-[0-9]{6}$"
    result_signers: str | None = None
