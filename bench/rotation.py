# SPDX-License-Identifier: Apache-2.0
"""Rotation: what crosses the link on an open connection, against what has to cross it."""

import tempfile
from pathlib import Path

from rows import Row, row

from birthmark.device.wiring import open_agent
from birthmark.testing.lab.record import RIGS
from birthmark.testing.lab.rig import run_rig
from birthmark.testing.lab.start import lab_down, lab_up


def measure() -> list[Row]:
    """Personalise one board and let it rotate once."""
    with tempfile.TemporaryDirectory(prefix="birthmark-") as directory:
        lab = lab_up(Path(directory), boards=1, chip="none", hsm=False)
        try:
            run = run_rig(Path(lab.rig_configs[RIGS[0]]), Path(lab.panel), lambda _: None)
            with open_agent(Path(lab.boards[0].device_config)) as agent:
                report = agent.rotate()
        finally:
            lab_down(Path(directory))
    certificate_bytes = run.verdicts[0]["certificate_bytes"]
    return [
        row(
            "rotation.bytes_open_connection",
            report.bytes_up + report.bytes_down,
            "B",
            certificate_bytes,
            f"{report.bytes_up} up, {report.bytes_down} down, TLS records and HTTP included; floor: the certificate",
        )
    ]
