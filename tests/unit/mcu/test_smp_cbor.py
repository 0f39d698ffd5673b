# SPDX-License-Identifier: Apache-2.0
"""The firmware's CBOR: deterministic form out and in, judged by cbor2 and by the vectors of RFC 8949."""

import contextlib

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.core import cbor as strict
from birthmark.core.errors import DecodeError
from birthmark_mcu.smp import cbor
from birthmark_mcu.smp.cbor import NotCBOR

INTEGERS = st.integers(0, 2**64 - 1)
LEAVES = INTEGERS | st.binary(max_size=300) | st.text(max_size=40)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)

# RFC 8949 appendix A: those of types that the link uses.
VECTORS = {
    "00": 0,
    "17": 23,
    "1818": 24,
    "1903e8": 1000,
    "1a000f4240": 1_000_000,
    "1b000000e8d4a51000": 1_000_000_000_000,
    "1bffffffffffffffff": 2**64 - 1,
    "40": b"",
    "4401020304": b"\x01\x02\x03\x04",
    "60": "",
    "6449455446": "IETF",
    "62c3bc": "\u00fc",
    "80": [],
    "83010203": [1, 2, 3],
    "8301820203820405": [1, [2, 3], [4, 5]],
    "a0": {},
    "a26161016162820203": {"a": 1, "b": [2, 3]},
}
NOT_DETERMINISTIC = {
    "a number not in its shortest form": "1817",
    "a length not in its shortest form": "5800",
    "a map of indefinite length": "bf616101ff",
    "a byte string of indefinite length": "5f42010243030405ff",
    "keys out of order": "a2616201616101",
    "a key twice": "a2616101616102",
    "a key that is no text": "a10101",
    "a negative number": "20",
    "a boolean": "f5",
    "a float": "f93c00",
    "a tag": "c074323031332d30332d32315432303a30343a30305a",
    "bytes behind the value": "0000",
    "nothing": "",
    "text that is not UTF-8": "61ff",
    "a string longer than its bytes": "43 0102",
    "an array longer than memory": "9b7fffffffffffffff",
    "a reserved length": "1c",
    "five levels": "8181818100",
}


@pytest.mark.parametrize("encoded", VECTORS)
def test_the_vectors_of_the_rfc_hold_in_both_directions(encoded: str) -> None:
    assert cbor.encode(VECTORS[encoded]) == bytes.fromhex(encoded)
    assert cbor.decode(bytes.fromhex(encoded)) == VECTORS[encoded]


@pytest.mark.parametrize("what", NOT_DETERMINISTIC)
def test_another_form_or_type_is_refused(what: str) -> None:
    with pytest.raises(NotCBOR):
        cbor.decode(bytes.fromhex(NOT_DETERMINISTIC[what]))


@settings(deadline=None)
@given(VALUES)
def test_what_is_written_is_what_cbor2_writes(value: object) -> None:
    assert cbor.encode(value) == cbor2.dumps(value, canonical=True)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=30), LEAVES | st.lists(INTEGERS, max_size=5), max_size=8))
def test_what_is_written_is_read_again(value: object) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_one_value_in_its_only_form_or_not_cbor(data: bytes) -> None:
    with contextlib.suppress(NotCBOR):
        assert cbor.encode(cbor.decode(data)) == data


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_the_firmware_reads_nothing_that_the_rig_would_not(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except NotCBOR:
        return
    try:
        assert strict.decode(data, "test") == value
    except DecodeError as error:
        pytest.fail(f"the rig refuses {data.hex()}: {error}")


@pytest.mark.parametrize("value", [-1, 2**64, None, 1.5, object()])
def test_a_value_that_the_link_does_not_have_is_not_written(value: object) -> None:
    with pytest.raises(TypeError):
        cbor.encode(value)
