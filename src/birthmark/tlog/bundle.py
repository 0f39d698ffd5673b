# SPDX-License-Identifier: Apache-2.0
"""
Proof bundles: entries of a log, each with its proof, that an outsider verifies offline with the log's verifier key.

A bundle is one or more proofs in the format C2SP tlog-proof, one after the other, by rising index, all under the same
checkpoint. The entry itself stands in the `extra` line, which C2SP leaves to the application and does not authenticate:
it counts only because its leaf hash is what the proof is verified for. A file cut at its header lines is the single
proofs that any C2SP tool reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from birthmark.core.errors import DecodeError
from birthmark.tlog.checkpoint import Checkpoint, open_checkpoint
from birthmark.tlog.errors import LogRequestError
from birthmark.tlog.keys import VerifierKey
from birthmark.tlog.text import decode_base64, decode_decimal, encode_base64
from birthmark.tlog.tiles import check_entry
from birthmark.tlog.tree import HASH_BYTES, leaf_hash, verify_inclusion

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
PROOF_BUNDLE_MAX_BYTES = 16_777_216
PROOF_BUNDLE_MAX_ENTRIES = 4_096
PROOF_MAX_HASHES = 63

_HEADER_LINE = f"{PROOF_HEADER}\n"
_FRONT_LINES = 2


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry, its place in the log, and the hashes from its leaf's sibling up to the root's child."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProofBundle:
    """Entries by rising index, and the signed checkpoint that they are proven under. Nothing in it is verified yet."""

    entries: tuple[ProvenEntry, ...]
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """Entries by rising index that are in the log, and the checkpoint of the log that says so."""

    entries: tuple[ProvenEntry, ...]
    checkpoint: Checkpoint


def verify_bundle(data: bytes, keys: Sequence[VerifierKey]) -> VerifiedBundle:
    """
    Return the entries of a bundle, each of which the log of one of these keys holds.

    Raises:
        DecodeError: not a bundle in its one form.
        NoteRefused, CheckpointRefused: the checkpoint is not one of the log.
        ProofRefused: an entry is not in the log at its index.

    """
    bundle = decode_bundle(data)
    checkpoint = open_checkpoint(bundle.checkpoint, keys)
    for each in bundle.entries:
        verify_inclusion(leaf_hash(each.entry), each.index, each.proof, checkpoint.head)
    return VerifiedBundle(bundle.entries, checkpoint)


def encode_bundle(bundle: ProofBundle) -> bytes:
    """Return the file. Raises LogRequestError for a bundle that `decode_bundle` would not read."""
    parts = []
    for each in bundle.entries:
        check_entry(each.entry)
        front = f"{_HEADER_LINE}extra {encode_base64(each.entry)}\nindex {each.index}\n"
        hashes = "".join(f"{encode_base64(hashed)}\n" for hashed in each.proof)
        parts.append(f"{front}{hashes}\n".encode() + bundle.checkpoint)
    data = b"".join(parts)
    try:
        decode_bundle(data)
    except DecodeError as error:
        raise LogRequestError(f"these entries make no proof bundle: {error.message}") from error
    return data


def decode_bundle(data: bytes) -> ProofBundle:
    """Return what a file holds, unverified. Raises DecodeError for anything else than a bundle in its one form."""
    if len(data) > PROOF_BUNDLE_MAX_BYTES:
        raise DecodeError(f"a proof bundle of {len(data)} bytes, at most {PROOF_BUNDLE_MAX_BYTES} are read")
    try:
        parts = data.decode().split(_HEADER_LINE)
    except UnicodeDecodeError as error:
        raise DecodeError("the proof bundle is not UTF-8") from error
    if parts[0] or not 1 < len(parts) <= PROOF_BUNDLE_MAX_ENTRIES + 1:
        raise DecodeError(f"a proof bundle is up to {PROOF_BUNDLE_MAX_ENTRIES} proofs that begin with {PROOF_HEADER}")
    read = [_decode_proof(part) for part in parts[1:]]
    entries, checkpoint = tuple(entry for entry, _ in read), read[0][1]
    if any(each != checkpoint for _, each in read):
        raise DecodeError("the proofs in the bundle are not all under one checkpoint")
    indices = [entry.index for entry in entries]
    if indices != sorted(set(indices)):
        raise DecodeError("the proofs in the bundle do not stand by rising index")
    return ProofBundle(entries, checkpoint.encode())


def _decode_proof(part: str) -> tuple[ProvenEntry, str]:
    """Return one proof without its header line, and its checkpoint as it stands."""
    front, blank, checkpoint = part.partition("\n\n")
    lines = front.split("\n", _FRONT_LINES + PROOF_MAX_HASHES)
    if not blank or not _FRONT_LINES <= len(lines) <= _FRONT_LINES + PROOF_MAX_HASHES:
        raise DecodeError("a proof is an extra line, an index line, hashes and a checkpoint")
    if not lines[0].startswith("extra ") or not lines[1].startswith("index "):
        raise DecodeError("a proof begins with the entry in an extra line, and an index line")
    entry = decode_base64(lines[0].removeprefix("extra "), "the entry in a proof")
    index = decode_decimal(lines[1].removeprefix("index "), "the index in a proof")
    hashes = tuple(decode_base64(line, "a hash in a proof") for line in lines[_FRONT_LINES:])
    if any(len(hashed) != HASH_BYTES for hashed in hashes):
        raise DecodeError(f"a hash in a proof is not {HASH_BYTES} bytes long")
    return ProvenEntry(index, entry, hashes), checkpoint
