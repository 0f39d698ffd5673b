# SPDX-License-Identifier: Apache-2.0
"""
NV indexes: an owner's object that is there as a whole or not at all, and the chip maker's that is written once.

An owner's object is a 16-bit length and its bytes. Its chunks are written from the last to the first, so the length
comes last, in one command with what follows it. Power may fail anywhere: without its length the object is not there.
"""

from dataclasses import dataclass
from typing import Final

from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPMA_NV
from tpm2_pytss.types import TPM2B_NV_PUBLIC, TPMS_NV_PUBLIC

from birthmark.core.reader import ByteReader
from birthmark.silicon.errors import ChipFull
from birthmark.silicon.tpm2.connection import PT_NV_BUFFER_MAX, PT_NV_INDEX_MAX, Connection

_LENGTH_BYTES = 2

# Read and written with the index's own password, which is empty; defined and undefined by the owner.
_OWNERS: Final = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.OWNERREAD | TPMA_NV.OWNERWRITE | TPMA_NV.NO_DA
# Nobody but the platform undefines it, and nobody writes it once it is locked (Part 2, §13.4).
_MAKERS: Final = (
    TPMA_NV.AUTHREAD
    | TPMA_NV.OWNERREAD
    | TPMA_NV.PPREAD
    | TPMA_NV.PPWRITE
    | TPMA_NV.PLATFORMCREATE
    | TPMA_NV.WRITEDEFINE
    | TPMA_NV.NO_DA
)


@dataclass(frozen=True, slots=True)
class _Index:
    size: int
    written: bool
    locked: bool


def write_object(connection: Connection, index: int, content: bytes) -> None:
    """
    Keep `content` under an owner's index, in place of what was there.

    Raises:
        ChipFull: more than the TPM has room for; what was there before still is.

    """
    _demand_room(connection, _LENGTH_BYTES + len(content))
    delete_object(connection, index)
    stored = len(content).to_bytes(_LENGTH_BYTES, "big") + content
    resource = _define(connection, index, _OWNERS, len(stored), ESYS_TR.OWNER)
    _write(connection, resource, stored, resource)
    connection.command("tr_close", resource)


def read_object(connection: Connection, index: int) -> bytes | None:
    """Return what an owner's index holds, or None if there is nothing whole."""
    stored = _read(connection, index)
    length = int.from_bytes(stored[:_LENGTH_BYTES], "big")
    return stored[_LENGTH_BYTES:] if length and length == len(stored) - _LENGTH_BYTES else None


def delete_object(connection: Connection, index: int) -> None:
    """Remove an owner's index, if it is there."""
    if connection.exists(index):
        connection.command(
            "nv_undefine_space", connection.command("tr_from_tpmpublic", index), auth_handle=ESYS_TR.OWNER
        )


def write_byte(connection: Connection, index: int, value: int) -> None:
    """Keep one byte under an owner's index, changed by one command that a power cut cannot halve."""
    if not connection.exists(index):
        connection.command("tr_close", _define(connection, index, _OWNERS, 1, ESYS_TR.OWNER))
    with connection.opened(index) as resource:
        connection.command("nv_write", resource, bytes([value]))


def read_byte(connection: Connection, index: int) -> int | None:
    """Return the byte under an owner's index, or None before the first write."""
    stored = _read(connection, index)
    return stored[0] if stored else None


def write_once(connection: Connection, index: int, content: bytes) -> None:
    """
    Keep `content` under a platform index and lock it for good. What was begun and not locked is replaced.

    Raises:
        ChipRefused: it is locked already, or the platform hierarchy is closed (as firmware leaves it after boot).

    """
    _demand_room(connection, len(content))
    if connection.exists(index):
        connection.command(
            "nv_undefine_space", connection.command("tr_from_tpmpublic", index), auth_handle=ESYS_TR.PLATFORM
        )
    resource = _define(connection, index, _MAKERS, len(content), ESYS_TR.PLATFORM)
    _write(connection, resource, content, ESYS_TR.PLATFORM)
    connection.command("nv_write_lock", resource, auth_handle=ESYS_TR.PLATFORM)
    connection.command("tr_close", resource)


def read_once_written(connection: Connection, index: int) -> bytes | None:
    """Return what `write_once` has finished, or None."""
    if not connection.exists(index):
        return None
    with connection.opened(index) as resource:
        return _read_chunks(connection, resource) if _describe(connection, resource).locked else None


def _demand_room(connection: Connection, size: int) -> None:
    largest = connection.properties[PT_NV_INDEX_MAX]
    if size > largest:
        raise ChipFull(f"{size} bytes do not fit into an NV index of this TPM, which has at most {largest}")


def _define(connection: Connection, index: int, attributes: TPMA_NV, size: int, hierarchy: ESYS_TR) -> int:
    public = TPMS_NV_PUBLIC(nvIndex=index, nameAlg=TPM2_ALG.SHA256, attributes=attributes, dataSize=size)
    resource: int = connection.command("nv_define_space", b"", TPM2B_NV_PUBLIC(nvPublic=public), auth_handle=hierarchy)
    return resource


def _write(connection: Connection, resource: int, content: bytes, authorization: int) -> None:
    chunk = connection.properties[PT_NV_BUFFER_MAX]
    for offset in reversed(range(0, len(content), chunk)):
        connection.command(
            "nv_write", resource, content[offset : offset + chunk], offset=offset, auth_handle=authorization
        )


def _read(connection: Connection, index: int) -> bytes:
    if not connection.exists(index):
        return b""
    with connection.opened(index) as resource:
        return _read_chunks(connection, resource) if _describe(connection, resource).written else b""


def _read_chunks(connection: Connection, resource: int) -> bytes:
    chunk = connection.properties[PT_NV_BUFFER_MAX]
    size = _describe(connection, resource).size
    return b"".join(
        bytes(connection.command("nv_read", resource, min(chunk, size - offset), offset=offset))
        for offset in range(0, size, chunk)
    )


def _describe(connection: Connection, resource: int) -> _Index:
    public, _name = connection.command("nv_read_public", resource)
    with ByteReader(public.marshal(), "TPM2B_NV_PUBLIC") as reader:
        reader.u16()  # size of the structure
        reader.u32()  # nvIndex
        reader.u16()  # nameAlg
        attributes = reader.u32()
        reader.sized16()  # authPolicy
        size = reader.u16()
    return _Index(size, written=bool(attributes & TPMA_NV.WRITTEN), locked=bool(attributes & TPMA_NV.WRITELOCKED))
