# SPDX-License-Identifier: Apache-2.0
"""
Audit bundles: everything about one unit in one file that an outsider verifies offline with the log's key.

Three parts, each behind a line end: the format's name; the manifest, compact JSON with sorted keys; and the proofs of
the log's entries (tlog/bundle.py). The last entry is the one of the making of this bundle: it commits to the manifest
by its SHA-256, and by its link to all entries about the unit before it. docs/reference/audit.md describes it.
"""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from birthmark.core.errors import DecodeError

FORMAT: Final = b"birthmark-audit-bundle/1"
BUNDLE_MAX_BYTES: Final = 67_108_864
BUNDLE_ACT: Final = "audit.bundle"

CERTIFICATE: Final = "certificate"
ISSUING_CHAIN: Final = "issuing-chain"
OPERATIONS_CHAIN: Final = "operations-chain"
BIRTH_RECORD: Final = "birth-record"
RIG_CERTIFICATE: Final = "rig-certificate"
ORDER_DOCUMENT: Final = "order-document"
ORDER_RULING: Final = "order-ruling"
OFFICER_CERTIFICATE: Final = "officer-certificate"
KINDS: Final = frozenset(
    {
        CERTIFICATE,
        ISSUING_CHAIN,
        OPERATIONS_CHAIN,
        BIRTH_RECORD,
        RIG_CERTIFICATE,
        ORDER_DOCUMENT,
        ORDER_RULING,
        OFFICER_CERTIFICATE,
    }
)


class AuditObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object as it is, what it is, and what it belongs to: a certificate's serial, an order, or ""."""

    kind: str
    of: str
    sha256: str
    content: bytes


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bundle holds beside the log's entries. `policies`: digests that were in force in the unit's life."""

    unit_serial: str
    made_at: Annotated[datetime, msgspec.Meta(tz=True)]
    software: str
    policies: tuple[str, ...]
    objects: tuple[AuditObject, ...]


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
