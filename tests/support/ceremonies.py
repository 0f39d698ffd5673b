# SPDX-License-Identifier: Apache-2.0
"""A ceremony's file with software keys, small enough for a test, and a clock that moves."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from birthmark.ca.ceremony.plan import digest
from birthmark.ca.ceremony.reviewed import read_plan, run_reviewed
from birthmark.ca.ceremony.run import Outcome
from support.hierarchy import AT

SOFTWARE = {"birthmark": "test"}

HEAD = """
title = "Device PKI 2026"
organization = "Acme Controls"
begins = 2026-11-23T09:30:00Z
folder = "ceremony"

[[participant]]
name = "Ada Example"
role = "administrator"

[[participant]]
name = "Bob Example"
role = "witness"
"""

ROOT_A = """
[[root]]
id = "root-a"
name = "Acme Device Root A"
standing = "active"
algorithm = "P-384"
validity_days = 9131
key = { kind = "software", file = "usb-a/root-a.key", passphrase_files = ["safe-1/root-a", "safe-2/root-a"] }
"""

ROOT_B = """
[[root]]
id = "root-b"
name = "Acme Device Root B"
standing = "spare"
algorithm = "P-384"
validity_days = 9131
key = { kind = "software", file = "usb-b/root-b.key", passphrase_files = ["safe-1/root-b"] }
"""

ISSUING = """
[[ca]]
id = "issuing"
name = "Acme Device Issuing CA 1"
use = "issuing"
issuer = "root-a"
algorithm = "P-256"
validity_days = 3650
key = { kind = "software", file = "pki/issuing.key", passphrase_files = ["pki/issuing.passphrase"] }
"""

OPERATIONS = """
[[ca]]
id = "operations"
name = "Acme Operations CA 1"
use = "operations"
issuer = "root-a"
algorithm = "P-256"
validity_days = 3650
key = { kind = "software", file = "pki/operations.key", passphrase_files = ["pki/operations.passphrase"] }
"""

SIGNERS = """
[[signer]]
id = "ocsp"
use = "ocsp"
name = "Acme OCSP 1"
issuer = "issuing"
algorithm = "P-256"
validity_days = 397
key = { kind = "software", file = "pki/ocsp.key", passphrase_files = ["pki/ocsp.passphrase"] }

[[signer]]
id = "ear"
use = "ear"
name = "Acme Verifier 1"
issuer = "operations"
algorithm = "P-256"
validity_days = 1825
key = { kind = "software", file = "pki/ear.key", passphrase_files = ["pki/ear.passphrase"] }

[[signer]]
id = "ledger"
use = "ledger"
algorithm = "Ed25519"
key = { kind = "software", file = "pki/ledger.key", passphrase_files = ["pki/ledger.passphrase"] }
"""

BUNDLES = """
[[rollover]]
old = "root-a"
new = "root-b"

[[bundle]]
file = "pki/ca-chain.pem"
certificates = ["issuing", "root-a"]

[[bundle]]
file = "pki/rollover.pem"
certificates = ["root-a", "root-a-with-root-b", "root-b-with-root-a"]
"""

WHOLE = HEAD + ROOT_A + ROOT_B + ISSUING + OPERATIONS + SIGNERS + BUNDLES
DIRECTORIES = ("usb-a", "usb-b", "safe-1", "safe-2", "pki")


def written(home: Path, text: str = WHOLE) -> Path:
    """Write a ceremony's file and mount its media."""
    for name in DIRECTORIES:
        (home / name).mkdir(exist_ok=True)
    path = home / "ceremony.toml"
    path.write_text(text)
    return path


def ticking(at: datetime = AT, step: timedelta = timedelta(seconds=1)) -> Callable[[], datetime]:
    """Return a clock that goes on by a step whenever somebody looks at it."""
    moments = iter(at + step * number for number in range(10_000))
    return lambda: next(moments)


def held(path: Path, clock: Callable[[], datetime] | None = None) -> Outcome:
    """Hold the ceremony of a file as it was reviewed."""
    return run_reviewed(path, digest(read_plan(path)), clock or ticking(), SOFTWARE, lambda _: None)


def contents(home: Path) -> dict[str, bytes]:
    """Return every file below a directory."""
    return {str(path.relative_to(home)): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}
