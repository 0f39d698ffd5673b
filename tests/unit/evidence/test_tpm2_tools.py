# SPDX-License-Identifier: Apache-2.0
"""Evidence of a real TPM 2.0 (swtpm), made by the real tpm2-tools; only the AK certificate is the forge's."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from birthmark.core.reader import ByteReader
from birthmark.core.registry import TCG_ATTEST_TPM_CERTIFY
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.verdict import require
from birthmark.pki.authorities import ChipName
from birthmark.silicon.port import Evidence
from birthmark.testing.forge import TPM, Chip, Forge, new_key, spki
from birthmark.testing.statements import tlv, tpm2b
from support.swtpm import swtpm

NONCE = bytes(range(32))
TPM2_CERTIFY_NONCE = bytes.fromhex("00ff55aa")
"""The qualifying data of tpm2_certify 5.4: it always sends these and has no option for others."""
AK_HANDLE, KEY_HANDLE = 0x8101_0002, 0x8100_0001
FIXED = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
PASSWORD = bytes.fromhex("40000009 0000 00 0000")


@dataclass(frozen=True)
class RealTPM:
    tcti: str
    directory: Path

    def __call__(self, tool: str, *arguments: str) -> bytes:
        command = [f"tpm2_{tool}", *arguments, "--tcti", self.tcti]
        return subprocess.run(command, cwd=self.directory, check=True, capture_output=True).stdout

    def make_ak(self) -> ec.EllipticCurvePublicKey:
        """A restricted ECC signing key in the endorsement hierarchy, persistent."""
        self("createprimary", "-C", "e", "-G", "ecc256:ecdsa-sha256:null", "-a", f"{FIXED}|restricted|sign", "-c", "ak")
        return self._persistent("ak", AK_HANDLE)

    def make_key(self, template: str, attributes: str) -> ec.EllipticCurvePublicKey:
        """A device key under a storage key, persistent."""
        self("createprimary", "-C", "o", "-G", "ecc256", "-c", "srk")
        self("flushcontext", "-t")
        self("create", "-C", "srk", "-G", template, "-a", attributes, "-u", "key.pub", "-r", "key.priv")
        self("flushcontext", "-t")
        self("load", "-C", "srk", "-u", "key.pub", "-r", "key.priv", "-c", "key")
        return self._persistent("key", KEY_HANDLE)

    def _persistent(self, context: str, handle: int) -> ec.EllipticCurvePublicKey:
        self("evictcontrol", "-C", "o", "-c", context, f"{handle:#x}")
        self("flushcontext", "-t")
        self("readpublic", "-c", f"{handle:#x}", "-f", "pem", "-o", f"{context}.pem")
        self("readpublic", "-c", f"{handle:#x}", "-f", "tss", "-o", f"{context}.tss")
        key = load_pem_public_key((self.directory / f"{context}.pem").read_bytes())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return key

    def certify(self, nonce: bytes) -> tuple[bytes, bytes]:
        """
        TPM2_Certify with a nonce, as bytes through tpm2_send: tpm2_certify takes no qualifying data of its own.

        Return TPMS_ATTEST and TPMT_SIGNATURE.
        """
        handles = KEY_HANDLE.to_bytes(4, "big") + AK_HANDLE.to_bytes(4, "big")
        sessions = (2 * len(PASSWORD)).to_bytes(4, "big") + 2 * PASSWORD
        body = bytes.fromhex("00000148") + handles + sessions + tpm2b(nonce) + bytes.fromhex("0010")
        (self.directory / "command").write_bytes(b"\x80\x02" + (len(body) + 6).to_bytes(4, "big") + body)
        self("send", "-o", "response", "command")
        with ByteReader((self.directory / "response").read_bytes(), "response") as response:
            response.take(6)
            assert response.u32() == 0
            parameters = response.take(response.u32())
            response.take(2 * 5)  # the answers of the two password sessions
        with ByteReader(parameters, "parameters") as reader:
            attest = reader.sized16()
            signature = reader.take(len(parameters) - len(attest) - 2)
        return attest, signature

    @property
    def public(self) -> bytes:
        """The device key's TPM2B_PUBLIC, as tpm2-tools store it."""
        return (self.directory / "key.tss").read_bytes()


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[RealTPM]:
    with swtpm() as tcti:
        yield RealTPM(tcti, tmp_path)


def statement(*parts: bytes) -> Evidence:
    return Evidence(TCG_ATTEST_TPM_CERTIFY, tlv(0x30, *(tlv(0x04, part) for part in parts)))


def chip_of(forge: Forge, ak: ec.EllipticCurvePublicKey) -> Chip:
    name = ChipName("0011223344556677", TPM.hw_type, TPM.tpm)
    return Chip(TPM, name.serial, forge.maker.certify(name, ak), new_key())


@pytest.mark.parametrize("template", ["ecc256:ecdsa-sha256:null", "ecc256", "ecc384:ecdsa-sha384:null"])
def test_a_real_tpms_evidence_is_accepted(
    tpm: RealTPM, forge: Forge, endorsements: Endorsements, now: datetime, template: str
) -> None:
    chip = chip_of(forge, tpm.make_ak())
    key = tpm.make_key(template, f"{FIXED}|sign")
    attest, signature = tpm.certify(NONCE)
    for evidence in (statement(attest, signature, tpm.public[2:]), statement(tpm2b(attest), signature, tpm.public)):
        attested = require(appraise(chip.bundle(evidence), spki(key), endorsements, now))
        assert (attested.spki, attested.nonce, attested.chip.serial) == (spki(key), NONCE, chip.serial)


@pytest.mark.parametrize(
    ("attributes", "finding"),
    [
        (f"{FIXED}|sign|decrypt", "evidence.key.purpose"),
        ("sensitivedataorigin|userwithauth|sign", "evidence.key.extractable"),
    ],
)
def test_a_real_tpms_word_on_a_weaker_key_is_refused(
    tpm: RealTPM, forge: Forge, endorsements: Endorsements, now: datetime, attributes: str, finding: str
) -> None:
    chip = chip_of(forge, tpm.make_ak())
    key = tpm.make_key("ecc256", attributes)
    attest, signature = tpm.certify(NONCE)
    bundle = chip.bundle(statement(attest, signature, tpm.public))
    assert [found.id for found in appraise(bundle, spki(key), endorsements, now).findings] == [finding]


def test_what_tpm2_certify_makes_is_accepted_with_the_four_bytes_that_it_takes_for_a_nonce(
    tpm: RealTPM, forge: Forge, endorsements: Endorsements, now: datetime
) -> None:
    chip = chip_of(forge, tpm.make_ak())
    key = tpm.make_key("ecc256:ecdsa-sha256:null", f"{FIXED}|sign")
    handles = ("-c", f"{KEY_HANDLE:#x}", "-C", f"{AK_HANDLE:#x}")
    tpm("certify", *handles, "-g", "sha256", "-o", "attest", "-s", "signature")
    attest, signature = ((tpm.directory / name).read_bytes() for name in ("attest", "signature"))
    bundle = chip.bundle(statement(attest, signature, tpm.public))
    attested = require(appraise(bundle, spki(key), endorsements, now))
    assert (attested.spki, attested.nonce) == (spki(key), TPM2_CERTIFY_NONCE)
