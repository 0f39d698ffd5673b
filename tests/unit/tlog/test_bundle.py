# SPDX-License-Identifier: Apache-2.0
"""Proof bundles: what an auditor gets, and every way to tamper with it."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.tlog.bundle import (
    PROOF_BUNDLE_MAX_BYTES,
    PROOF_HEADER,
    ProofBundle,
    ProvenEntry,
    decode_bundle,
    encode_bundle,
    verify_bundle,
)
from birthmark.tlog.errors import LogRequestError, NoteRefused, ProofRefused, TlogError
from birthmark.tlog.keys import Signer, read_verifier_key
from support.damage import damaged
from support.flips import every_flip
from support.logs import ECDSA_SIGNER, ED25519_SIGNER, NAME, SIGNERS, entry, log_of

LOG = log_of(600)
KEYS = [signer.verifier for signer in SIGNERS]
REFUSALS = (DecodeError, TlogError)


@given(st.integers(1, 600), st.data())
def test_a_bundle_is_verified_with_the_verifier_key_alone(size: int, data: st.DataObject) -> None:
    indices = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=5)))
    log = log_of(size)
    for signer in SIGNERS:
        found = verify_bundle(log.bundle(indices, signer), [read_verifier_key(signer.verifier.text)])
        assert [(each.index, each.entry) for each in found.entries] == [(index, entry(index)) for index in indices]
        assert found.checkpoint.head == log.edge.head()


def test_a_bundle_is_proofs_of_c2sp_one_after_the_other() -> None:
    data = LOG.bundle([7, 300], ED25519_SIGNER)
    front, first, second = data.decode().split(f"{PROOF_HEADER}\n")
    assert front == ""
    for index, part in ((7, first), (300, second)):
        alone = f"{PROOF_HEADER}\n{part}".encode()
        assert [each.index for each in verify_bundle(alone, KEYS).entries] == [index]
        assert part.endswith(LOG.checkpoint(ED25519_SIGNER).decode())


@pytest.mark.parametrize("signer", SIGNERS)
def test_every_flip_in_a_bundle_is_refused(signer: Signer) -> None:
    data = log_of(6).bundle([2, 5], signer)
    for where, flipped in every_flip(data):
        try:
            verify_bundle(flipped, [signer.verifier])
        except REFUSALS:
            continue
        pytest.fail(where)


@given(damaged(LOG.bundle([7, 300])))
def test_a_damaged_bundle_proves_the_same_or_nothing(data: bytes) -> None:
    try:
        found = verify_bundle(data, KEYS)
    except REFUSALS:
        return
    assert [(each.index, each.entry) for each in found.entries] == [(7, entry(7)), (300, entry(300))]


def test_an_entry_with_the_proof_of_another_is_refused() -> None:
    bundle = decode_bundle(LOG.bundle([7, 300]))
    seven, later = bundle.entries
    swaps = [replace(seven, entry=later.entry), replace(seven, index=8), replace(seven, proof=later.proof)]
    for swapped in swaps:
        with pytest.raises(ProofRefused):
            verify_bundle(encode_bundle(replace(bundle, entries=(swapped, later))), KEYS)


def test_a_bundle_of_another_log_is_refused() -> None:
    stranger = Signer(NAME, Ed25519PrivateKey.generate())
    with pytest.raises(NoteRefused):
        verify_bundle(LOG.bundle([7]), [stranger.verifier])
    with pytest.raises(NoteRefused):
        verify_bundle(LOG.bundle([7], stranger), KEYS)


def test_an_entry_is_not_proven_by_an_earlier_checkpoint() -> None:
    bundle = decode_bundle(LOG.bundle([7]))
    with pytest.raises(ProofRefused):
        verify_bundle(encode_bundle(replace(bundle, checkpoint=log_of(599).checkpoint())), KEYS)


@pytest.mark.parametrize("indices", [[300, 7], [7, 7], []])
def test_a_bundle_that_is_empty_or_out_of_order_is_not_made(indices: list[int]) -> None:
    with pytest.raises(LogRequestError):
        LOG.bundle(indices)


def test_a_bundle_under_two_checkpoints_is_refused() -> None:
    mixed = LOG.bundle([7], ED25519_SIGNER) + LOG.bundle([300], ECDSA_SIGNER)
    with pytest.raises(DecodeError):
        verify_bundle(mixed, KEYS)


def test_an_entry_that_the_log_cannot_hold_is_not_bundled() -> None:
    with pytest.raises(LogRequestError):
        encode_bundle(ProofBundle((ProvenEntry(0, bytes(65_536), ()),), LOG.checkpoint()))


HEADER = f"{PROOF_HEADER}\n"
HASH_LINE = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


@pytest.mark.parametrize(
    "text",
    [
        # TestVerifyTLogProofErrors of transparency-dev/merkle, at 0db3ecd.
        "wrong-header\nindex 0\n\ncheckpoint\n",
        f"{HEADER}extra !!notbase64!!\nindex 0\n\ncheckpoint\n",
        f"{HEADER}\n\ncheckpoint\n",
        f"{HEADER}extra eA==\nindex notanumber\n\ncheckpoint\n",
        f"{HEADER}extra eA==\nindex -5\n\ncheckpoint\n",
        f"{HEADER}extra eA==\nindex 0\n!!notbase64!!\n\ncheckpoint\n",
        f"{HEADER}extra eA==\nindex 0\n{HASH_LINE[:-1]}{HASH_LINE}\ncheckpoint\n",
        # And ours.
        "",
        HEADER,
        f"{HEADER}index 0\n\ncheckpoint\n",
        f"{HEADER}extra eA==\n\ncheckpoint\n",
        f"{HEADER}extra eA==\nindex 00\n\ncheckpoint\n",
        f"{HEADER}extra eA==\nindex 0\nAAAA\n\ncheckpoint\n",
        f"{HEADER}extra eA==\nindex 0\n{HASH_LINE * 64}\ncheckpoint\n",
        f"{HEADER}extra eA==\r\nindex 0\r\n\r\ncheckpoint\n",
        f" {HEADER}extra eA==\nindex 0\n\ncheckpoint\n",
        f"{HEADER}extra eA==\nindex 0\n\ncheckpoint\n" * 4097,
        f"{HEADER}extra eA==\nindex 0\n\n{'x' * PROOF_BUNDLE_MAX_BYTES}",
        "\udcff",
    ],
    ids=range(19),
)
def test_a_text_that_is_no_bundle_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_bundle(text.encode(errors="surrogateescape"))
