# SPDX-License-Identifier: Apache-2.0
"""EST messages: each codec gives back what went in and refuses everything that is nearly right."""

import base64
import string
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est import messages
from birthmark.est.messages import NonceRequest, NonceResponse, Operation, Target
from support.est_certificates import certificates

LABELS = st.text(string.ascii_letters + string.digits + "._~-", min_size=1, max_size=64).filter(
    lambda text: text[0].isalnum() and text not in set(Operation)
)
OIDS = st.lists(st.integers(0, 2**40), min_size=1, max_size=6).map(
    lambda arcs: x509.ObjectIdentifier(".".join(["1", "3", *map(str, arcs)]))
)

ONE = messages.certs_only(certificates(1))

# --- paths


@given(label=st.none() | LABELS, operation=st.sampled_from(Operation))
def test_a_path_is_read_as_it_was_written(label: str | None, operation: Operation) -> None:
    target = Target(label, operation)
    assert messages.parse_path(messages.path_of(target)) == target


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/.well-known/est",
        "/.well-known/est/",
        "/.well-known/estcacerts",
        "/.well-known/est2/cacerts",
        "/.well-known/est//cacerts",
        "/.well-known/est/cacerts/",
        "/.well-known/est/CACERTS",
        "/.well-known/est/label/other",
        "/.well-known/est/a/b/cacerts",
        "/.well-known/est/cacerts/simpleenroll",
        "/.well-known/est/../cacerts",
        "/.well-known/est/la bel/cacerts",
        "/x/.well-known/est/cacerts",
        "cacerts",
    ],
)
def test_any_other_path_names_no_operation(path: str) -> None:
    with pytest.raises(DecodeError) as refused:
        messages.parse_path(path)
    assert refused.value.finding == "est.unknown-operation"


@pytest.mark.parametrize("label", ["", "cacerts", "a/b", "-a", "ü", "a" * 65])
def test_what_cannot_be_a_label_is_not_written_into_a_path(label: str) -> None:
    with pytest.raises(ValueError, match="label"):
        messages.path_of(Target(label, Operation.CACERTS))


