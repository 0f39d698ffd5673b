# SPDX-License-Identifier: Apache-2.0
"""A software TPM as it leaves its maker: with an attestation key, certified by the forge's chip maker."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from birthmark.pki.authorities import ChipName
from birthmark.silicon.tpm2.chip import TPM2Chip
from birthmark.silicon.tpm2.provision import provision
from birthmark.testing.forge import TPM, Forge
from support.swtpm import swtpm

NOW = datetime.now(UTC)
FORGE = Forge.at(NOW)


def ak_certificate(spki: bytes) -> bytes:
    """Be the chip maker's CA: certify an attestation key under a new chip serial."""
    key = load_der_public_key(spki)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    name = ChipName(secrets.token_hex(8).upper(), TPM.hw_type, TPM.tpm)
    return FORGE.maker.certify(name, key).public_bytes(Encoding.DER)


@contextmanager
def provisioned_tpm(state: Path | None = None) -> Iterator[str]:
    """Run a TPM with its AK certificate; yield its TCTI string."""
    with swtpm(state) as tcti:
        provision(tcti, ak_certificate)
        yield tcti


@contextmanager
def tpm_chip() -> Iterator[TPM2Chip]:
    """Run a provisioned TPM; yield it as a chip."""
    with provisioned_tpm() as tcti, closing(TPM2Chip(tcti)) as chip:
        yield chip
