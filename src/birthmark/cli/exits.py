# SPDX-License-Identifier: Apache-2.0
"""
Exit codes: what a script may rely on (docs/reference/exit-codes.md).

Errors carry dotted findings; this is the only place that turns a finding into a code.
"""

from collections.abc import Mapping
from enum import IntEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final


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
    """The port is occupied, or the address is none of ours."""
    INTERNAL = 70
    """A defect of ours. BIRTHMARK_DEBUG=1 shows the traceback."""


FINDINGS: Final[Mapping[Exit, tuple[str, ...]]] = MappingProxyType(
    {
        Exit.NOT_HELD: (
            "attack.*",
            "audit.*",
            "birth.*",
            "ca.*",
            "ceremony.*",
            "cfx.*",
            "cloud.*",
            "cmw.*",
            "csr.*",
            "delivery.*",
            "device.*",
            "est.*",
            "evidence.*",
            "feed.*",
            "jws.*",
            "ledger.*",
            "legacy.*",
            "line.*",
            "name.*",
            "ocsp.*",
            "pki.*",
            "proposal.*",
            "reconcile.*",
            "run.*",
            "tlog.*",
        ),
        Exit.USAGE: ("usage.*",),
        Exit.INPUT: (
            "audit.bundle",
            "ceremony.plan.*",
            "config.*",
            "decode.*",
            "id.*",
            "input.*",
            "line.panel.*",
            "line.plan.*",
            "net.front.missing",
            "net.tls-files",
            "pki.trust",
            "store.foreign",
            "store.version",
            "tlog.key",
        ),
        Exit.CHIP: ("chip.*",),
        Exit.UNREACHABLE: ("line.hold.*", "line.power.*", "line.units.*", "net.*", "tls.*"),
        Exit.KEY: ("key.*",),
        Exit.DISK: ("disk.*", "line.disk", "store.*"),
        Exit.PORT: ("net.listen", "net.port-occupied"),
        Exit.INTERNAL: ("internal",),
    }
)
"""Which findings end with which code. Of several patterns that fit, the longest decides."""


def exit_for(finding: str) -> Exit:
    """Return the exit code of a finding; what has no code of its own was simply refused."""
    fitting = [(len(pattern), code) for code in FINDINGS for pattern in FINDINGS[code] if fnmatchcase(finding, pattern)]
    return max(fitting)[1] if fitting else Exit.NOT_HELD
