# SPDX-License-Identifier: Apache-2.0
"""
How the cloud's refusals and broken set-ups reach a campaign. The CA's refusals are `est.errors.ESTClientRefused`.

AttackError
├── Refused         a service answered with a refusal; `finding` is the service's own
├── CutOff          a service ended the connection without a word; `finding` is what its log says
└── NoVictim        there is nothing to attack
"""

from birthmark.core.errors import BirthmarkError


class AttackError(BirthmarkError):
    """Root: an attack ended without what it wanted."""

    default_finding = "attack.failed"


class Refused(AttackError):
    """A service refused."""


class CutOff(AttackError):
    """A service ended the connection."""


class NoVictim(AttackError):
    """The lab holds no board with an identity."""

    default_finding = "attack.no-victim"