# --- bodies


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_body_is_one_line_and_read_through_any_line_breaks(payload: bytes, data: st.DataObject) -> None:
    body = messages.encode_body(payload)
    assert not set(body) & set(b"\r\n \t")
    position = data.draw(st.integers(0, len(body)))
    gap = data.draw(st.text("\r\n \t", max_size=4)).encode()
    assert messages.decode_body(body[:position] + gap + body[position:]) == payload


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"AAAA=",
        b"AAA",
        b"A",
        b"AA=A",
        b"AAAA====",
        b"AA-_",
        b"AAAA\x00",
        b"AAAA\x0b",
        b"AAAA\x0c",
        b"AAAA\xc2\xa0",
        b"AB==",
        b"AAB=",
        b"-----BEGIN CERTIFICATE REQUEST-----",
    ],
)
def test_what_is_not_the_one_spelling_of_some_bytes_is_not_base64(body: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        messages.decode_body(body)
    assert refused.value.finding == "est.base64"


@given(st.binary(max_size=64))
def test_decoding_a_body_raises_nothing_but_its_own_error(body: bytes) -> None:
    try:
        payload = messages.decode_body(body)
    except DecodeError:
        return
    assert messages.encode_body(payload) == body.translate(None, b"\r\n \t")


def test_a_body_above_the_limit_is_not_decoded() -> None:
    with pytest.raises(DecodeError) as refused:
        messages.decode_body(b"A" * (messages.EST_MAX_BODY_BYTES + 4))
    assert refused.value.finding == "est.too-large"


def test_a_body_at_the_limit_is_decoded() -> None:
    assert len(messages.decode_body(b"A" * messages.EST_MAX_BODY_BYTES)) == messages.EST_MAX_BODY_BYTES // 4 * 3


@pytest.mark.parametrize("payload", [b"\x30\x00\x00", b"\x30\x01", b"\x04\x00", b"\x30\x80\x00\x00", b"hello", b"\x30"])
def test_a_payload_that_is_not_one_der_sequence_is_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        messages.require_sequence(payload, "the request")
    assert refused.value.finding == "est.der"


# --- certs-only


@given(st.integers(0, 70_000))
def test_a_frame_around_one_certificate_is_the_library_s(length: int) -> None:
    (certificate,) = certificates(1)
    whole = certificate.public_bytes(Encoding.DER)
    assert messages.certs_only_of(whole) == messages.certs_only([certificate])
    framed = messages.certs_only_of(bytes(length))
    assert der.encode(der.decode(der.TLV, framed, "the message")) == framed
    assert bytes(length) in framed


@pytest.mark.parametrize("count", [1, 2, 5])
def test_certs_only_gives_back_exactly_its_certificates(count: int) -> None:
    sent = certificates(count)
    assert set(messages.read_certs_only(messages.certs_only(sent))) == set(sent)


def test_certificates_may_stand_in_any_order_in_the_set() -> None:
    first, second = sorted((each.public_bytes(Encoding.DER) for each in certificates(2)), reverse=True)
    sorted_message = messages.certs_only([x509.load_der_x509_certificate(each) for each in (first, second)])
    unsorted_message = sorted_message.replace(second + first, first + second)
    assert first + second in unsorted_message
    assert [each.public_bytes(Encoding.DER) for each in messages.read_certs_only(unsorted_message)] == [first, second]


def test_a_trailing_byte_is_refused() -> None:
    _refused(messages.certs_only(certificates(1)) + b"\x00")


def test_a_truncated_message_is_refused() -> None:
    _refused(messages.certs_only(certificates(1))[:-1])


def test_the_same_certificate_twice_is_refused() -> None:
    _refused(messages.certs_only(certificates(1) * 2))


def test_more_certificates_than_the_limit_are_refused() -> None:
    _refused(messages.certs_only(certificates(messages.EST_MAX_CERTIFICATES + 1)))


def test_a_message_without_certificates_is_refused() -> None:
    whole = messages.certs_only(certificates(1))
    certificate = messages.read_certs_only(whole)[0].public_bytes(Encoding.DER)
    field = b"\xa0" + der.encode(certificate)[1:]
    inner = whole[whole.index(b"\x02\x01\x01") :].replace(field, b"\xa0\x00")
    signed = b"\x30" + der.encode(inner)[1:]
    explicit = b"\xa0" + der.encode(signed)[1:]
    content = der.encode(x509.ObjectIdentifier("1.2.840.113549.1.7.2")) + explicit
    _refused(b"\x30" + der.encode(content)[1:])


def test_a_certificate_of_a_version_that_does_not_exist_is_refused() -> None:
    v3, v4 = bytes.fromhex("a003020102"), bytes.fromhex("a003020103")
    assert v3 in ONE
    _refused(ONE.replace(v3, v4, 1))


def test_a_signed_message_is_not_a_certs_only_message() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "signer")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    dated = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
    certificate = dated.public_key(key.public_key()).sign(key, hashes.SHA256())
    signed = pkcs7.PKCS7SignatureBuilder().set_data(b"x").add_signer(certificate, key, hashes.SHA256())
    _refused(signed.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary]))


@given(st.binary(max_size=64))
def test_reading_certificates_raises_nothing_but_its_own_error(data: bytes) -> None:
    _refused(data)


