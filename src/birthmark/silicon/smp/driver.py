# SPDX-License-Identifier: Apache-2.0
"""The SecureElement of a board that is spoken to over SMP."""

from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.silicon.errors import ChipCommunication, ChipRefused
from birthmark.silicon.port import SLOTS, Algorithm, ChipIdentity, Evidence, SlotState
from birthmark.silicon.smp.conversation import Conversation
from birthmark.silicon.smp.messages import LOOK_AGAIN, Answer
from birthmark.silicon.smp.place import Place
from birthmark_mcu.chip import ALGORITHMS, STATES
from birthmark_mcu.smp import registry as smp

_KINDS = {smp.KIND_PKIX_EVIDENCE: PKIX_EVIDENCE}
_VALUE = ("size", "sha", "data")


class SMPChip:
    """
    One chip behind its board's MCU.

    The board is spoken to at the construction, which needs its answer. A call that changes the chip is sent once; when
    its answer is lost, ChipCommunication is raised, and the next call begins by opening the link anew.

    Raises:
        ChipAbsent: no board answers at the place.
        ChipError: it does, and cannot be used.

    """

    def __init__(self, place: Place) -> None:
        self._board = Conversation(place)
        self._identity: ChipIdentity | None = None

    def identity(self) -> ChipIdentity:
        """Return what the chip says it is; read once."""
        if self._identity is None:
            doing = "read the identity"
            answer = self._board.call(smp.READ, smp.IDENTITY, doing).must_have(
                "model", "serial", "fw", "certs", *_VALUE
            )
            certificates = _cut(self._board.fetch(answer, doing), answer.integers("certs"))
            self._identity = ChipIdentity(answer.text("model"), answer.text("serial"), answer.text("fw"), certificates)
        return self._identity

    def generate_keypair(self, slot: str, algorithm: Algorithm) -> bytes:
        """Make a new key in an EMPTY or KEYED slot; return its DER SubjectPublicKeyInfo."""
        doing = f"make a key in {slot}"
        number = _number(slot, doing)
        answer = self._board.change(smp.GENERATE, doing, slot=number, alg=ALGORITHMS.index(algorithm.value))
        return self._board.fetch(answer.must_have("rev", *_VALUE), doing)

    def public_key(self, slot: str) -> bytes:
        """Return the DER SubjectPublicKeyInfo of the key in the slot."""
        doing = f"read the public key of {slot}"
        answer = self._board.call(smp.READ, smp.PUBLIC_KEY, doing, slot=_number(slot, doing))
        return self._value(answer, doing)

    def attest(self, slot: str, nonce: bytes) -> Evidence:
        """Return the board's evidence about the key in the slot, fresh for the nonce."""
        doing = f"attest {slot}"
        answer = self._board.call(smp.WRITE, smp.ATTEST, doing, slot=_number(slot, doing), nonce=nonce)
        kind = answer.must_have("kind", *_VALUE).integer("kind")
        if kind not in _KINDS:
            raise ChipRefused(f"cannot {doing}: the board makes evidence of the unknown kind {kind}")
        return Evidence(_KINDS[kind], self._board.fetch(answer, doing))

    def sign(self, slot: str, digest: bytes) -> bytes:
        """Return the signature over a digest as long as the key, over mu, or for Ed25519 over the data itself."""
        doing = f"sign with {slot}"
        number = _number(slot, doing)
        if self._board.fits(digest):
            return self._value(self._board.call(smp.WRITE, smp.SIGN, doing, slot=number, data=digest), doing)
        sha = self._board.stage(digest, doing)
        return self._value(self._board.call(smp.WRITE, smp.SIGN_STAGED, doing, slot=number, sha=sha), doing)

    def import_certificate(self, slot: str, der: bytes) -> None:
        """Write the certificate beside its key. It is brought to the board in parts, and written there at once."""
        doing = f"write a certificate of {len(der)} bytes to {slot}"
        number = _number(slot, doing)
        sha = self._board.stage(der, doing)
        self._board.change(smp.CERTIFICATE, doing, slot=number, sha=sha).must_have("rev")

    def get_certificate(self, slot: str) -> bytes | None:
        """Return the certificate as stored, or None."""
        doing = f"read the certificate of {slot}"
        answer = self._board.call(smp.READ, smp.CERTIFICATE, doing, slot=_number(slot, doing))
        return self._value(answer, doing) or None

    def state(self, slot: str) -> SlotState:
        """Return what the slot holds."""
        doing = f"observe {slot}"
        number = _number(slot, doing)
        _, states = self._board.look(doing)
        if len(states) != len(SLOTS) or max(states) >= len(STATES):
            raise _nonsense(doing)
        return SlotState(STATES[states[number]])

    def active_slot(self) -> str:
        """Return the slot whose identity is in use."""
        doing = "observe the active slot"
        active, _ = self._board.look(doing)
        if active >= len(SLOTS):
            raise _nonsense(doing)
        return SLOTS[active]

    def activate(self, slot: str) -> None:
        """Make a CERTIFIED slot the one in use, in one write."""
        doing = f"activate {slot}"
        self._board.change(smp.ACTIVATE, doing, slot=_number(slot, doing)).must_have("rev")

    def erase(self, slot: str) -> None:
        """Destroy key and certificate in a slot."""
        doing = f"erase {slot}"
        self._board.change(smp.ERASE, doing, slot=_number(slot, doing)).must_have("rev")

    def close(self) -> None:
        """Let go of the line."""
        self._board.close()

    def _value(self, answer: Answer, doing: str) -> bytes:
        return self._board.fetch(answer.must_have(*_VALUE), doing)


def _number(slot: str, doing: str) -> int:
    if slot not in SLOTS:
        raise ChipRefused(f"cannot {doing}: there is no such slot")
    return SLOTS.index(slot)


def _cut(whole: bytes, sizes: list[int]) -> tuple[bytes, ...]:
    """Return the certificates that lie end to end in `whole`."""
    if sum(sizes) != len(whole):
        raise _nonsense("read the identity")
    ends = [sum(sizes[: count + 1]) for count in range(len(sizes))]
    return tuple(whole[end - size : end] for end, size in zip(ends, sizes, strict=True))


def _nonsense(doing: str) -> ChipCommunication:
    return ChipCommunication(f"cannot {doing}: the board's answer contradicts itself", hint=LOOK_AGAIN)
