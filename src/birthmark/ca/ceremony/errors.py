# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong with a ceremony.

CeremonyError
├── CeremonyRefused       it does not begin, or does not go on: what stands in the way is named; nothing was overwritten
├── CeremonyChanged       what a ceremony made is not there any more, or is not what its journal says
└── TranscriptRefused     a transcript that is not signed, or does not agree with its certificates

The ceremony's file itself raises core.errors.ConfigError; tokens and key files raise pki.errors.KeyStoreError.
"""

from birthmark.core.errors import BirthmarkError


class CeremonyError(BirthmarkError):
    """Root: a ceremony did not come to its end."""

    default_finding = "ceremony.failed"


class CeremonyRefused(CeremonyError):
    """The ceremony does not begin, or does not go on."""

    default_finding = "ceremony.refused"
    default_hint = "birthmark ca ceremony plan shows every problem"


class CeremonyChanged(CeremonyError):
    """Something that was made in this ceremony has changed since, or is gone."""

    default_finding = "ceremony.changed"
    default_hint = "find out who changed it; if nobody can say, hold a new ceremony with new labels and files"


class TranscriptRefused(CeremonyError):
    """A transcript that proves nothing."""

    default_finding = "ceremony.transcript"
    default_hint = "ask for the transcript and the certificates as the ceremony wrote them"
