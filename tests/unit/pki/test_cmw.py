# SPDX-License-Identifier: Apache-2.0
"""The evidence extension: one spelling is read, all others are refused."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import cbor, der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ATTESTATION_BUNDLE_MEDIA_TYPE as MEDIA_TYPE
from birthmark.pki.cmw import cmw_extension, read_cmw, read_cmw_value
from support.hierarchy import BUNDLE, device_certificate, hierarchy


def wrapped(record: object) -> bytes:
    return der.encode(cbor2.dumps(record, canonical=True))


def test_the_evidence_comes_out_of_a_certificate_byte_for_byte() -> None:
    assert read_cmw(device_certificate(hierarchy().issuing)) == BUNDLE


def test_a_certificate_without_the_extension_says_missing() -> None:
    with pytest.raises(DecodeError) as refused:
        read_cmw(hierarchy().root.certificate)
    assert refused.value.finding == "cmw.missing"


def test_the_extension_is_an_octet_string_around_a_record_with_the_evidence_indicator() -> None:
    content = cmw_extension(b"\x30\x00").value
    assert content[0] == 0x04
    assert cbor2.loads(content[2:]) == [MEDIA_TYPE, b"\x30\x00", 4]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(wrapped([MEDIA_TYPE, b"x", 8]), id="attestation result"),
        pytest.param(wrapped([MEDIA_TYPE, b"x", True]), id="indicator is a boolean"),
        pytest.param(wrapped([MEDIA_TYPE, b"x"]), id="no indicator"),
        pytest.param(wrapped([MEDIA_TYPE, b"x", 4, 0]), id="a fourth element"),
        pytest.param(wrapped([MEDIA_TYPE, "x", 4]), id="text value"),
        pytest.param(wrapped(["application/octet-stream", b"x", 4]), id="another media type"),
        pytest.param(wrapped([MEDIA_TYPE.upper(), b"x", 4]), id="another spelling of the media type"),
        pytest.param(wrapped({"a": [MEDIA_TYPE, b"x", 4]}), id="a collection"),
        pytest.param(wrapped(cbor2.CBORTag(1668546817, [MEDIA_TYPE, b"x", 4])), id="tag form"),
        pytest.param(der.encode('["application/x","eA",4]'), id="the JSON choice"),
        pytest.param(wrapped([MEDIA_TYPE, b"x", 4]) + b"\x00", id="a trailing byte"),
        pytest.param(der.encode(cbor.encode([MEDIA_TYPE, b"x", 4]) + b"\x00"), id="a trailing byte inside"),
        pytest.param(der.encode(b"\x9f" + cbor.encode([MEDIA_TYPE, b"x", 4])[1:] + b"\xff"), id="indefinite length"),
        pytest.param(b"", id="empty"),
    ],
)
def test_anything_but_our_own_record_is_malformed(content: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        read_cmw_value(content)
    assert refused.value.finding == "cmw.malformed"


@given(st.binary(max_size=600))
def test_what_is_written_is_read(bundle: bytes) -> None:
    assert read_cmw_value(cmw_extension(bundle).value) == bundle


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_decode_error(content: bytes) -> None:
    try:
        assert cmw_extension(read_cmw_value(content)).value == content
    except DecodeError as error:
        assert error.finding == "cmw.malformed"  # noqa: PT017 both outcomes are right


@given(st.integers(0, 8 * len(cmw_extension(b"evidence").value) - 1))
def test_a_flipped_bit_never_reads_as_the_same_evidence(bit: int) -> None:
    content = bytearray(cmw_extension(b"evidence").value)
    content[bit // 8] ^= 1 << bit % 8
    try:
        assert read_cmw_value(bytes(content)) != b"evidence"
    except DecodeError as error:
        assert error.finding == "cmw.malformed"  # noqa: PT017 both outcomes are right
