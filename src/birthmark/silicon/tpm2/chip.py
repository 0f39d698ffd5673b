# SPDX-License-Identifier: Apache-2.0
"""The SecureElement of a TPM 2.0."""

from collections.abc import Iterator
from contextlib import contextmanager

from tpm2_pytss.constants import ESYS_TR, TPM2_ALG
from tpm2_pytss.types import TPMT_SIG_SCHEME

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import TCG_ATTEST_TPM_CERTIFY
from birthmark.silicon.errors import ChipError, ChipRefused
from birthmark.silicon.port import SLOT_IDENTITY, SLOTS, Algorithm, ChipIdentity, Evidence, SlotState
from birthmark.silicon.tpm2 import nvram
from birthmark.silicon.tpm2.connection import Connection
from birthmark.silicon.tpm2.identity import identity
from birthmark.silicon.tpm2.layout import (
    ACTIVE_SLOT_INDEX,
    AK_CERTIFICATE_INDEX,
    AK_HANDLE,
    SLOT_PLACES,
    SRK_HANDLE,
    SlotPlace,
    device_key,
    storage_root_key,
)
from birthmark.silicon.tpm2.structures import TcgAttestCertify, der_signature, spki_of

NONCE_BYTES = 32
DIGEST_BYTES = 32


class TPM2Chip:
    """
    A TPM behind a TCTI, such as `swtpm:path=/run/tpm/s` or `device:/dev/tpmrm0`.

    A slot is a persistent key and the NV index of its certificate. Nothing is sent before the first call. The owner's
    hierarchy is used without a password. Keys are P-256 and sign SHA-256 digests.
    """

    def __init__(self, tcti: str) -> None:
        self._tpm = Connection(tcti)
        self._identity: ChipIdentity | None = None

    def identity(self) -> ChipIdentity:
        """Return what the TPM says it is; the serial is the one in its AK certificate."""
        if self._identity is None:
            self._identity = self._read_identity()
        return self._identity

    def generate_keypair(self, slot: str, algorithm: Algorithm) -> bytes:
        """Make a new random key under the SRK, in an EMPTY or KEYED slot; return its DER SubjectPublicKeyInfo."""
        if algorithm is not Algorithm.P256:
            raise ChipRefused(f"this TPM's slots take P-256 keys, not {algorithm.value}", finding="chip.algorithm")
        if self.state(slot) is SlotState.CERTIFIED:
            raise ChipRefused(f"slot {slot} is certified; erase it first", finding="chip.slot-certified")
        place = _place(slot)
        self._make_srk()
        with self._tpm.opened(SRK_HANDLE) as srk, self._tpm.created(srk, device_key()) as key:
            # A certificate that was half written goes before the key that it was for.
            nvram.delete_object(self._tpm, place.certificate)
            self._tpm.evict(place.key)
            self._tpm.persist(key, place.key)
            return spki_of(self._tpm.public_area(key))

    def public_key(self, slot: str) -> bytes:
        """Return the DER SubjectPublicKeyInfo of the key in the slot."""
        with self._key(slot) as key, _understood(f"the key in slot {slot}"):
            return spki_of(self._tpm.public_area(key))

    def attest(self, slot: str, nonce: bytes) -> Evidence:
        """Return the AK's TPM2_Certify of the key in the slot, with the nonce as its extraData."""
        if len(nonce) != NONCE_BYTES:
            raise ChipRefused(f"a nonce has {NONCE_BYTES} bytes", finding="chip.nonce")
        if not self._tpm.exists(AK_HANDLE):
            raise _not_provisioned()
        with self._key(slot) as key, self._tpm.opened(AK_HANDLE) as ak:
            attest, signature = self._tpm.command("certify", key, ak, nonce, _scheme_of_the_key())
            public_area = self._tpm.public_area(key)
        statement = TcgAttestCertify(attest=bytes(attest), signature=signature.marshal(), public=public_area)
        return Evidence(TCG_ATTEST_TPM_CERTIFY, der.encode(statement))

    def sign(self, slot: str, digest: bytes) -> bytes:
        """Return the DER ECDSA signature over a SHA-256 digest."""
        if len(digest) != DIGEST_BYTES:
            raise ChipRefused(f"the key signs {DIGEST_BYTES} bytes, not {len(digest)}", finding="chip.digest")
        with self._key(slot) as key:
            signature = self._tpm.command("sign", key, digest, _scheme_of_the_key())
        with _understood("the TPM's signature"):
            return der_signature(signature.marshal())

    def import_certificate(self, slot: str, der: bytes) -> None:
        """Write the certificate to the slot's NV index; replaces an earlier one."""
        place = _place(slot)
        if not self._tpm.exists(place.key):
            raise _empty(slot)
        nvram.write_object(self._tpm, place.certificate, der)

    def get_certificate(self, slot: str) -> bytes | None:
        """Return the certificate as stored, or None. One that was half written is none."""
        return nvram.read_object(self._tpm, _place(slot).certificate)

    def state(self, slot: str) -> SlotState:
        """Return what the slot holds."""
        place = _place(slot)
        if not self._tpm.exists(place.key):
            return SlotState.EMPTY
        return SlotState.KEYED if self.get_certificate(slot) is None else SlotState.CERTIFIED

    def active_slot(self) -> str:
        """Return the slot whose identity is in use."""
        position = nvram.read_byte(self._tpm, ACTIVE_SLOT_INDEX)
        if position is None:
            return SLOT_IDENTITY
        if position >= len(SLOTS):
            raise ChipError(f"the TPM points to slot {position}, which does not exist", finding="chip.slot")
        return SLOTS[position]

    def activate(self, slot: str) -> None:
        """Make a CERTIFIED slot the one in use: one byte, one command."""
        if self.state(slot) is not SlotState.CERTIFIED:
            raise ChipRefused(f"slot {slot} holds no complete identity", finding="chip.slot-not-certified")
        nvram.write_byte(self._tpm, ACTIVE_SLOT_INDEX, SLOTS.index(slot))

    def erase(self, slot: str) -> None:
        """Destroy key and certificate in a slot. The active slot is refused once it is CERTIFIED."""
        place = _place(slot)
        if self.state(slot) is SlotState.CERTIFIED and self.active_slot() == slot:
            raise ChipRefused(f"slot {slot} is the identity in use", finding="chip.slot-active")
        # In this order a power cut leaves a key without certificate, never the reverse.
        nvram.delete_object(self._tpm, place.certificate)
        self._tpm.evict(place.key)

    def close(self) -> None:
        """Let go of the TPM."""
        self._tpm.close()

    def _read_identity(self) -> ChipIdentity:
        certificate = nvram.read_once_written(self._tpm, AK_CERTIFICATE_INDEX)
        if certificate is None:
            raise _not_provisioned()
        return identity(certificate, self._tpm.properties)

    def _make_srk(self) -> None:
        if self._tpm.exists(SRK_HANDLE):
            return
        with self._tpm.primary(ESYS_TR.OWNER, storage_root_key()) as srk:
            self._tpm.persist(srk, SRK_HANDLE)

    @contextmanager
    def _key(self, slot: str) -> Iterator[int]:
        place = _place(slot)
        if not self._tpm.exists(place.key):
            raise _empty(slot)
        with self._tpm.opened(place.key) as key:
            yield key


def _place(slot: str) -> SlotPlace:
    if slot not in SLOT_PLACES:
        raise ChipRefused(f"there is no slot {slot!r}", finding="chip.slot")
    return SLOT_PLACES[slot]


def _scheme_of_the_key() -> TPMT_SIG_SCHEME:
    return TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)


def _empty(slot: str) -> ChipRefused:
    return ChipRefused(f"slot {slot} is empty", finding="chip.slot-empty")


def _not_provisioned() -> ChipRefused:
    return ChipRefused(
        "the TPM has no attestation key with a certificate",
        hint="its maker provisions it (silicon.tpm2.provision)",
        finding="chip.not-provisioned",
    )


@contextmanager
def _understood(what: str) -> Iterator[None]:
    """Raise ChipError in place of a decoder's error: what the TPM holds is not what this driver put there."""
    try:
        yield
    except (DecodeError, ValueError) as error:
        raise ChipError(f"{what} is not what it should be: {error}", finding="chip.malformed") from error
