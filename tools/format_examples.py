#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Writes the examples into docs/reference/formats.md, or with --check says whether they are up to date.

Each block after `<!-- example: NAME -->` is made here from the files in docs/reference/examples, byte by byte and with
a reader of its own: this script shares no decoder with the program, so that a mistake in one shows against the other.
.venv/bin/python tools/format_examples.py [--check]
"""

import base64
import hashlib
import json
import re
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography.x509 import ObjectIdentifier

from birthmark.core import registry

PAGE: Final = Path(__file__).parent.parent / "docs" / "reference" / "formats.md"
EXAMPLES: Final = PAGE.parent / "examples"
SHOWN_BYTES: Final = 12
"""Bytes that a line shows of a value."""
BOOLEAN, INTEGER, OCTETS, OID, UTF8, SEQUENCE, PRINTABLE, TIME = 0x01, 0x02, 0x04, 0x06, 0x0C, 0x30, 0x13, 0x17
_MARK = re.compile(r"(<!-- example: ([a-z0-9-]+) -->\n+```\w*\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)

_NAMES: Final = {
    value.dotted_string: name for name, value in vars(registry).items() if isinstance(value, ObjectIdentifier)
} | {
    "1.2.840.10045.2.1": "ecPublicKey",
    "1.2.840.10045.3.1.7": "P-256",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "2.5.4.3": "commonName",
    "2.5.4.5": "serialNumber",
    "2.5.4.10": "organizationName",
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.15": "keyUsage",
    "2.5.29.17": "subjectAltName",
    "2.5.29.19": "basicConstraints",
    "2.5.29.35": "authorityKeyIdentifier",
    "2.5.29.37": "extKeyUsage",
}

# --- DER -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Value:
    """One DER value: where it stands, its tag, its header and its content."""

    at: int
    tag: int
    head: bytes
    body: bytes

    def inside(self) -> list["Value"]:
        """Return the values that a constructed value is made of."""
        return list(_values(self.body, self.at + len(self.head)))


@dataclass(frozen=True, slots=True)
class Shape:
    """How a value is shown: its name, and the shapes of what is inside. Without those it is shown closed."""

    name: str
    inside: tuple["Shape", ...] = ()
    repeated: bool = False
    on_one_line: bool = False


def _values(data: bytes, at: int = 0) -> Iterator[Value]:
    place = 0
    while place < len(data):
        length, head = data[place + 1], 2
        if length & 0x80:
            head += length & 0x7F
            length = int.from_bytes(data[place + 2 : place + head], "big")
        yield Value(at + place, data[place], data[place : place + head], data[place + head : place + head + length])
        place += head + length


def _one(data: bytes) -> Value:
    (value,) = _values(data)
    return value


def _dump(value: Value, shape: Shape, depth: int = 0) -> Iterator[str]:
    if shape.on_one_line or not shape.inside:
        yield _line(value.at, depth, value.head + value.body, _caption(value, shape))
        return
    yield _line(value.at, depth, value.head, shape.name)
    inside = value.inside()
    shapes = shape.inside * len(inside) if shape.repeated else shape.inside
    for each, its in zip(inside, shapes, strict=not shape.repeated):
        yield from _dump(each, its, depth + 1)


def _line(at: int, depth: int, shown: bytes, caption: str) -> str:
    text = shown.hex(" ") if len(shown) <= SHOWN_BYTES else f"{shown[: SHOWN_BYTES - 1].hex(' ')} …"
    return f"{at:>5}  {text:<{3 * SHOWN_BYTES}} {'  ' * depth}{caption}".rstrip()


def _caption(value: Value, shape: Shape) -> str:
    parts = value.inside() if shape.on_one_line else [value]
    critical = [part for part in parts if part.tag == BOOLEAN and part is not parts[-1]]
    plain = " = ".join(_plain(part) for part in parts if part not in critical) + (", critical" if critical else "")
    return f"{shape.name}: {plain}" if shape.name else plain


def _plain(value: Value) -> str:
    if value.tag == SEQUENCE and value.body and all(part.tag == OID for part in value.inside()):
        return ", ".join(_oid(part.body) for part in value.inside())
    if value.tag == OCTETS and value.body.isascii() and value.body.decode().isprintable():
        return json.dumps(value.body.decode())
    return _READERS.get(value.tag, _length)(value.body)


def _length(body: bytes) -> str:
    return f"{len(body)} bytes"


def _text_of(body: bytes) -> str:
    return json.dumps(body.decode())


def _integer(body: bytes) -> str:
    return str(int.from_bytes(body, "big")) if len(body) < SHOWN_BYTES else _length(body)


def _boolean(body: bytes) -> str:
    return "TRUE" if body == b"\xff" else "FALSE"


def _oid(body: bytes) -> str:
    arcs, arc = [], 0
    for byte in body:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    dotted = ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
    return f"{dotted} {_NAMES[dotted]}" if dotted in _NAMES else dotted


_READERS: Final[dict[int, Callable[[bytes], str]]] = {
    BOOLEAN: _boolean,
    INTEGER: _integer,
    OID: _oid,
    UTF8: _text_of,
    PRINTABLE: _text_of,
    TIME: _text_of,
}

# --- what the structures look like -----------------------------------------------------------------------------

_ALGORITHM = Shape("algorithm", (Shape(""),))
_ECDSA_KEY = Shape("subjectPublicKeyInfo", (Shape("algorithm", (Shape(""), Shape(""))), Shape("the point")))
_NAME = Shape("name", (Shape("RDN", (Shape("", on_one_line=True),)),), repeated=True)
_CLAIM = Shape("claim", on_one_line=True)
_ELEMENT = Shape("ReportedElement", (Shape("elementType"), Shape("claims", (_CLAIM,), repeated=True)))
_PKIX = Shape(
    "Evidence",
    (
        Shape("tbs", (Shape("version"), Shape("reportedElements", (_ELEMENT,), repeated=True))),
        Shape(
            "signatures",
            (
                Shape(
                    "SignatureBlock",
                    (
                        Shape("sid", (Shape("keyId [0]", (Shape("SHA-256 of the AK's SubjectPublicKeyInfo"),)),)),
                        _ALGORITHM,
                        Shape("signatureValue"),
                    ),
                ),
            ),
        ),
    ),
)
_TPM = Shape("TcgAttestCertify", (Shape("tpmSAttest"), Shape("signature"), Shape("tpmTPublic")))
_EXTENSION = Shape("", on_one_line=True)


def _bundle_shape(statement: Shape) -> Shape:
    entry = Shape("AttestationStatement", (Shape("type"), replace(statement, name=f"stmt: {statement.name}")))
    return Shape("AttestationBundle", (Shape("attestations", (entry,)), Shape("certs", (Shape("the AK certificate"),))))


def _certificate_shape(*, extensions: int) -> Shape:
    tbs = (
        Shape("version [0]", (Shape(""),)),
        Shape("serialNumber"),
        _ALGORITHM,
        replace(_NAME, name="issuer"),
        Shape("validity", (Shape("notBefore"), Shape("notAfter"))),
        replace(_NAME, name="subject"),
        _ECDSA_KEY,
        Shape("extensions [3]", (Shape("Extensions", (_EXTENSION,) * extensions),)),
    )
    return Shape("Certificate", (Shape("tbsCertificate", tbs), _ALGORITHM, Shape("signatureValue")))


_REQUEST = Shape(
    "CertificationRequest",
    (
        Shape(
            "certificationRequestInfo",
            (
                Shape("version"),
                replace(_NAME, name="subject"),
                _ECDSA_KEY,
                Shape("attributes [0]", (Shape("Attribute", (Shape("type"), Shape("values: the AttestationBundle"))),)),
            ),
        ),
        _ALGORITHM,
        Shape("signature, by the chip"),
    ),
)

# --- the files -------------------------------------------------------------------------------------------------


def _text(name: str) -> str:
    return (EXAMPLES / name).read_text().strip()


def _pem(name: str) -> bytes:
    return base64.b64decode("".join(line for line in _text(name).splitlines() if not line.startswith("-")))


def _find(value: Value, tag: int, *path: int) -> Value:
    for step in path:
        value = value.inside()[step]
    if value.tag != tag:
        raise SystemExit(f"tag {value.tag:#x} where {tag:#x} was expected")
    return value


def _whole(value: Value) -> bytes:
    return value.head + value.body


def _cmw_content(name: str) -> bytes:
    """Return the content of id-pe-cmw in a device certificate: the last extension."""
    return _find(_one(_pem(name)), OCTETS, 0, 7, 0, -1, -1).body


def _bundle(name: str) -> bytes:
    record = _one(_cmw_content(name)).body
    return record[-1 - _bundle_length(record) : -1]


def _bundle_length(record: bytes) -> int:
    at = 2 + 1 + record[2]
    return int.from_bytes(record[at + 1 : at + 3], "big")


def _statement(name: str) -> bytes:
    return _whole(_find(_one(_bundle(name)), SEQUENCE, 0, 0, 1))


def _ak_certificate(name: str) -> bytes:
    return _whole(_find(_one(_bundle(name)), SEQUENCE, 1, 0))


# --- the blocks ------------------------------------------------------------------------------------------------


def _request() -> Iterator[str]:
    return _dump(_one(base64.b64decode(_text("request.b64"))), _REQUEST)


def _attestation_bundle() -> Iterator[str]:
    closed = Shape("PKIX Evidence, below")
    return _dump(_one(_bundle("device.pem")), _bundle_shape(closed))


def _pkix() -> Iterator[str]:
    return _dump(_one(_statement("device.pem")), _PKIX)


def _tpm() -> Iterator[str]:
    statement = _one(_statement("tpm-device.pem"))
    attest, signature, public = (part.body for part in statement.inside())
    yield _line(statement.at, 0, statement.head, "TcgAttestCertify")
    fields = ((0, attest, _attest_fields(attest)), (1, signature, _signature_fields()), (2, public, _public_fields()))
    for index, content, layout in fields:
        part = statement.inside()[index]
        yield _line(part.at, 1, part.head, ("tpmSAttest", "signature", "tpmTPublic")[index])
        yield from _layout(content, layout, part.at + len(part.head))


def _layout(content: bytes, layout: tuple[tuple[str, int], ...], at: int) -> Iterator[str]:
    """Show the fields of a TPM structure; a size of 0 is a TPM2B: 16 bits of length, and that many bytes."""
    place = 0
    for name, fixed in layout:
        size = fixed or 2 + int.from_bytes(content[place : place + 2], "big")
        shown = content[place : place + size]
        yield _line(at + place, 2, shown, name if fixed else f"{name}: {size - 2} bytes")
        place += size
    if place != len(content):
        raise SystemExit("a TPM structure is not as it should be")


def _attest_fields(attest: bytes) -> tuple[tuple[str, int], ...]:
    if attest[:6] != struct.pack(">IH", 0xFF544347, 0x8017):
        raise SystemExit("not TPM2_Certify")
    head = (("magic: TPM_GENERATED_VALUE", 4), ("type: TPM_ST_ATTEST_CERTIFY", 2))
    clock = (("clockInfo.clock, ms", 8), ("clockInfo.resetCount", 4), ("clockInfo.restartCount", 4))
    middle = (("qualifiedSigner", 0), ("extraData, the nonce", 0), *clock, ("clockInfo.safe", 1))
    return (*head, *middle, ("firmwareVersion", 8), ("attested.name", 0), ("attested.qualifiedName", 0))


def _signature_fields() -> tuple[tuple[str, int], ...]:
    return (("sigAlg: ECDSA", 2), ("hash: SHA-256", 2), ("signatureR", 0), ("signatureS", 0))


def _public_fields() -> tuple[tuple[str, int], ...]:
    head = (("type: ECC", 2), ("nameAlg: SHA-256", 2), ("objectAttributes", 4), ("authPolicy", 0))
    scheme = (("symmetric: NULL", 2), ("scheme: ECDSA", 2), ("scheme hash: SHA-256", 2))
    return (*head, *scheme, ("curve: P-256", 2), ("kdf: NULL", 2), ("x", 0), ("y", 0))


def _cmw() -> Iterator[str]:
    content = _one(_cmw_content("device.pem"))
    record, at = content.body, len(content.head)
    yield _line(content.at, 0, content.head, "CMW, the choice cbor: OCTET STRING")
    size = 2 + 1 + record[2]
    parts = (
        (record[:1], "array of 3"),
        (record[1:size], f"type: {json.dumps(record[3:size].decode())}"),
        (record[size:-1], f"value: byte string, the AttestationBundle of {_bundle_length(record)} bytes"),
        (record[-1:], "indicator: evidence (bit 2)"),
    )
    for shown, caption in parts:
        yield _line(at, 1, shown, caption)
        at += len(shown)


def _birth_header() -> str:
    return json.dumps(json.loads(_decoded(_text("birth.jws").split(".")[0])), indent=2)


def _birth_record() -> str:
    return json.dumps(json.loads(_decoded(_text("birth.jws").split(".")[1])), indent=2)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _possession() -> Iterator[str]:
    challenge, certificate = bytes(range(32)), hashlib.sha256(_pem("device.pem")).digest()
    whole = b"birthmark possession v1\x00" + challenge + certificate
    yield f"domain       {b'birthmark possession v1'.hex()} 00"
    yield f"challenge    {challenge.hex()}"
    yield f"certificate  {certificate.hex()}"
    yield f"digest       {hashlib.sha256(whole).hexdigest()}"


def _sizes() -> Iterator[str]:
    yield f"{'bytes':<34}{'APDU chip':>10}{'TPM 2.0':>10}"
    for (name, apdu), tpm in zip(_measured("").items(), _measured("tpm-").values(), strict=True):
        yield f"{name:<34}{len(apdu):>10,}{len(tpm):>10,}"


def _measured(prefix: str) -> dict[str, bytes]:
    device, body = f"{prefix}device.pem", _text(f"{prefix}request.b64").encode()
    return {
        "statement": _statement(device),
        "AK certificate": _ak_certificate(device),
        "AttestationBundle": _bundle(device),
        "request": base64.b64decode(body),
        "request as an EST body": body,
        "id-pe-cmw, the extension's content": _cmw_content(device),
        "device certificate": _pem(device),
    }


BLOCKS: Final[dict[str, Callable[[], Iterator[str] | str]]] = {
    "sizes": _sizes,
    "request": _request,
    "bundle": _attestation_bundle,
    "tpm": _tpm,
    "pkix": _pkix,
    "nonce-request": lambda: _text("nonce-request.json"),
    "nonce-response": lambda: _text("nonce-response.json"),
    "cmw": _cmw,
    "certificate": lambda: _dump(_one(_pem("device.pem")), _certificate_shape(extensions=7)),
    "ak": lambda: _dump(_one(_ak_certificate("device.pem")), _certificate_shape(extensions=4)),
    "birth-header": _birth_header,
    "birth-record": _birth_record,
    "possession": _possession,
    "lab": lambda: _text("lab.json"),
}


def page(text: str) -> str:
    """Return the page with every example as the files have it. Raises SystemExit for a block that nobody makes."""
    shown = {match.group(2) for match in _MARK.finditer(text)}
    if shown != set(BLOCKS):
        raise SystemExit(f"examples that are on one side only: {sorted(shown ^ set(BLOCKS))}")
    return _MARK.sub(lambda match: f"{match.group(1)}{_block(match.group(2))}\n{match.group(4)}", text)


def _block(name: str) -> str:
    made = BLOCKS[name]()
    return made if isinstance(made, str) else "\n".join(made)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; return the exit code."""
    before = PAGE.read_text()
    after = page(before)
    if arguments == ["--check"]:
        if before != after:
            sys.stderr.write(f"{PAGE} is not up to date: run tools/format_examples.py\n")
        return int(before != after)
    PAGE.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
