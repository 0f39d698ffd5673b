# SPDX-License-Identifier: Apache-2.0
"""
The CFX envelope: one message, when it happened, who says it, and the id by which everyone takes it once.

What we write is compact JSON with every field of the standard. What others write is read as their SDK means it: fields
that we do not know are passed over, the types of those that we know are not; `$type` may be missing, as older versions
left it out; several envelopes in one message, which the SDK can send, are no answer to a request and are refused.
"""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

import msgspec

from birthmark.core import strict_json
from birthmark.core.errors import DecodeError
from birthmark.line.cfx.messages import MESSAGES, CFXMessage, name_of

CFX_VERSION: Final = "2.1"
"""The version of IPC-2591 whose fields we write."""
ENVELOPE_MAX_BYTES: Final = 1 << 20
_IDS: Final = UUID("6f1c5a0e-7d2b-5c4e-9a31-2f8b1d0c4e57")
"""Under which our ids are made. It must never change: a consumer knows a redelivered message by its id."""
_BY_NAME: Final = {name_of(message): message for message in MESSAGES}


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """
    One message on its way.

    `time_stamp` is when it happened, not when it is sent; `target` and `request_id` belong to requests and answers.
    """

    time_stamp: datetime
    unique_id: UUID
    source: str
    target: str | None = None
    request_id: str | None = None
    body: CFXMessage


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    message_name: str
    version: str
    time_stamp: datetime
    unique_id: UUID = msgspec.field(name="UniqueID")
    source: str | None = None
    target: str | None = None
    request_id: str | None = msgspec.field(name="RequestID", default=None)
    message_body: msgspec.Raw


def unique_id(key: str) -> UUID:
    """Return the id of the message with this idempotency key: the same at every delivery, from every process."""
    return uuid5(_IDS, f"message:{key}")


def transaction_id(rig: str, run: str) -> UUID:
    """Return the transaction of one panel: the run of the rig's journal in which it is worked on."""
    return uuid5(_IDS, f"transaction:{rig}:{run}")


def occurrence_id(key: str) -> UUID:
    """Return the id of the fault that a hold with this key is."""
    return uuid5(_IDS, f"fault:{key}")


def encode(envelope: Envelope) -> bytes:
    """Return the envelope as CFX sends it."""
    return msgspec.json.encode(
        _Wire(
            message_name=name_of(type(envelope.body)),
            version=CFX_VERSION,
            time_stamp=envelope.time_stamp,
            unique_id=envelope.unique_id,
            source=envelope.source,
            target=envelope.target,
            request_id=envelope.request_id,
            message_body=msgspec.Raw(msgspec.json.encode(envelope.body)),
        )
    )


def decode(content: bytes) -> Envelope:
    """
    Return the envelope of a message of ours, or of an answer to one.

    Raises:
        DecodeError: too long, not an envelope, a message that we do not know, or fields of the wrong type.

    """
    if len(content) > ENVELOPE_MAX_BYTES:
        raise DecodeError(f"a CFX message of {len(content)} bytes; at most {ENVELOPE_MAX_BYTES} are read")
    try:
        wire = strict_json.decode(content, _Wire)
    except DecodeError as error:
        raise _malformed(error.message) from error
    if wire.time_stamp.tzinfo is None:
        raise _malformed("its time has no zone")
    message = _BY_NAME.get(wire.message_name)
    if message is None:
        raise DecodeError("a CFX message of a kind that the line does not know", finding="cfx.message.unknown")
    try:
        body = msgspec.json.decode(wire.message_body, type=message)
    except msgspec.MsgspecError as error:
        raise _malformed(str(error)) from error
    return Envelope(
        time_stamp=wire.time_stamp,
        unique_id=wire.unique_id,
        source=wire.source or "",
        target=wire.target,
        request_id=wire.request_id,
        body=body,
    )


def _malformed(problem: str) -> DecodeError:
    return DecodeError(f"not a CFX message: {problem}", finding="cfx.message.malformed")
