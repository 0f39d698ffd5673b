# SPDX-License-Identifier: Apache-2.0
"""
The steward of a machine's workers, as a program: `python -m birthmark.ca.steward CONFIG`.

It does once what every worker would do otherwise: checkpoints, lapses, responses signed beforehand, lists without TLS.
Its turn comes after the workers': who waits for a certificate waits for nothing that can be done a moment later.
"""

import os
import signal
import sys
from pathlib import Path

from birthmark.ca.wiring import steward
from birthmark.core.errors import BirthmarkError

NICENESS = 10
"""Beside one busy worker on one core: about a tenth of the worker's share, enough for a checkpoint every second."""
_STOPS = (signal.SIGTERM, signal.SIGINT)


def main(config: str) -> None:
    """Do the chores until SIGTERM; say in one line why not."""
    os.nice(NICENESS)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # before any thread begins: they inherit it
    try:
        steward(Path(config), lambda: signal.sigwait(_STOPS))
    except BirthmarkError as error:
        sys.exit(f"{error.finding}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
