# SPDX-License-Identifier: Apache-2.0
"""
What the chip does with a command: two slots, an active pointer, an attestation key, and no way out for a key.

Every instruction checks first and then replaces the chip's memory once, so that a power cut leaves the state before
or the state after and nothing between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from birthmark.silicon.port import SLOTS, Algorithm
from birthmark.silicon.simulator.commands import (
    APPLET,
    CLA_APPLET,
    CLA_CHAINING,
    CLA_STANDARD,
    MORE_DATA,
    SHORT_LIMIT,
    Command,
    Instruction,
    StatusError,
    StatusWord,
    read_command,
)
from birthmark.silicon.simulator.evidence import KeyFacts, PlatformFacts, encode_evidence
from birthmark.silicon.simulator.keys import ChipKey, KeyType, new_key, open_key, sign_condensed, spki_of, type_of
from birthmark.silicon.simulator.memory import (
    ChipMemory,
    KeyAttribute,
    LifeCycle,
    MemoryFile,
    SlotMemory,
)
from birthmark.silicon.simulator.models import capabilities
from birthmark.silicon.timing import FACTORS, LatencyModel

AK_CERTIFICATES_LIMIT = 3
NONCE_BYTES = 32
_TAGS = (0x80, 0x81, 0x82, 0x83)
_EMPTY, _KEYED, _CERTIFIED = range(3)
_TIME_UNIT_PER_MS = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """The response APDU and how long the chip is busy with it."""

    response: bytes
    busy_ms: float


class Applet:
    """
    The applet in one chip.

    `execute` takes whole command APDUs. `power_on` forgets whatever is not in the memory file.
    """

    def __init__(self, file: MemoryFile, memory: ChipMemory, latency: LatencyModel) -> None:
        self._file = file
        self._memory = memory
        self._latency = latency
        self._can = capabilities(memory.model)
        self._handlers = self._instructions()
        self.power_on()

    def power_on(self) -> None:
        """Start as after a reset: no applet selected, nothing half-received."""
        self._selected = False
        self._chain: Command | None = None
        self._rest = b""

    def execute(self, apdu: bytes) -> Outcome:
        """Carry out a command; never fails, the response says what was wrong."""
        self._busy_ms = 0.0
        try:
            command = self._assemble(read_command(apdu))
            data = b"" if command is None else self._dispatch(command)
        except StatusError as error:
            self._chain, self._rest = None, b""
            return Outcome(error.status.to_bytes(2, "big"), 0.0)
        return Outcome(self._answer(data, 0 if command is None else command.expected), self._busy_ms)

    def _assemble(self, command: Command) -> Command | None:
        """Return the command, with all the data of its chain; None while the chain goes on (ISO 7816-4 §5.3.3)."""
        chain, self._chain = self._chain, None
        if chain is not None:
            if (chain.ins, chain.p1, chain.p2) != (command.ins, command.p1, command.p2):
                raise StatusError(StatusWord.CHAIN_EXPECTED)
            data = chain.data + command.data
            command = Command(command.cla, command.ins, command.p1, command.p2, data, command.expected)
        if len(command.data) > self._can.chain_limit:
            raise StatusError(StatusWord.NO_MEMORY)
        if command.cla & CLA_CHAINING:
            self._chain = command
            return None
        return command

    def _dispatch(self, command: Command) -> bytes:
        if command.cla == CLA_STANDARD:
            return self._standard(command)
        if command.cla != CLA_APPLET:
            raise StatusError(StatusWord.UNKNOWN_CLASS)
        handler = self._handlers.get(command.ins)
        if handler is None or not self._selected:
            raise StatusError(StatusWord.UNKNOWN_INSTRUCTION)
        return handler(command)

    def _standard(self, command: Command) -> bytes:
        if command.ins == Instruction.GET_RESPONSE and self._rest:
            rest, self._rest = self._rest, b""
            return rest
        if command.ins != Instruction.SELECT:
            raise StatusError(StatusWord.UNKNOWN_INSTRUCTION)
        if command.data != APPLET:
            raise StatusError(StatusWord.NOT_FOUND)
        self._selected = True
        return self._times()

    def _answer(self, data: bytes, expected: int) -> bytes:
        """Return as much as the host takes; 61xx announces what GET RESPONSE will bring."""
        self._rest = data[expected:]
        if not self._rest:
            return data + StatusWord.OK.to_bytes(2, "big")
        return data[:expected] + bytes((MORE_DATA, len(self._rest) if len(self._rest) < SHORT_LIMIT else 0))

    def _times(self) -> bytes:
        """Return the instructions that take long, each with its time in units of 100 us."""
        latency = self._latency
        times = {
            Instruction.GENERATE: latency.generate_ms,
            Instruction.ATTEST: latency.attest_ms,
            Instruction.SIGN: latency.sign_ms,
            Instruction.PUT_CERTIFICATE: latency.write_page_ms,
            Instruction.ACTIVATE: latency.write_page_ms,
            Instruction.ERASE: latency.write_page_ms,
        }
        return b"".join(bytes((ins,)) + int(ms * _TIME_UNIT_PER_MS).to_bytes(2, "big") for ins, ms in times.items())

    def _instructions(self) -> MappingProxyType[int, Callable[[Command], bytes]]:
        return MappingProxyType(
            {
                Instruction.GET_IDENTITY: self._get_identity,
                Instruction.GET_STATUS: self._get_status,
                Instruction.GENERATE: self._generate,
                Instruction.GET_PUBLIC_KEY: self._get_public_key,
                Instruction.ATTEST: self._attest,
                Instruction.SIGN: self._sign,
                Instruction.PUT_CERTIFICATE: self._put_certificate,
                Instruction.GET_CERTIFICATE: self._get_certificate,
                Instruction.ACTIVATE: self._activate,
                Instruction.ERASE: self._erase,
                Instruction.EXPORT_KEY: self._export_key,
                Instruction.GET_AK_PUBLIC_KEY: self._get_ak_public_key,
                Instruction.PUT_AK_CERTIFICATE: self._put_ak_certificate,
                Instruction.LOCK: self._lock,
            }
        )

    # --- what anyone may ask -----------------------------------------------------------------------------------

    def _get_identity(self, _command: Command) -> bytes:
        memory = self._memory
        names = (memory.model.encode(), memory.serial.encode(), memory.firmware.encode())
        fields = [*zip(_TAGS, names, strict=False), *((_TAGS[-1], der) for der in memory.ak_certificates)]
        return b"".join(bytes((tag,)) + len(value).to_bytes(2, "big") + value for tag, value in fields)

    def _get_status(self, _command: Command) -> bytes:
        states = (_state(slot) for slot in self._memory.slots)
        return bytes((self._memory.active, *states, self._memory.life_cycle))

    def _generate(self, command: Command) -> bytes:
        if command.p2 not in self._can.key_types:
            raise StatusError(StatusWord.WRONG_PARAMETERS)
        if len(command.data) > 1 or any(byte > KeyAttribute.EXPORTABLE | KeyAttribute.DECRYPT for byte in command.data):
            raise StatusError(StatusWord.WRONG_DATA)
        number, slot = self._slot(command)
        if _state(slot) == _CERTIFIED:
            raise StatusError(StatusWord.NOT_ALLOWED)
        key_type = KeyType(command.p2)
        key = new_key(key_type)
        self._replace_slot(number, SlotMemory(key=key, attributes=int.from_bytes(command.data, "big")))
        self._busy_ms = self._latency.generate_ms * FACTORS[Algorithm[key_type.name]]
        return _spki(key)

    def _get_public_key(self, command: Command) -> bytes:
        return _spki(self._key(command))

    def _attest(self, command: Command) -> bytes:
        if self._memory.life_cycle == LifeCycle.CREATED:
            raise StatusError(StatusWord.NOT_ALLOWED)
        if len(command.data) != NONCE_BYTES:
            raise StatusError(StatusWord.WRONG_LENGTH)
        spki = _spki(self._key(command))
        number, slot = self._slot(command)
        attributes = KeyAttribute(slot.attributes)
        key = KeyFacts(SLOTS[number], spki, KeyAttribute.EXPORTABLE in attributes, KeyAttribute.DECRYPT in attributes)
        memory = self._memory
        platform = PlatformFacts(memory.model, memory.serial, memory.firmware, memory.life_cycle == LifeCycle.DEBUG)
        self._busy_ms = self._latency.attest_ms
        return encode_evidence(_attestation_key(memory.ak_key), platform, key, command.data)

    def _sign(self, command: Command) -> bytes:
        key = _opened(self._key(command))
        signature = sign_condensed(key, command.data)
        if signature is None:
            raise StatusError(StatusWord.WRONG_LENGTH)
        self._busy_ms = self._latency.sign_ms * FACTORS[Algorithm[type_of(key).name]]
        return signature

    def _put_certificate(self, command: Command) -> bytes:
        number, slot = self._slot(command)
        if _state(slot) == _EMPTY:
            raise StatusError(StatusWord.NOT_ALLOWED)
        self._check_certificate(command.data)
        self._replace_slot(number, replace(slot, certificate=command.data))
        self._busy_ms = self._latency.write_ms(len(command.data))
        return b""

    def _get_certificate(self, command: Command) -> bytes:
        certificate = self._slot(command)[1].certificate
        if certificate is None:
            raise StatusError(StatusWord.NOT_FOUND)
        return certificate

    def _activate(self, command: Command) -> bytes:
        number, slot = self._slot(command)
        if _state(slot) != _CERTIFIED:
            raise StatusError(StatusWord.NOT_ALLOWED)
        self._save(replace(self._memory, active=number))
        self._busy_ms = self._latency.write_page_ms
        return b""

    def _erase(self, command: Command) -> bytes:
        number, slot = self._slot(command)
        if number == self._memory.active and _state(slot) == _CERTIFIED:
            raise StatusError(StatusWord.NOT_ALLOWED)
        self._replace_slot(number, SlotMemory())
        self._busy_ms = self._latency.write_page_ms
        return b""

    def _export_key(self, _command: Command) -> bytes:
        raise StatusError(StatusWord.NOT_ALLOWED)

    # --- what the maker alone may ask --------------------------------------------------------------------------

    def _get_ak_public_key(self, _command: Command) -> bytes:
        self._demand_maker()
        return _spki(self._memory.ak_key)

    def _put_ak_certificate(self, command: Command) -> bytes:
        self._demand_maker()
        self._check_certificate(command.data)
        if len(self._memory.ak_certificates) == AK_CERTIFICATES_LIMIT:
            raise StatusError(StatusWord.NO_MEMORY)
        self._save(replace(self._memory, ak_certificates=(*self._memory.ak_certificates, command.data)))
        return b""

    def _lock(self, command: Command) -> bytes:
        self._demand_maker()
        if command.p1 not in (LifeCycle.OPERATIONAL, LifeCycle.DEBUG):
            raise StatusError(StatusWord.WRONG_PARAMETERS)
        if not self._memory.ak_certificates:
            raise StatusError(StatusWord.NOT_ALLOWED)
        self._save(replace(self._memory, life_cycle=LifeCycle(command.p1)))
        return b""

    def _demand_maker(self) -> None:
        if self._memory.life_cycle != LifeCycle.CREATED:
            raise StatusError(StatusWord.NOT_ALLOWED)

    # --- memory ------------------------------------------------------------------------------------------------

    def _slot(self, command: Command) -> tuple[int, SlotMemory]:
        if command.p1 >= len(self._memory.slots):
            raise StatusError(StatusWord.WRONG_PARAMETERS)
        return command.p1, self._memory.slots[command.p1]

    def _key(self, command: Command) -> bytes:
        key = self._slot(command)[1].key
        if key is None:
            raise StatusError(StatusWord.NOT_FOUND)
        return key

    def _check_certificate(self, der: bytes) -> None:
        if not der:
            raise StatusError(StatusWord.WRONG_LENGTH)
        if len(der) > self._can.certificate_limit:
            raise StatusError(StatusWord.NO_MEMORY)

    def _replace_slot(self, number: int, slot: SlotMemory) -> None:
        first, second = self._memory.slots
        self._save(replace(self._memory, slots=(slot, second) if number == 0 else (first, slot)))

    def _save(self, memory: ChipMemory) -> None:
        try:
            self._file.save(memory)
        except OSError as error:
            raise StatusError(StatusWord.FAILED) from error
        self._memory = memory


def _state(slot: SlotMemory) -> int:
    if slot.key is None:
        return _EMPTY
    return _KEYED if slot.certificate is None else _CERTIFIED


def _attestation_key(pkcs8: bytes) -> ec.EllipticCurvePrivateKey:
    key = _opened(pkcs8)
    if not isinstance(key, ec.EllipticCurvePrivateKey):  # no chip was made with another
        raise StatusError(StatusWord.FAILED)
    return key


@lru_cache(maxsize=8)
def _opened(pkcs8: bytes) -> ChipKey:
    return open_key(pkcs8)


@lru_cache(maxsize=8)
def _spki(pkcs8: bytes) -> bytes:
    return spki_of(_opened(pkcs8))
