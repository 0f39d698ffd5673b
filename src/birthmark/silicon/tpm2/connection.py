# SPDX-License-Identifier: Apache-2.0
"""
One connection to a TPM, and the one place where the TSS's return codes become chip errors.

Two habits of tpm2-pytss shape this file. A field that is reached through a temporary may read as garbage, so results
are marshalled to bytes at once and read by our own reader. And a TPM has three slots for transient objects, which
nobody frees for a client that forgot; here each is flushed where it was made.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from tpm2_pytss import ESAPI
from tpm2_pytss.constants import ESYS_TR, TPM2_CAP
from tpm2_pytss.TSS2_Exception import TSS2_Exception
from tpm2_pytss.types import TPM2B_SENSITIVE_CREATE

from birthmark.core.reader import ByteReader
from birthmark.silicon.errors import ChipAbsent, ChipCommunication, ChipError, ChipFull, ChipRefused

# TPM 2.0 Library, Part 2, §6.13: TPM_PT, the fixed group.
_PT_FIXED = 0x100
_PT_FIXED_COUNT = 0x100
PT_MANUFACTURER = 0x105
PT_VENDOR_STRINGS = (0x106, 0x107, 0x108, 0x109)
PT_FIRMWARE_VERSION_1 = 0x10B
PT_FIRMWARE_VERSION_2 = 0x10C
PT_NV_INDEX_MAX = 0x117
PT_NV_BUFFER_MAX = 0x12C

# Part 2, §6.6.3: return codes that say "no room".
_RC_NV_SPACE = 0x14B
_RC_OBJECT_MEMORY = 0x902
_FULL = frozenset({_RC_NV_SPACE, _RC_OBJECT_MEMORY})
# TSS 2.0 Overview §4.2: bits 16 to 23 name the layer; 0 is the TPM, 11 and 12 speak for it (resource manager).
_LAYER_SHIFT = 16
_LAYER_MASK = 0xFF
_TPM_LAYERS = frozenset({0, 11, 12})


class Connection:
    """
    An ESAPI context on a TCTI, opened by the first command, and opened anew by the command after a lost one.

    Every method raises a ChipError and nothing else.
    """

    def __init__(self, tcti: str) -> None:
        self._tcti = tcti
        self._esapi: ESAPI | None = None
        self._closed = False

    def close(self) -> None:
        """Let go of the TPM for good. May be called again."""
        self._closed = True
        self._drop()

    def command(self, name: str, *arguments: object, **options: object) -> Any:
        """
        Do one TPM command, by its name in ESAPI.

        Raises:
            ChipAbsent: nothing answers behind the TCTI.
            ChipFull: the TPM has no room for the object.
            ChipRefused: the TPM answered with an error.
            ChipCommunication: there was no proper answer.

        """
        esapi = self._opened()
        try:
            return getattr(esapi, name)(*arguments, **options)
        except TSS2_Exception as error:
            failure = _chip_error(name, error)
            if isinstance(failure, ChipCommunication):
                self._drop()
            raise failure from error

    @cached_property
    def properties(self) -> dict[int, int]:
        """The TPM's fixed properties (TPM_PT), read once."""
        _more, capability = self.command("get_capability", TPM2_CAP.TPM_PROPERTIES, _PT_FIXED, _PT_FIXED_COUNT)
        with ByteReader(capability.marshal(), "TPML_TAGGED_TPM_PROPERTY") as reader:
            reader.u32()  # which capability
            return {reader.u32(): reader.u32() for _ in range(reader.u32())}

    def exists(self, handle: int) -> bool:
        """Return whether a persistent object or NV index with this handle is there."""
        _more, capability = self.command("get_capability", TPM2_CAP.HANDLES, handle, 1)
        with ByteReader(capability.marshal(), "TPML_HANDLE") as reader:
            reader.u32()  # which capability
            handles = [reader.u32() for _ in range(reader.u32())]
        return handle in handles

    @contextmanager
    def opened(self, handle: int) -> Iterator[int]:
        """Yield the ESYS_TR of a persistent object or NV index. Do not undefine or evict it inside the block."""
        resource = self.command("tr_from_tpmpublic", handle)
        try:
            yield resource
        finally:
            self.release("tr_close", resource)

    @contextmanager
    def primary(self, hierarchy: ESYS_TR, template: object) -> Iterator[int]:
        """Yield a primary key of this template: the same key every time. It is gone after the block."""
        key, *_ = self.command("create_primary", TPM2B_SENSITIVE_CREATE(), template, hierarchy)
        try:
            yield key
        finally:
            self.release("flush_context", key)

    @contextmanager
    def created(self, parent: int, template: object) -> Iterator[int]:
        """Yield a new random key under `parent`. It is gone after the block unless it was made persistent."""
        private, public, *_ = self.command("create", parent, TPM2B_SENSITIVE_CREATE(), template)
        key = self.command("load", parent, private, public)
        try:
            yield key
        finally:
            self.release("flush_context", key)

    def persist(self, key: int, handle: int) -> None:
        """Keep a transient key under a persistent handle that is free."""
        self.command("tr_close", self.command("evict_control", ESYS_TR.OWNER, key, handle))

    def evict(self, handle: int) -> None:
        """Destroy the persistent key with this handle, if there is one."""
        if not self.exists(handle):
            return
        resource = self.command("tr_from_tpmpublic", handle)
        self.command("evict_control", ESYS_TR.OWNER, resource, handle)
        # libtss2 3.2 keeps the resource, and would then refuse the next key under this handle as an impostor.
        with suppress(TSS2_Exception):
            self._opened().tr_close(resource)

    def public_area(self, key: int) -> bytes:
        """Return the TPMT_PUBLIC of a key."""
        public, _name, _qualified_name = self.command("read_public", key)
        with ByteReader(public.marshal(), "TPM2B_PUBLIC") as reader:
            return reader.sized16()

    def release(self, command: str, resource: int) -> None:
        """Close or flush a resource with `command`; nothing to do when it went with a lost connection."""
        if self._esapi is not None:
            self.command(command, resource)

    def _opened(self) -> ESAPI:
        if self._closed:
            raise ChipAbsent("the connection to the TPM is closed")
        if self._esapi is None:
            # The TSS writes to stderr what it also returns. An operator who wants to read it sets the variable.
            os.environ.setdefault("TSS2_LOG", "all+NONE")
            try:
                self._esapi = ESAPI(self._tcti)
            except TSS2_Exception as error:
                raise ChipAbsent(f"no TPM at {self._tcti}: {error}", hint="is it on, and the TCTI right?") from error
        return self._esapi

    def _drop(self) -> None:
        if self._esapi is not None:
            self._esapi.close()
            self._esapi = None


def _chip_error(command: str, error: TSS2_Exception) -> ChipError:
    message = f"TPM {command}: {error}"
    if (error.rc >> _LAYER_SHIFT) & _LAYER_MASK not in _TPM_LAYERS:
        return ChipCommunication(message, hint="open the TPM again and observe its state")
    if error.error in _FULL:
        return ChipFull(message)
    return ChipRefused(message)
