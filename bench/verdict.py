# SPDX-License-Identifier: Apache-2.0
"""The cloud: a verdict on a device that it has not seen, and on one that it has."""

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from floor import P256
from rows import Row, row, seconds_per_call

from birthmark.cloud.doors import Doors
from birthmark.cloud.revocation import RevocationFeed
from birthmark.cloud.service import Cloud
from birthmark.core.clock import system_clock
from birthmark.pki.crl import build_crl
from birthmark.pki.paths import TrustAnchors
from birthmark.stores.cloud_sqlite import CloudSQLite
from birthmark.testing.forge import Forge

DEVICES = 200
_CRL_S = 3600
_WARM_CALLS = 20_000


def measure(p256: P256) -> list[Row]:
    """Admit new devices one after the other, then one of them again and again."""
    forge = Forge.at(system_clock())
    leaves = [forge.device(f"BM-{n:06d}").certificate.public_bytes(Encoding.DER) for n in range(DEVICES)]
    with _cloud(forge) as cloud:
        begun = time.perf_counter()
        for leaf in leaves:
            cloud.admit(leaf, ())
        cold_s = (time.perf_counter() - begun) / DEVICES
        warm_s = seconds_per_call(lambda: cloud.admit(leaves[0], ()), _WARM_CALLS)
    hash_s = seconds_per_call(lambda: hashlib.sha256(leaves[0]).digest(), _WARM_CALLS)
    return [
        row(
            "cloud.verdict_cold_us",
            cold_s * 1e6,
            "us",
            p256.cold_verdict_s * 1e6,
            "first contact, written to SQLite; floor: its three verifications",
        ),
        row("cloud.verdict_warm_us", warm_s * 1e6, "us", hash_s * 1e6, "floor: one SHA-256 of the certificate"),
    ]


@contextmanager
def _cloud(forge: Forge) -> Iterator[Cloud]:
    trust = TrustAnchors((forge.root.certificate,), (forge.issuing.certificate,))
    crl = build_crl((), forge.issuing.key, forge.issuing.certificate, forge.moment, _CRL_S)

    feed = RevocationFeed(lambda: crl, (forge.issuing.certificate,), system_clock)
    feed.pull()
    with tempfile.TemporaryDirectory() as directory:
        registry = CloudSQLite(Path(directory) / "cloud.sqlite")
        try:
            yield Cloud(Doors(trust, forge.endorsements(), None), registry, feed, system_clock)
        finally:
            registry.close()
