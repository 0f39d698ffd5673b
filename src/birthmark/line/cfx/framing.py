# SPDX-License-Identifier: Apache-2.0
"""
A CFX envelope as an AMQP 1.0 message: properties and application properties as the SDK of IPC-2591 sets them.

The subject is `<handle>.<message name>`, so that a broker can route by station and by kind of message.
"""

import zlib
from typing import Final

import proton

from birthmark.core.errors import DecodeError
from birthmark.line.cfx.envelope import ENVELOPE_MAX_BYTES, Envelope
from birthmark.line.cfx.messages import name_of, topic_of

CONTENT_TYPE: Final = 'application/json; charset="utf-8"'
_GZIP: Final = 16 + zlib.MAX_WBITS


def to_amqp(envelope: Envelope, content: bytes, reply_to: str = "") -> bytes:
    """Return the AMQP message for an envelope and its encoding. `reply_to` is an address, else it is the handle."""
    kind = type(envelope.body)
    message = proton.Message()
    message.durable = True
    message.id = str(envelope.unique_id)
    if envelope.target:
        message.address = envelope.target
    message.subject = f"{envelope.source}.{name_of(kind)}"
    message.reply_to = reply_to or envelope.source
    message.correlation_id = envelope.request_id
    message.content_type = proton.symbol(CONTENT_TYPE)
    message.creation_time = envelope.time_stamp.timestamp()
    properties = {"cfx-topic": topic_of(kind), "cfx-message": name_of(kind), "cfx-handle": envelope.source}
    target = {"cfx-target": envelope.target} if envelope.target else {}
    message.properties = properties | target  # type: ignore[assignment] # declared as the None that it begins with
    # With this a body of bytes is a Data section, as CFX has it, and not a value of AMQP's type system.
    message.inferred = True
    message.body = content
    encoded: bytes = message.encode()
    return encoded


def from_amqp(encoded: bytes) -> tuple[str, bytes]:
    """
    Return the correlation id, empty when there is none, and the envelope's bytes, unpacked where they were packed.

    Raises:
        DecodeError: not an AMQP message with one Data section, or too long when unpacked.

    """
    message = proton.Message()
    try:
        message.decode(encoded)
    except proton.ProtonException as error:
        raise DecodeError("not an AMQP 1.0 message", finding="cfx.message.malformed") from error
    body = message.body
    if not isinstance(body, bytes | memoryview):
        raise DecodeError("an AMQP message without a Data section", finding="cfx.message.malformed")
    content = bytes(body)
    if str(message.content_encoding or "").lower() == "gzip":
        content = _unpacked(content)
    return str(message.correlation_id or ""), content


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        content = unpacker.decompress(packed, ENVELOPE_MAX_BYTES + 1)
    except zlib.error as error:
        raise DecodeError(f"not gzip: {error}", finding="cfx.message.malformed") from error
    if not unpacker.eof or unpacker.unused_data or len(content) > ENVELOPE_MAX_BYTES:
        raise DecodeError("gzip that is cut off, too long, or followed by more", finding="cfx.message.malformed")
    return content
