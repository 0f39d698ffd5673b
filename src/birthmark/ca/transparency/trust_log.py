# SPDX-License-Identifier: Apache-2.0
"""
Whom the authority believes to be persons, rigs and devices of the customer, as an entry of the log.

An auditor who has nothing but the log's key learns from it under which CAs the people stood who opened an order, and
which keys were denied by then. The certificates themselves are kept, each under its SHA-256.
"""

from typing import Annotated, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.ports import CAStore, LedgerReader
from birthmark.core.audit import TRUST_ACT, AuditRow, decode_row
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.pki.paths import TrustAnchors

AUTHORITY: Final = "authority"
TRUST_MAX: Final = 4_096
"""Certificates, or denied keys, of which such a document may speak."""
_Digests = Annotated[
    tuple[Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")], ...], msgspec.Meta(max_length=TRUST_MAX)
]


class TrustDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SHA-256 of certificates (DER), and of the keys (SubjectPublicKeyInfo) that are denied, each list sorted."""

    anchors: _Digests
    intermediates: _Digests
    denied_keys: _Digests


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(TrustDocument)


def announce_trust(store: CAStore, trust: TrustAnchors, clock: Clock) -> bool:
    """Write down that this is believed from now on, unless it was last; return whether it is new. Raises StoreError."""
    certificates = [each.public_bytes(Encoding.DER) for each in (*trust.certs, *trust.intermediates)]
    document = _document(trust)
    digest = fingerprint(document)
    with store.reading() as reader:
        if _is_last(reader, digest):
            return False
    with store.writing() as ledger:
        if _is_last(ledger, digest):
            return False
        ledger.keep([document, *certificates])
        detail = f"{len(trust.certs)} anchors, {len(trust.intermediates)} CAs, {len(trust.denied_keys)} denied keys"
        ledger.append([AuditRow(at=clock(), who=AUTHORITY, act=TRUST_ACT, about=digest, detail=detail)])
    return True


def _is_last(ledger: LedgerReader, digest: str) -> bool:
    before = ledger.entries_of_thread(TRUST_ACT)[-1:]
    return bool(before) and decode_row(before[0][1]).about == digest


def read_trust_document(data: bytes) -> TrustDocument:
    """Return what a document says. Raises DecodeError for anything else than one in its one form."""
    try:
        document = _DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a list of trust anchors: {error}", finding="audit.trust") from error
    if _ENCODER.encode(document) != data:
        raise DecodeError("the list of trust anchors is not in its one form", finding="audit.trust")
    return document


def _document(trust: TrustAnchors) -> bytes:
    def sums(certificates: tuple[x509.Certificate, ...]) -> tuple[str, ...]:
        return tuple(sorted({fingerprint(each.public_bytes(Encoding.DER)) for each in certificates}))

    return _ENCODER.encode(
        TrustDocument(
            anchors=sums(trust.certs),
            intermediates=sums(trust.intermediates),
            denied_keys=tuple(sorted(trust.denied_keys)),
        )
    )
