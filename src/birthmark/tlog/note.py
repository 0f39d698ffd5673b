# SPDX-License-Identifier: Apache-2.0
"""
Signed notes (C2SP signed-note): a text and, behind an empty line, who signed it.

A signature of somebody unknown is passed over. A signature under the name and id of a known key must be right, or the
whole note is refused. Without one right signature of a known key the text is not shown at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from birthmark.core.errors import DecodeError
from birthmark.tlog.errors import LogRequestError, NoteRefused
from birthmark.tlog.keys import KEY_ID_BYTES, Signer, VerifierKey, name_allowed
from birthmark.tlog.text import decode_base64, encode_base64

NOTE_MAX_BYTES = 262_144
NOTE_MAX_SIGNATURES = 64

_DASH = "— "
_PRINTABLE = 0x20


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A text, and the known keys that signed it: at least one, in the order of their signatures."""

    text: str
    keys: tuple[VerifierKey, ...]


@dataclass(frozen=True, slots=True)
class _Signature:
    name: str
    key_id: bytes
    signature: bytes


def sign_note(text: str, signers: Sequence[Signer]) -> bytes:
    """
    Return the note with one signature of every signer, in this order.

    Raises:
        LogRequestError: a text that is no note's, or no signer.
        VerifierKeyRefused, NoteRefused: a signer's name or key cannot be used, or its key signs wrongly.

    """
    if not text.endswith("\n") or not _clean(text) or not 0 < len(signers) <= NOTE_MAX_SIGNATURES:
        raise LogRequestError("a note is lines of text without control characters, and at least one signer")
    lines = [_signature_line(each, text.encode()) for each in signers]
    return "".join([text, "\n", *lines]).encode()


def open_note(data: bytes, keys: Sequence[VerifierKey]) -> OpenedNote:
    """
    Return the text of a note that at least one of these keys has signed.

    Raises:
        DecodeError: not a note.
        NoteRefused: `tlog.note.unsigned` when none of the keys signed it, `tlog.note.signature` when a signature under
            the name and id of one of them is wrong, `tlog.note.ambiguous` when two keys have the same name and id.

    """
    text, signatures = _split(data)
    known = _by_name_and_id(keys)
    signed: list[VerifierKey] = []
    for each in signatures:
        key = known.get((each.name, each.key_id))
        if key is not None:
            key.verify(text.encode(), each.signature)
            signed.append(key)
    if not signed:
        wanted = ", ".join(sorted(key.name for key in keys)) or "nobody"
        raise NoteRefused(f"the note carries no signature of {wanted}", finding="tlog.note.unsigned")
    return OpenedNote(text, tuple(dict.fromkeys(signed)))


def _by_name_and_id(keys: Sequence[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known = {(key.name, key.key_id): key for key in keys}
    if len(known) != len(set(keys)):
        raise NoteRefused("two of the verifier keys have the same name and id", finding="tlog.note.ambiguous")
    return known


def _signature_line(signer: Signer, text: bytes) -> str:
    signature = signer.sign(text)
    return f"{_DASH}{signer.name} {encode_base64(signer.verifier.key_id + signature)}\n"


def _split(data: bytes) -> tuple[str, list[_Signature]]:
    if len(data) > NOTE_MAX_BYTES:
        raise DecodeError(f"a note of {len(data)} bytes, at most {NOTE_MAX_BYTES} are read")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("the note is not UTF-8") from error
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n") or not _clean(whole):
        raise DecodeError("a note is a text, an empty line and lines of signatures, without control characters")
    lines = tail.removesuffix("\n").split("\n")
    if len(lines) > NOTE_MAX_SIGNATURES:
        raise DecodeError(f"the note has {len(lines)} signatures, at most {NOTE_MAX_SIGNATURES} are read")
    return text + "\n", [_read_signature(line) for line in lines]


def _read_signature(line: str) -> _Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not name_allowed(name):
        raise DecodeError("a signature line is a dash, a key's name and base64")
    data = decode_base64(encoded, "a signature in the note")
    if len(data) <= KEY_ID_BYTES:
        raise DecodeError("a signature in the note is too short")
    return _Signature(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def _clean(text: str) -> bool:
    return not any(ord(each) < _PRINTABLE and each != "\n" for each in text)
