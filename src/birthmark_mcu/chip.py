# SPDX-License-Identifier: Apache-2.0
"""
The secure element as the firmware uses it: the five calls, and what a production line and a rotation need.

    from machine import I2C
    from birthmark_mcu.chip import SecureElement

    chip = SecureElement(I2C(0))
    public_key = chip.generate_keypair("device-identity")

Instructions (class 80; P1 is the slot, 0 or 1):

    01 GET IDENTITY  -> TLVs: 80 model, 81 serial, 82 firmware, 83 AK certificate (each with a 2-byte length)
    02 GET STATUS    -> active slot | state of slot 0 | state of slot 1 | life cycle
    10 GENERATE      P2 = algorithm, data = attributes (1 byte, optional) -> SubjectPublicKeyInfo
    11 GET PUBLIC KEY   -> SubjectPublicKeyInfo
    12 ATTEST        data = nonce (32 bytes) -> evidence
    13 SIGN          data = digest (ECDSA), mu of 64 bytes (ML-DSA) or the data itself (Ed25519) -> signature
    14 PUT CERTIFICATE  data = certificate
    15 GET CERTIFICATE  -> certificate
    16 ACTIVATE, 17 ERASE
"""

from birthmark_mcu.apdu import Channel
from birthmark_mcu.bus import I2C
from birthmark_mcu.errors import LinkError, LinkFailed, Refused
from birthmark_mcu.link import ADDRESS, Link

