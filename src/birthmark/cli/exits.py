# SPDX-License-Identifier: Apache-2.0
"""
Exit codes: what a script may rely on (docs/reference/exit-codes.md).

Errors carry dotted findings; this is the only place that turns a finding into a code.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Every exit code of the program."""

    OK = 0
    NOT_HELD = 1
    """Something was refused or did not hold: a board failed, an attack got through, a certificate is not accepted."""
    USAGE = 2
    """The command line is wrong (click's own code)."""
    INPUT = 3
    """A file cannot be read or used: configuration, certificate, order, panel."""
    CHIP = 4
    """No chip on the bus, or the chip or its link failed."""
    UNREACHABLE = 5
    """A service cannot be reached, or its TLS cannot be trusted."""
    KEY = 6
    """A key store refuses: wrong PIN or passphrase, missing token or key."""
    DISK = 7
    """The disk is full or cannot be written."""
    PORT = 8
    """The port is occupied."""
    INTERNAL = 70
    """A defect of ours. BIRTHMARK_DEBUG=1 shows the traceback."""


_BY_PREFIX = (
    ("net.port-occupied", Exit.PORT),
    ("net.", Exit.UNREACHABLE),
    ("tls.", Exit.UNREACHABLE),
    ("config.", Exit.INPUT),
    ("input.", Exit.INPUT),
    ("decode.", Exit.INPUT),
    ("id.", Exit.INPUT),
    ("chip.", Exit.CHIP),
    ("key.", Exit.KEY),
    ("line.disk", Exit.DISK),
    ("disk.", Exit.DISK),
    ("internal", Exit.INTERNAL),
)


def exit_for(finding: str) -> Exit:
    """Return the exit code of a finding; what has no code of its own was simply refused."""
    return next((code for prefix, code in _BY_PREFIX if finding.startswith(prefix)), Exit.NOT_HELD)
