# SPDX-License-Identifier: Apache-2.0
"""What an audit refuses."""

from birthmark.core.errors import BirthmarkError


class AuditRefused(BirthmarkError):
    """Something is missing, altered or not what the log says. The finding is one of audit.*."""

    default_finding = "audit.refused"
    default_hint = "keep the file and the checkpoint for the inquiry"
