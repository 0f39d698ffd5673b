# SPDX-License-Identifier: Apache-2.0
"""A CA process that keeps the units of rigs, each of which has a certificate of its own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from birthmark.line.wire_units import WireUnits
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki.authorities import make_rig
from birthmark.testing.forge import new_key
from support.ca_process import CAFiles, running_ca

SECRET_MODE = 0o600
UNITS = "units.sqlite"
"""The file in the CA's folder, where no connection string names a database."""


@contextmanager
def at_a_ca(folder: Path, rigs: Sequence[str], dsn: str = "") -> Iterator[Callable[[str], WireUnits]]:
    """Run the CA; yield what opens its units for one of the rigs, which its one order names."""
    files = CAFiles(folder)
    for rig in rigs:
        key = new_key()
        files.identity(rig, key, make_rig(files.operations, rig, key.public_key(), files.now))
    files.put_order(replace(files.order, rigs=tuple(rigs)))
    secret = folder / "units-dsn"
    secret.touch(SECRET_MODE)
    secret.write_text(dsn)
    kept_in = 'units_dsn_file = "units-dsn"' if dsn else f'units_database = "{UNITS}"'
    files.config.write_text(f"{kept_in}\n{files.config.read_text()}")
    trust = folder.joinpath("root.pem").read_bytes()
    with running_ca(files) as ca:
        yield lambda rig: WireUnits(
            HTTPTransport(ca.url, client_context(trust, folder / f"{rig}.pem", folder / f"{rig}.key"))
        )
