# SPDX-License-Identifier: Apache-2.0
"""
Checkpoints (C2SP tlog-checkpoint): a signed note that says how long a log is and what its root is.

The origin of a log is the name of its key, so that the verifier key alone says which log a checkpoint must be of.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from birthmark.core.errors import DecodeError
from birthmark.tlog.errors import CheckpointRefused, LogRequestError
from birthmark.tlog.keys import Signer, VerifierKey
from birthmark.tlog.note import open_note, sign_note
from birthmark.tlog.text import decode_base64, decode_decimal, encode_base64
from birthmark.tlog.tree import EMPTY_ROOT, HASH_BYTES, SIZE_MAX, TreeHead

CHECKPOINT_MAX_EXTENSIONS = 16

_FIXED_LINES = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself at one moment. An extension line is a name, a space and a value."""

    origin: str
    head: TreeHead
    extensions: tuple[str, ...] = ()


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> bytes:
    """
    Return the checkpoint as a note of these signers, one of them under the name of the origin.

    That it goes on from the last checkpoint is for the caller to prove first: `reading.prove_consistency`.

    Raises:
        LogRequestError: no signer has the name of the origin, or the checkpoint is none.
        VerifierKeyRefused, NoteRefused: see `sign_note`.

    """
    if checkpoint.origin not in {signer.name for signer in signers}:
        raise LogRequestError(f"nobody signs under the name of the log, {checkpoint.origin}")
    names = [_extension_name(line) for line in checkpoint.extensions]
    text = encode_checkpoint(checkpoint)
    try:
        decode_checkpoint(text, names)
    except DecodeError as error:
        raise LogRequestError(f"what is to be signed is not a checkpoint: {error.message}") from error
    return sign_note(text, signers)


def open_checkpoint(data: bytes, keys: Sequence[VerifierKey], extensions: Collection[str] = ()) -> Checkpoint:
    """
    Return the checkpoint of the log whose key is among these; other keys may be those of witnesses.

    `extensions` are the names of the extension lines that are accepted.

    Raises:
        DecodeError: not a note, or not a checkpoint in it.
        NoteRefused: nobody known signed it, or one of them wrongly.
        CheckpointRefused: it is signed, and not by the log that it is of.

    """
    note = open_note(data, keys)
    checkpoint = decode_checkpoint(note.text, extensions)
    if checkpoint.origin not in {key.name for key in note.keys}:
        signed = ", ".join(key.name for key in note.keys)
        told = f"the checkpoint is one of the log {checkpoint.origin}, signed by {signed}"
        raise CheckpointRefused(told, finding="tlog.checkpoint.origin")
    return checkpoint


def encode_checkpoint(checkpoint: Checkpoint) -> str:
    """Return the text that is signed."""
    head = checkpoint.head
    lines = [checkpoint.origin, str(head.size), encode_base64(head.root), *checkpoint.extensions]
    return "".join(f"{line}\n" for line in lines)


def decode_checkpoint(text: str, extensions: Collection[str] = ()) -> Checkpoint:
    """Return what the text of a note says. Raises DecodeError for anything else than a checkpoint in its one form."""
    lines = text.split("\n")
    if len(lines) <= _FIXED_LINES or lines.pop() or not all(lines):
        raise DecodeError("a checkpoint is an origin, a size and a root, each on its line")
    size = decode_decimal(lines[1], "the size in a checkpoint")
    root = decode_base64(lines[2], "the root in a checkpoint")
    if size > SIZE_MAX or len(root) != HASH_BYTES or (size == 0 and root != EMPTY_ROOT):
        raise DecodeError("the checkpoint has a size or a root that no log has")
    named = tuple(lines[_FIXED_LINES:])
    if len(named) > CHECKPOINT_MAX_EXTENSIONS or not all(_extension_name(line) in extensions for line in named):
        raise DecodeError("the checkpoint has extension lines that are not expected here")
    return Checkpoint(lines[0], TreeHead(size, root), named)


def _extension_name(line: str) -> str:
    return line.partition(" ")[0]
