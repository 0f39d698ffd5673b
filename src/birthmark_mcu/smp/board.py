# SPDX-License-Identifier: Apache-2.0
"""
The chip's calls as a group of SMP commands. What each carries: docs/reference/smp-link.md.

Whatever changes the chip carries the revision that the board named last. The board counts it up at each
`open` and before each change, so that a frame which is repeated, comes late, or is older than a reset does nothing.
"""

import hashlib

from birthmark_mcu.chip import ALGORITHMS, SLOTS, STATES, SecureElement
from birthmark_mcu.errors import LinkFailed, NoChip, Refused
from birthmark_mcu.smp import cbor
from birthmark_mcu.smp import registry as smp
from birthmark_mcu.smp.server import Failed, Fields, Group, GroupFailed

_NO_SUCH_PARAMETER = 0x6A86
_HEAD_GROWTH = 2
"""How much longer the head of a byte string in a frame is than that of an empty one."""


class ChipSource:
    """Where the group gets its chip from; any object that has the call will do."""

    def connect(self) -> SecureElement:
        """
        Return the chip, freshly reset where the board can do that. Called at each `open`.

        Raises:
            birthmark_mcu.errors.SecureElementError: there is none, or the bus failed.

        """
        raise NotImplementedError


class ChipGroup(Group):
    """
    Serves one chip to one rig at a time.

    Args:
        source: where the chip is.
        revision: where the count of changes begins, a random number below 2^32: no two starts may begin alike.
        frame_bytes: the server's.
        stage_bytes: the longest value that this board has room for.

    """

    def __init__(
        self,
        source: ChipSource,
        revision: int,
        frame_bytes: int = smp.FRAME_BYTES,
        stage_bytes: int = smp.STAGE_BYTES,
    ) -> None:
        self._source = source
        self._revision = revision
        self._room = frame_bytes - smp.HEADER_BYTES
        self._frame_bytes = frame_bytes
        self._stage_bytes = stage_bytes
        self._chip = None  # type: SecureElement | None
        self._staged = b""
        self._stage_size = 0
        self._result = b""
        self._commands = {
            (smp.READ, smp.INFO): ((), self._info),
            (smp.WRITE, smp.OPEN): (("v",), self._open),
            (smp.READ, smp.IDENTITY): ((), self._identity),
            (smp.READ, smp.STATE): ((), self._state),
            (smp.WRITE, smp.GENERATE): (("rev", "slot", "alg"), self._generate),
            (smp.READ, smp.PUBLIC_KEY): (("slot",), self._public_key),
            (smp.WRITE, smp.ATTEST): (("slot", "nonce"), self._attest),
            (smp.WRITE, smp.SIGN): (("slot", "data"), self._sign),
            (smp.WRITE, smp.SIGN_STAGED): (("slot", "sha"), self._sign_staged),
            (smp.WRITE, smp.STAGE): (("off", "size", "data"), self._stage),
            (smp.READ, smp.RESULT): (("off",), self._read_result),
            (smp.READ, smp.CERTIFICATE): (("slot",), self._get_certificate),
            (smp.WRITE, smp.CERTIFICATE): (("rev", "slot", "sha"), self._import_certificate),
            (smp.WRITE, smp.ACTIVATE): (("rev", "slot"), self._activate),
            (smp.WRITE, smp.ERASE): (("rev", "slot"), self._erase),
        }

    def handle(self, operation: int, command: int, fields: Fields) -> "dict[str, object]":
        """Do one command."""
        if (operation, command) not in self._commands:
            raise Failed(smp.NOT_SUPPORTED)
        names, act = self._commands[operation, command]
        fields.must_be(names)
        try:
            return act(fields)
        except NoChip:
            raise GroupFailed(smp.ABSENT) from None
        except LinkFailed:
            raise GroupFailed(smp.LINK_FAILED) from None
        except Refused as refused:
            is_status = smp.STATUS_FIRST <= refused.status <= smp.STATUS_LAST
            raise GroupFailed(refused.status if is_status else smp.UNKNOWN) from None

    # --- the conversation ----------------------------------------------------------------------------------------

    def _info(self, _fields: Fields) -> "dict[str, object]":
        return {"v": smp.LINK_VERSION, "frame": self._frame_bytes, "stage": self._stage_bytes}

    def _open(self, fields: Fields) -> "dict[str, object]":
        if fields.integer("v") != smp.LINK_VERSION:
            raise GroupFailed(smp.WRONG_VERSION)
        self._count()
        self._staged, self._stage_size, self._result = b"", 0, b""
        if self._chip is not None:
            self._chip.close()
            self._chip = None
        self._chip = self._source.connect()
        answer = self._info(fields)
        answer["rev"] = self._revision
        return answer

    def _count(self) -> None:
        self._revision = (self._revision + 1) % smp.REVISION_LIMIT

    def _opened(self) -> SecureElement:
        if self._chip is None:
            raise Failed(smp.BAD_STATE)
        return self._chip

    def _to_change(self, fields: Fields) -> SecureElement:
        """Return the chip when the rig knows what it is about to change; from then on the rig knows it no more."""
        chip = self._opened()
        if fields.integer("rev") != self._revision:
            raise GroupFailed(smp.STALE)
        self._count()
        return chip

    # --- what changes nothing ------------------------------------------------------------------------------------

    def _identity(self, _fields: Fields) -> "dict[str, object]":
        model, serial, firmware, certificates = self._opened().identity()
        sizes = [len(certificate) for certificate in certificates]
        names = {"model": model, "serial": serial, "fw": firmware, "certs": sizes}  # type: dict[str, object]
        return self._with_result(names, b"".join(certificates))

    def _state(self, _fields: Fields) -> "dict[str, object]":
        active, states = self._opened().status()
        numbers = [STATES.index(state) for state in states]
        return {"rev": self._revision, "active": SLOTS.index(active), "slots": numbers}

    def _public_key(self, fields: Fields) -> "dict[str, object]":
        return self._with_result({}, self._opened().public_key(_slot(fields)))

    def _attest(self, fields: Fields) -> "dict[str, object]":
        evidence = self._opened().attest(_slot(fields), fields.octets("nonce"))
        return self._with_result({"kind": smp.KIND_PKIX_EVIDENCE}, evidence)

    def _sign(self, fields: Fields) -> "dict[str, object]":
        return self._with_result({}, self._opened().sign(_slot(fields), fields.octets("data")))

    def _sign_staged(self, fields: Fields) -> "dict[str, object]":
        chip = self._opened()
        return self._with_result({}, chip.sign(_slot(fields), self._take_staged(fields)))

    def _get_certificate(self, fields: Fields) -> "dict[str, object]":
        return self._with_result({}, self._opened().get_certificate(_slot(fields)) or b"")

    # --- what changes the chip -----------------------------------------------------------------------------------

    def _generate(self, fields: Fields) -> "dict[str, object]":
        number = fields.integer("alg")
        if number >= len(ALGORITHMS):
            raise GroupFailed(_NO_SUCH_PARAMETER)
        slot = _slot(fields)
        spki = self._to_change(fields).generate_keypair(slot, ALGORITHMS[number])
        return self._with_result({"rev": self._revision}, spki)

    def _import_certificate(self, fields: Fields) -> "dict[str, object]":
        slot = _slot(fields)
        der = self._take_staged(fields)
        self._to_change(fields).import_certificate(slot, der)
        return {"rev": self._revision}

    def _activate(self, fields: Fields) -> "dict[str, object]":
        slot = _slot(fields)
        self._to_change(fields).activate(slot)
        return {"rev": self._revision}

    def _erase(self, fields: Fields) -> "dict[str, object]":
        slot = _slot(fields)
        self._to_change(fields).erase(slot)
        return {"rev": self._revision}

    # --- long values, in parts -----------------------------------------------------------------------------------

    def _stage(self, fields: Fields) -> "dict[str, object]":
        """Take in a part in its turn; the answer says, as the upload of an image does, what is expected next."""
        self._opened()
        at, size, part = fields.integer("off"), fields.integer("size"), fields.octets("data")
        if size > self._stage_bytes:
            raise GroupFailed(smp.TOO_LONG)
        if at == 0:
            self._staged, self._stage_size = b"", size
        if at == len(self._staged) and size == self._stage_size and at + len(part) <= size:
            self._staged += part
        return {"off": len(self._staged)}

    def _take_staged(self, fields: Fields) -> bytes:
        """Return what was staged, which is gone then."""
        whole, size = self._staged, self._stage_size
        self._staged, self._stage_size = b"", 0
        if len(whole) != size or hashlib.sha256(whole).digest() != fields.octets("sha"):
            raise GroupFailed(smp.NOT_STAGED)
        return whole

    def _with_result(self, answer: "dict[str, object]", whole: bytes) -> "dict[str, object]":
        """Keep a value for `result`; return the answer with as much of it as there is room for."""
        self._result = whole
        answer["size"] = len(whole)
        answer["sha"] = hashlib.sha256(whole).digest()
        return self._with_part(answer, 0)

    def _read_result(self, fields: Fields) -> "dict[str, object]":
        at = fields.integer("off")
        if at >= len(self._result):
            raise GroupFailed(smp.NO_RESULT)
        return self._with_part({"off": at}, at)

    def _with_part(self, answer: "dict[str, object]", at: int) -> "dict[str, object]":
        answer["data"] = b""
        room = max(0, self._room - len(cbor.encode(answer)) - _HEAD_GROWTH)
        answer["data"] = self._result[at : at + room]
        return answer


def _slot(fields: Fields) -> str:
    number = fields.integer("slot")
    if number >= len(SLOTS):
        raise GroupFailed(_NO_SUCH_PARAMETER)
    return SLOTS[number]