SLOTS = ("device-identity", "device-identity.next")
ALGORITHMS = ("P-256", "P-384", "Ed25519", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")
"""What a chip may be asked to make; P2 counts from 1. Most chips refuse all but the first two."""

STATES = ("empty", "keyed", "certified")
APPLET = b"\xf0birthmark"
"""Application identifier: the unregistered category (F0), then "birthmark"."""

GET_IDENTITY = 0x01
GET_STATUS = 0x02
GENERATE = 0x10
GET_PUBLIC_KEY = 0x11
ATTEST = 0x12
SIGN = 0x13
PUT_CERTIFICATE = 0x14
GET_CERTIFICATE = 0x15
ACTIVATE = 0x16
ERASE = 0x17

WRITE_PAGE_BYTES = 256
"""Unit of the write time that the chip announces for PUT CERTIFICATE."""

TAG_MODEL = 0x80
TAG_SERIAL = 0x81
TAG_FIRMWARE = 0x82
TAG_AK_CERTIFICATE = 0x83

_CLA = 0x80
_SELECT = (0x00, 0xA4, 0x04, 0x00)
_TIME_UNIT_US = 100
_LARGE = 0x3000
_MU_BYTES = 64
_SIGNATURE_BYTES = 72
_SPKI_BYTES = 91
_TIMES_BYTES = 18
_STATUS_BYTES = 4
_FIELD_HEADER = 3
_SMALL_ALGORITHMS = 3
_NOT_FOUND = 0x6A88
_WRONG_PARAMETERS = 0x6A86


class SecureElement:
    """
    One chip on one bus; one caller at a time.

    The link is opened at the first call, and again after a failure. Every call raises an `errors.SecureElementError`
    (and nothing else) when the chip or the bus refuses or fails.
    """

    def __init__(self, bus: I2C, address: int = ADDRESS) -> None:
        self._bus = bus
        self._link = Link(bus, address)
        self._channel = Channel(self._link)
        self._selected = False
        self._waits_us = {}  # type: dict[int, int]

    def identity(self) -> tuple[str, str, str, list[bytes]]:
        """Return model, serial, firmware and the DER certificates of the attestation key, its own first."""
        fields = read_fields(self.command(GET_IDENTITY, expected=_LARGE))
        try:
            names = [str(fields[tag][0], "utf-8") for tag in (TAG_MODEL, TAG_SERIAL, TAG_FIRMWARE)]
        except (KeyError, ValueError):
            raise LinkFailed("the chip's identity is incomplete") from None
        return names[0], names[1], names[2], fields.get(TAG_AK_CERTIFICATE, [])

    def generate_keypair(self, slot: str, algorithm: str = "P-256") -> bytes:
        """Make a new key inside the chip, for signatures only; return its DER SubjectPublicKeyInfo."""
        if algorithm not in ALGORITHMS:
            raise Refused(_WRONG_PARAMETERS, f"algorithm {algorithm!r}")
        code = ALGORITHMS.index(algorithm) + 1
        expected = _LARGE if code > _SMALL_ALGORITHMS else 256
        return self.command(GENERATE, slot_number(slot), code, expected=expected, likely=_SPKI_BYTES)

    def public_key(self, slot: str) -> bytes:
        """Return the DER SubjectPublicKeyInfo of the key in the slot."""
        return self.command(GET_PUBLIC_KEY, slot_number(slot), expected=256, likely=_SPKI_BYTES)

    def attest(self, slot: str, nonce: bytes) -> bytes:
        """Return the chip's evidence (DER) about the key in the slot, fresh for this nonce of 32 bytes."""
        return self.command(ATTEST, slot_number(slot), data=nonce, expected=_LARGE)

    def sign(self, slot: str, digest: bytes) -> bytes:
        """
        Return the signature over a digest as long as the key; in DER.

        A key of type ML-DSA takes mu (64 bytes) in place of the digest, one of type Ed25519 the data itself.
        """
        expected = _LARGE if len(digest) == _MU_BYTES else 256
        return self.command(SIGN, slot_number(slot), data=digest, expected=expected, likely=_SIGNATURE_BYTES)

    def import_certificate(self, slot: str, der: bytes) -> None:
        """Write the certificate beside its key, in place of an earlier one."""
        self.command(PUT_CERTIFICATE, slot_number(slot), data=der)

    def get_certificate(self, slot: str) -> "bytes | None":
        """Return the certificate as stored, or None."""
        try:
            return self.command(GET_CERTIFICATE, slot_number(slot), expected=_LARGE)
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise

    def state(self, slot: str) -> str:
        """Return what the slot holds: `empty`, `keyed` or `certified`."""
        number = slot_number(slot)
        return _named(STATES, self._status()[1 + number])

    def status(self) -> "tuple[str, list[str]]":
        """Return the slot whose identity is in use, and what each slot holds, in the order of SLOTS."""
        status = self._status()
        return _named(SLOTS, status[0]), [_named(STATES, state) for state in status[1 : 1 + len(SLOTS)]]

    def active_slot(self) -> str:
        """Return the slot whose identity is in use."""
        return _named(SLOTS, self._status()[0])

    def activate(self, slot: str) -> None:
        """Make a certified slot the one in use, in one write."""
        self.command(ACTIVATE, slot_number(slot))

    def erase(self, slot: str) -> None:
        """Destroy key and certificate in a slot; the active slot is refused once it is certified."""
        self.command(ERASE, slot_number(slot))

    def close(self) -> None:
        """Let go of the bus."""
        self._bus.deinit()

    def command(
        self, ins: int, p1: int = 0, p2: int = 0, *, data: bytes = b"", expected: int = 0, likely: int = 0
    ) -> bytes:
        """
        Carry out one instruction of the applet and return its response data.

        Args:
            ins: the instruction.
            p1: first parameter, mostly the slot.
            p2: second parameter.
            data: command data of any length.
            expected: the most response data that is wanted.
            likely: its likely length, if known: saves a bus transfer.

        """
        try:
            if not self._selected:
                self._select()
            busy_us = self._waits_us.get(ins, 0)
            if ins == PUT_CERTIFICATE:
                busy_us *= -(-len(data) // WRITE_PAGE_BYTES)
            return self._channel.transmit((_CLA, ins, p1, p2), data, expected, (busy_us, likely))
        except LinkError:
            self._selected = False
            raise

    def _status(self) -> bytes:
        status = self.command(GET_STATUS, expected=256, likely=_STATUS_BYTES)
        if len(status) != _STATUS_BYTES:
            raise LinkFailed("the chip's status has the wrong length")
        return status

    def _select(self) -> None:
        """Open the link and the applet; its answer lists how long instructions take: INS, time in 100 us (2 bytes)."""
        self._link.open()
        times = self._channel.transmit(_SELECT, APPLET, 256, (0, _TIMES_BYTES))
        if len(times) % 3:
            raise LinkFailed("the chip's list of times has the wrong length")
        for at in range(0, len(times), 3):
            self._waits_us[times[at]] = (times[at + 1] << 8 | times[at + 2]) * _TIME_UNIT_US
        self._selected = True


def slot_number(slot: str) -> int:
    """Return the number of a slot's name. Raises Refused, as the chip would, for a name that no slot has."""
    if slot not in SLOTS:
        raise Refused(_WRONG_PARAMETERS, f"slot {slot!r}")
    return SLOTS.index(slot)


def read_fields(data: bytes) -> dict[int, list[bytes]]:
    """Return the values of each tag in a list of TLVs with 2-byte lengths. Raises LinkFailed for a torn one."""
    fields = {}  # type: dict[int, list[bytes]]
    while data:
        end = _FIELD_HEADER + (data[1] << 8 | data[2]) if len(data) >= _FIELD_HEADER else 0
        if not 0 < end <= len(data):
            raise LinkFailed("the chip's identity is torn")
        fields.setdefault(data[0], []).append(data[_FIELD_HEADER:end])
        data = data[end:]
    return fields


def _named(names: tuple[str, ...], number: int) -> str:
    if number >= len(names):
        raise LinkFailed("the chip's status has an unknown value")
    return names[number]
