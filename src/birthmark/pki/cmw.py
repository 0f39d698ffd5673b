# SPDX-License-Identifier: Apache-2.0
"""
What a certificate says about its key's home: extension id-pe-cmw (RFC 9999).

The extension's content is the `cbor` choice, an OCTET STRING, around the record `[type, value, indicator]` in
deterministic CBOR. There are two records, and no others:

* evidence: value is the AttestationBundle of the CSR, byte for byte;
* attestation result: value is an EAR, a signed CWT (draft-ietf-rats-ear), for who must not publish the evidence.
"""

from enum import Enum

from cryptography import x509

from birthmark.core import cbor, der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import (
    ATTESTATION_BUNDLE_MEDIA_TYPE,
    CMW_IND_ATTESTATION_RESULTS,
    CMW_IND_EVIDENCE,
    EAR_MEDIA_TYPE,
    ID_PE_CMW,
)
from birthmark.pki.reading import UNREADABLE

_STRUCTURE = "id-pe-cmw"


class Record(Enum):
    """The kinds of records: media type and indicator."""

    EVIDENCE = (ATTESTATION_BUNDLE_MEDIA_TYPE, CMW_IND_EVIDENCE)
    RESULT = (EAR_MEDIA_TYPE, CMW_IND_ATTESTATION_RESULTS)


_BY_TYPE = {record.value: record for record in Record}


def cmw_content(record: Record, value: bytes) -> bytes:
    """Return the content of the extension around the value, which is carried unchanged."""
    media_type, indicator = record.value
    return der.encode(cbor.encode([media_type, value, indicator]))


def cmw_extension(bundle_der: bytes) -> x509.UnrecognizedExtension:
    """Return the extension that carries this AttestationBundle unchanged. To be added as non-critical."""
    return x509.UnrecognizedExtension(ID_PE_CMW, cmw_content(Record.EVIDENCE, bundle_der))


def read_cmw(certificate: x509.Certificate) -> bytes:
    """
    Return the AttestationBundle that a certificate carries.

    Raises:
        DecodeError: `cmw.missing` without the extension, `cmw.result` if it carries an attestation result instead of
            evidence, `cmw.malformed` if it is not exactly what we would write.

    """
    return _evidence(*read_cmw_record(certificate))


def read_cmw_record(certificate: x509.Certificate) -> tuple[Record, bytes]:
    """Return what a certificate carries, and of which kind it is. Raises DecodeError: `cmw.missing`, `.malformed`."""
    try:
        extension = certificate.extensions.get_extension_for_oid(ID_PE_CMW).value
    except x509.ExtensionNotFound as error:
        raise DecodeError("the certificate carries no evidence (id-pe-cmw)", finding="cmw.missing") from error
    except UNREADABLE as error:
        raise DecodeError(f"the certificate's extensions: {error}", finding="cmw.malformed") from error
    return read_cmw_content(extension.public_bytes())


def read_cmw_value(content: bytes) -> bytes:
    """Return the AttestationBundle in the content of the extension. Raises DecodeError as `read_cmw` does."""
    return _evidence(*read_cmw_content(content))


def read_cmw_content(content: bytes) -> tuple[Record, bytes]:
    """Return the record in the content of the extension. Raises DecodeError with `cmw.malformed`."""
    try:
        record = cbor.decode(der.decode(bytes, content, _STRUCTURE), _STRUCTURE)
    except DecodeError as error:
        raise DecodeError(error.message, finding="cmw.malformed") from error
    match record:
        case [str(media_type), bytes(value), int(indicator)] if not isinstance(indicator, bool):
            kind = _BY_TYPE.get((media_type, indicator))
            if kind is not None:
                return kind, value
    raise DecodeError(f"{_STRUCTURE} is not a record of a media type and indicator of ours", finding="cmw.malformed")


def _evidence(record: Record, value: bytes) -> bytes:
    if record is not Record.EVIDENCE:
        raise DecodeError("the certificate carries an attestation result in place of evidence", finding="cmw.result")
    return value
