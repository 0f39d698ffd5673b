# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong with a transparency log.

TlogError
├── LogRequestError     an entry, a size or an index that this log cannot have
├── ProofRefused        a proof that does not lead from what it is about to the root
├── LogRefused          entries that are not those which the tree head commits to
├── TileRefused         a stored tile that is missing, short, or not that of this tree
├── NoteRefused         a note that nobody we know has signed, or a signature that is wrong
│   └── CheckpointRefused   a well-signed checkpoint of another log
└── VerifierKeyRefused  a key of a kind that signs no notes here

Bytes and texts that are malformed raise core.errors.DecodeError.
"""

from birthmark.core.errors import BirthmarkError


class TlogError(BirthmarkError):
    """Root: the log, or a proof of it, does not hold."""

    default_finding = "tlog.failed"


class LogRequestError(TlogError):
    """The caller asks for what the log cannot have: an index past its end, a size that goes down, an entry too long."""

    default_finding = "tlog.range"


class ProofRefused(TlogError):
    """The proof does not lead to the root. Whatever it was about is not proven."""

    default_finding = "tlog.proof"
    default_hint = "treat the entry as not logged, and keep both for the inquiry"


class LogRefused(TlogError):
    """The entries are not the log that the tree head commits to: one was altered, removed, added or moved."""

    default_finding = "tlog.entries"
    default_hint = "keep these entries and the checkpoint for the inquiry; compare them with another copy of the log"


class TileRefused(TlogError):
    """A stored tile is missing, short, or damaged. Nothing was proven or built from it."""

    default_finding = "tlog.tile"
    default_hint = "make the tiles anew from the entries"


class NoteRefused(TlogError):
    """No signer that we know has signed the note, or one of them has not signed these bytes. Its text says nothing."""

    default_finding = "tlog.note"
    default_hint = "get the log's verifier key from whoever runs the log, not from the note"


class CheckpointRefused(NoteRefused):
    """The checkpoint is signed by a known key and is still not one of this log."""

    default_finding = "tlog.checkpoint"


class VerifierKeyRefused(TlogError):
    """A key of a kind that signs no notes here, or a name that no key may have."""

    default_finding = "tlog.key"
    default_hint = "use an Ed25519 key or one on P-256, and a name without spaces and plus signs"
