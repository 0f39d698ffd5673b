# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a ledger that was restored."""

from birthmark.ca.errors import CAError


class LedgerRefused(CAError):
    """It is not what a checkpoint signed for."""

    default_finding = "ca.restore.log"
    default_hint = "do not go on with it: keep it, and find out who changed it"
