# SPDX-License-Identifier: Apache-2.0
"""
The evidence in a certificate: extension id-pe-cmw (RFC 9999).

The extension's content is the `cbor` choice, an OCTET STRING, around the record `[type, value, indicator]` in
deterministic CBOR. Value is the AttestationBundle of the CSR, byte for byte; the indicator says "evidence".
"""

from cryptography import x509

from birthmark.core import cbor, der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ATTESTATION_BUNDLE_MEDIA_TYPE, CMW_IND_EVIDENCE, ID_PE_CMW
from birthmark.pki.reading import UNREADABLE

_STRUCTURE = "id-pe-cmw"


def cmw_extension(bundle_der: bytes) -> x509.UnrecognizedExtension:
    """Return the extension that carries this AttestationBundle unchanged. To be added as non-critical."""
    record = cbor.encode([ATTESTATION_BUNDLE_MEDIA_TYPE, bundle_der, CMW_IND_EVIDENCE])
    return x509.UnrecognizedExtension(ID_PE_CMW, der.encode(record))


def read_cmw(certificate: x509.Certificate) -> bytes:
    """
    Return the AttestationBundle that a certificate carries.

    Raises:
        DecodeError: `cmw.missing` without the extension, `cmw.malformed` if it is not exactly what we would write.

    """
    try:
        extension = certificate.extensions.get_extension_for_oid(ID_PE_CMW).value
    except x509.ExtensionNotFound as error:
        raise DecodeError("the certificate carries no evidence (id-pe-cmw)", finding="cmw.missing") from error
    except UNREADABLE as error:
        raise DecodeError(f"the certificate's extensions: {error}", finding="cmw.malformed") from error
    return read_cmw_value(extension.public_bytes())


def read_cmw_value(content: bytes) -> bytes:
    """Return the AttestationBundle in the content of the extension. Raises DecodeError with `cmw.malformed`."""
    try:
        record = cbor.decode(der.decode(bytes, content, _STRUCTURE), _STRUCTURE)
    except DecodeError as error:
        raise DecodeError(error.message, finding="cmw.malformed") from error
    match record:
        case [str(kind), bytes(bundle), int(indicator)] if not isinstance(indicator, bool):
            if kind == ATTESTATION_BUNDLE_MEDIA_TYPE and indicator == CMW_IND_EVIDENCE:
                return bundle
    raise DecodeError(f"{_STRUCTURE} is not a record of evidence of our media type", finding="cmw.malformed")
