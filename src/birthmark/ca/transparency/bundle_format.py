# SPDX-License-Identifier: Apache-2.0
"""
Audit bundles: everything about one unit in one file that an outsider verifies offline with the log's key.

Three parts, each behind a line end: the format's name; the manifest, compact JSON with sorted keys; and the proofs of
the log's entries (tlog/bundle.py). The last entry is the one of the making of this bundle: it commits to the manifest
by its SHA-256, and by its link to all entries about the unit before it. docs/reference/audit.md describes it.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec

from birthmark.core.errors import ConfigError, DecodeError

FORMAT: Final = b"birthmark-audit-bundle/2"
BUNDLE_MAX_BYTES: Final = 67_108_864
BUNDLE_MAX_OBJECTS: Final = 16_384
BUNDLE_MAX_THREADS: Final = 256
BUNDLE_ACT: Final = "audit.bundle"

CERTIFICATE: Final = "certificate"
EVIDENCE: Final = "evidence"
BIRTH_RECORD: Final = "birth-record"
PROPOSAL: Final = "proposal"
RULING: Final = "ruling"
OFFICER: Final = "officer-certificate"
RIG: Final = "rig-certificate"
POLICY: Final = "policy"
POLICY_FILE: Final = "policy-file"
TRUST: Final = "trust"
CONFIGURATION: Final = "configuration"
AUTHORITY: Final = "authority-certificate"
RESULT_KEY: Final = "result-key"
"""The kinds of objects. docs/reference/audit.md says what each is, and which entry of the log commits to it."""

_Name = Annotated[str, msgspec.Meta(max_length=256)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class AuditObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object as it is, what it is, and what it belongs to: a certificate's serial, an order, a unit, or ""."""

    kind: _Name
    of: _Name
    sha256: _Digest
    content: bytes

    @property
    def name(self) -> str:
        """How findings name it."""
        return f"{self.kind} {self.of or self.sha256[:16]}"


class ThreadEnd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last entry of a thread (`AuditRow.thread`) when the bundle was made, as the next one would name it."""

    thread: _Name
    last: Annotated[str, msgspec.Meta(max_length=128)]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bundle holds beside the log's entries. `threads`: those of no unit; the unit's ends with the bundle."""

    unit_serial: _Name
    made_at: Annotated[datetime, msgspec.Meta(tz=True)]
    software: _Name
    threads: Annotated[tuple[ThreadEnd, ...], msgspec.Meta(max_length=BUNDLE_MAX_THREADS)]
    objects: Annotated[tuple[AuditObject, ...], msgspec.Meta(max_length=BUNDLE_MAX_OBJECTS)]


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes that the log commits to."""
    return _ENCODER.encode(manifest)


def encode_bundle(manifest: bytes, proofs: bytes) -> bytes:
    """Return the file. Raises DecodeError for one that is too large."""
    data = b"\n".join((FORMAT, manifest, proofs))
    if len(data) > BUNDLE_MAX_BYTES:
        raise _malformed(f"an audit bundle of {len(data)} bytes; at most {BUNDLE_MAX_BYTES} are read")
    return data


def read_bundle_file(path: Path) -> bytes:
    """Return what is in a file, of which no more is read than a bundle has. Raises ConfigError, DecodeError."""
    try:
        with path.open("rb") as file:
            data = file.read(BUNDLE_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name a readable file") from error
    if len(data) > BUNDLE_MAX_BYTES:
        raise _malformed(f"{path}: more than {BUNDLE_MAX_BYTES} bytes")
    return data


def decode_bundle(data: bytes) -> tuple[bytes, Manifest, bytes]:
    """Return the manifest's bytes, the manifest and the proofs; nothing is verified. Raises DecodeError."""
    if len(data) > BUNDLE_MAX_BYTES:
        raise _malformed(f"an audit bundle of {len(data)} bytes; at most {BUNDLE_MAX_BYTES} are read")
    parts = data.split(b"\n", 2)
    if len(parts) != 3 or parts[0] != FORMAT:  # noqa: PLR2004 three parts have two separators
        raise _malformed(f"the file does not begin with {FORMAT.decode()}")
    try:
        manifest = _DECODER.decode(parts[1])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(f"the manifest cannot be read: {error}") from error
    if _ENCODER.encode(manifest) != parts[1]:
        raise _malformed("the manifest is not in its one form")
    return parts[1], manifest, parts[2]


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, finding="audit.bundle")
