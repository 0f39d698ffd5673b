# SPDX-License-Identifier: Apache-2.0
"""
Certificate requests with evidence: PKCS#10 (RFC 2986) and the attribute id-aa-attestation.

The attribute's value is the AttestationBundle exactly as the chip and its host made it. Both directions here work on
the raw bytes, because what the CA copies into the certificate must be what the chip signed.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses
from cryptography.x509.oid import AttributeOID, ExtensionOID

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_AA_ATTESTATION
from birthmark.pki.algorithms import (
    SigningKey,
    VerifyingKey,
    acceptable_signature,
    key_algorithm,
    public_key_of,
    sign_data,
    verify_data,
)
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.reading import UNREADABLE

CSR_MAX_BYTES = 16_384
CHALLENGE_MAX_BYTES = 255
"""pkcs-9-ub-challengePassword (RFC 2985 §5.4.1)."""

_TEXTS = frozenset({b"\x0c", b"\x13"})
"""UTF8String and PrintableString: the DirectoryStrings that RFC 2985 wants written."""
_ID_EXTENSION_REQUEST = OID("1.2.840.113549.1.9.14")  # RFC 2985 §5.4.2


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """
    A request whose signature was verified with its own key, which `spki` spells and `key` is.

    `bundle` is the evidence's raw DER, if there is any. `challenge` is the challengePassword, which nobody has verified
    yet: who sends one counts on that (RFC 7030 §3.5).
    """

    der: bytes
    spki: bytes
    key: PublicKeyTypes = field(repr=False, compare=False)
    subject: x509.Name
    san: x509.SubjectAlternativeName | None
    bundle: bytes | None
    challenge: str | None


@der.sequence
class _Attribute:
    type: OID
    values: der.SetOf[der.TLV]


@der.sequence
class _Info:
    version: int
    subject: der.TLV
    spki: der.TLV
    attributes: Annotated[der.SetOf[_Attribute], der.Implicit(0)]


@der.sequence
class _AlgorithmIdentifier:
    algorithm: OID


@der.sequence
class _Extension:
    oid: OID
    content: bytes


@der.sequence
class _Extensions:
    """A SEQUENCE OF Extension that always has one element."""

    san: _Extension


@der.sequence
class _Signed:
    info: der.TLV
    algorithm: der.TLV
    signature: der.BitString


def request_der(request: bytes) -> bytes:
    """Return the DER of a request that is PEM or DER. Raises DecodeError (csr.malformed); DER is not looked into."""
    if not request.lstrip().startswith(b"-----"):
        return request
    try:
        return x509.load_pem_x509_csr(request).public_bytes(Encoding.DER)
    except UNREADABLE as error:
        raise DecodeError(f"not a certificate request: {error}", finding="csr.malformed") from error


def build_csr(
    key: SigningKey,
    subject: x509.Name,
    bundle_der: bytes | None,
    san: x509.SubjectAlternativeName | None = None,
) -> bytes:
    """
    Return the DER of a request signed by `key`, which may live in a chip.

    Raises:
        AlgorithmRefused: a key of a type that we do not certify.
        DecodeError: a bundle that is not one DER value.

    """
    public = key.public_key()
    info = _Info(
        version=0,
        subject=_any(subject.public_bytes()),
        spki=_any(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        attributes=der.SetOf(_attributes(bundle_der, san)),
    )
    signed = der.encode(info)
    algorithm = _AlgorithmIdentifier(algorithm=key_algorithm(public).signature_oid)
    signature = sign_data(key, signed)
    whole = _Signed(info=_any(signed), algorithm=_any(der.encode(algorithm)), signature=der.BitString(signature, 0))
    return der.encode(whole)


def read_csr(request: bytes) -> CertificateRequest:
    """
    Return a request after its own signature was verified (proof of possession).

    Attributes other than the evidence, a requested SAN and a challengePassword are ignored: the profile decides what a
    certificate says.

    Raises:
        DecodeError: `csr.malformed`; `csr.too-large`, beyond CSR_MAX_BYTES; `csr.algorithm` for a weak signature;
            `csr.possession` for a wrong one; `csr.attestation.malformed` for two attestation attributes, or one
            without exactly one value; `csr.challenge-password` for a challengePassword that is not one short text.

    """
    if len(request) > CSR_MAX_BYTES:
        problem = f"a request of {len(request)} bytes; at most {CSR_MAX_BYTES} are read"
        raise DecodeError(problem, finding="csr.too-large")
    try:
        parsed = x509.load_der_x509_csr(request)
        frame = der.decode(_Signed, request, "the request")
        info = der.parse(_Info, frame.info, "the request")
        _check_whole_bytes(frame.signature)
        spki = der.encode(info.spki)
        key = public_key_of(spki)
        _check_possession(parsed, key, der.encode(frame.info))
        subject, san = parsed.subject, _requested_san(parsed, info)
    except DecodeError as error:
        raise _as_csr(error) from error
    except UNREADABLE as error:
        raise DecodeError(f"not a certificate request: {error}", finding="csr.malformed") from error
    return CertificateRequest(request, spki, key, subject, san, _bundle(info), _challenge(info))


def _as_csr(error: DecodeError) -> DecodeError:
    if error.finding.startswith("csr."):
        return error
    return DecodeError(error.message, finding="csr.malformed")


def _attributes(bundle_der: bytes | None, san: x509.SubjectAlternativeName | None) -> list[_Attribute]:
    attributes = []
    if san is not None:
        extension = _Extension(oid=ExtensionOID.SUBJECT_ALTERNATIVE_NAME, content=san.public_bytes())
        attributes.append(_attribute(_ID_EXTENSION_REQUEST, der.encode(_Extensions(san=extension))))
    if bundle_der is not None:
        attributes.append(_attribute(ID_AA_ATTESTATION, bundle_der))
    return attributes


def _attribute(oid: OID, value: bytes) -> _Attribute:
    return _Attribute(type=oid, values=der.SetOf([_any(value)]))


def _any(value: bytes) -> der.TLV:
    return der.decode(der.TLV, value, "an ANY")


def _check_whole_bytes(signature: der.BitString) -> None:
    # The signature does not cover its own unused bits: a request with some would be a second spelling of one without.
    if signature.padding_bits():
        raise DecodeError("the signature of the request is not a whole number of bytes")


def _check_possession(parsed: x509.CertificateSigningRequest, key: PublicKeyTypes, signed: bytes) -> None:
    try:
        acceptable_signature(parsed)
    except AlgorithmRefused as error:
        raise DecodeError(error.message, hint=error.hint, finding="csr.algorithm") from error
    if not _is_signed(parsed, key, signed):
        raise DecodeError("the request is not signed by the key that it asks for", finding="csr.possession")


def _is_signed(parsed: x509.CertificateSigningRequest, key: PublicKeyTypes, signed: bytes) -> bool:
    """Tell whether the key made the signature. With one that we certify, as its one scheme: the key is loaded once."""
    if not isinstance(key, VerifyingKey) or _scheme(key) != parsed.signature_algorithm_oid:
        return parsed.is_signature_valid
    try:
        verify_data(key, parsed.signature, signed)
    except InvalidSignature:
        return False
    return True


def _scheme(key: VerifyingKey) -> OID | None:
    try:
        return key_algorithm(key).signature_oid
    except AlgorithmRefused:  # a curve that we do not certify
        return None


def _challenge(info: _Info) -> str | None:
    found = [each for each in info.attributes.as_list() if each.type == AttributeOID.CHALLENGE_PASSWORD]
    values = [value for each in found for value in each.values.as_list()]
    if not found:
        return None
    if (
        len(found) == len(values) == 1
        and values[0].tag_bytes in _TEXTS
        and 1 <= len(values[0].data) <= CHALLENGE_MAX_BYTES
    ):
        with suppress(UnicodeDecodeError):
            return bytes(values[0].data).decode("ascii")
    raise DecodeError(
        f"a challengePassword is one ASCII text of 1 to {CHALLENGE_MAX_BYTES} bytes", finding="csr.challenge-password"
    )


def _requested_san(parsed: x509.CertificateSigningRequest, info: _Info) -> x509.SubjectAlternativeName | None:
    if sum(attribute.type == _ID_EXTENSION_REQUEST for attribute in info.attributes.as_list()) > 1:
        raise DecodeError("more than one extension request", finding="csr.malformed")
    try:
        return parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _bundle(info: _Info) -> bytes | None:
    found = [attribute for attribute in info.attributes.as_list() if attribute.type == ID_AA_ATTESTATION]
    if not found:
        return None
    if len(found) > 1 or len(found[0].values.as_list()) != 1:
        raise DecodeError(
            "the request must carry one attestation attribute with one value", finding="csr.attestation.malformed"
        )
    return der.encode(found[0].values.as_list()[0])
