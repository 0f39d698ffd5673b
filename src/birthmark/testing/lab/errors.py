# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong with a lab.

LabError
"""

from birthmark.core.errors import BirthmarkError


class LabError(BirthmarkError):
    """A part of the lab did not start, or DIR is not what the command needs."""

    default_finding = "input.lab"