# cryptography warns of a serial number that a flipped bit has made negative, before we refuse it.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.data())
def test_a_message_with_a_flipped_bit_is_refused_or_holds_another_certificate(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, 8 * len(ONE) - 1))
    flipped = bytearray(ONE)
    flipped[position // 8] ^= 1 << position % 8
    try:
        found = messages.read_certs_only(bytes(flipped))
    except DecodeError:
        return
    assert found != messages.read_certs_only(ONE)


def _refused(data: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        messages.read_certs_only(data)
    assert refused.value.finding == "est.certs-only"


# --- nonce call


@given(
    length=st.integers(messages.NONCE_MIN_BYTES, messages.NONCE_MAX_BYTES),
    statement_type=OIDS,
    unit=st.none() | st.text(min_size=1, max_size=64),
)
def test_a_nonce_request_is_read_as_it_was_written(
    length: int, statement_type: x509.ObjectIdentifier, unit: str | None
) -> None:
    request = NonceRequest(length, statement_type, unit)
    assert messages.decode_nonce_request(messages.encode_nonce_request(request)) == request


def test_the_nonce_request_has_the_members_of_the_draft() -> None:
    body = messages.encode_nonce_request(NonceRequest(32, PKIX_EVIDENCE, "BM-000001"))
    expected = b'{"len":32,"reqTypeInfo":{"type":"%s","reqInfo":{"unit":"BM-000001"}}}'
    assert body == expected % PKIX_EVIDENCE.dotted_string.encode()


def test_an_empty_object_asks_for_a_nonce_of_32_bytes() -> None:
    assert messages.decode_nonce_request(b"{}") == NonceRequest(32, None, None)


def test_a_unit_without_a_statement_type_is_not_written() -> None:
    with pytest.raises(ValueError, match="statement type"):
        messages.encode_nonce_request(NonceRequest(unit="BM-000001"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{} {}",
        b'{"len":7}',
        b'{"len":65}',
        b'{"len":"32"}',
        b'{"len":32.5}',
        b'{"length":32}',
        b'{"len":32,"extra":1}',
        b'{"reqTypeInfo":{}}',
        b'{"reqTypeInfo":{"type":""}}',
        b'{"reqTypeInfo":{"type":"not.an.oid"}}',
        b'{"reqTypeInfo":{"type":"1.2.3","reqInfo":"BM-000001"}}',
        b'{"reqTypeInfo":{"type":"1.2.3","reqInfo":{"unit":""}}}',
        b'{"reqTypeInfo":{"type":"1.2.3","reqInfo":{"unit":"A","other":1}}}',
        b'{"len":32}\x00',
        b"\xff",
        b"[" * 4000,
    ],
)
def test_any_other_nonce_request_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        messages.decode_nonce_request(body)
    assert refused.value.finding == "est.nonce"


def test_a_nonce_request_above_the_limit_is_refused() -> None:
    with pytest.raises(DecodeError) as refused:
        messages.decode_nonce_request(b" " * messages.NONCE_MAX_BODY_BYTES + b"{}")
    assert refused.value.finding == "est.too-large"


@given(
    nonce=st.just(b"") | st.binary(min_size=messages.NONCE_MIN_BYTES, max_size=messages.NONCE_MAX_BYTES),
    expiry_s=st.none() | st.integers(0, 2**31),
)
def test_a_nonce_response_is_read_as_it_was_written(nonce: bytes, expiry_s: int | None) -> None:
    response = NonceResponse(nonce, expiry_s)
    assert messages.decode_nonce_response(messages.encode_nonce_response(response)) == response


def test_the_draft_s_example_is_read() -> None:
    body = b'{"nonce":"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI","expiry":600}'
    assert messages.decode_nonce_response(body) == NonceResponse(b"12345678901234567890123456789012", 600)


def test_another_server_s_resp_type_info_is_passed_over() -> None:
    nonce = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=")
    body = b'{"nonce":"%s","respTypeInfo":{"type":"1.2.3","respInfo":[1]}}' % nonce
    assert messages.decode_nonce_response(body).nonce == bytes(32)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"nonce":null}',
        b'{"nonce":"AAAAAAAAAAA="}',
        b'{"nonce":"AAAAAAAAAAB"}',
        b'{"nonce":"AAAAAAAAAA+"}',
        b'{"nonce":"AAAAAAAAAAA\\n"}',
        b'{"nonce":"A"}',
        b'{"nonce":"AAAA"}',
        b'{"nonce":"AAAAAAAAAAA","expiry":-1}',
        b'{"nonce":"AAAAAAAAAAA","other":1}',
    ],
)
def test_any_other_nonce_response_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        messages.decode_nonce_response(body)
    assert refused.value.finding == "est.nonce"


@given(st.binary(max_size=64))
def test_nonce_decoders_raise_nothing_but_their_own_error(body: bytes) -> None:
    for decode in (messages.decode_nonce_request, messages.decode_nonce_response):
        with pytest.raises(DecodeError):
            decode(b"\x00" + body)


def test_a_nonce_is_not_shown_by_repr() -> None:
    assert "secret" not in repr(NonceResponse(b"secret-nonce", 60))
