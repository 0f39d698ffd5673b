# SPDX-License-Identifier: Apache-2.0
"""Verifier keys, signed notes and checkpoints: what others signed, what we sign, and what is refused."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.keys.pkcs11 import Token
from birthmark.tlog.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint, open_checkpoint, sign_checkpoint
from birthmark.tlog.errors import CheckpointRefused, LogRequestError, NoteRefused, TlogError, VerifierKeyRefused
from birthmark.tlog.keys import SignatureType, Signer, VerifierKey, read_verifier_key, verifier_key
from birthmark.tlog.note import NOTE_MAX_BYTES, NOTE_MAX_SIGNATURES, open_note, sign_note
from birthmark.tlog.tree import EMPTY_ROOT, TreeHead
from support.damage import damaged
from support.flips import every_flip
from support.logs import ECDSA_SIGNER, ED25519_SIGNER, NAME, SIGNERS, log_of
from support.openssl import made_by_openssl
from support.softhsm import LABEL, MODULE, PIN, make_token

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/tlog/notes.json").read_text())
GO = VECTORS["ed25519"]
PETER, ENOCH = (read_verifier_key(text) for text in GO["keys"])
PETER_SIGNER = Signer("PeterNeumann", Ed25519PrivateKey.from_private_bytes(base64.b64decode(GO["seed"])[1:]))
TEXT: str = GO["text"]
BY_PETER, BY_ENOCH = GO["signatures"]
KEYS = [ED25519_SIGNER.verifier, ECDSA_SIGNER.verifier]
REFUSALS = (DecodeError, TlogError)


def note_of(*signatures: str) -> bytes:
    return f"{TEXT}\n{''.join(signatures)}".encode()


# --- verifier keys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*GO["keys"], *(each["key"] for each in VECTORS["ecdsa"])])
def test_the_verifier_keys_of_others_are_read_and_written_back(text: str) -> None:
    assert read_verifier_key(text).text == text


@pytest.mark.parametrize("signer", SIGNERS)
def test_a_verifier_key_of_ours_is_read_back(signer: Signer) -> None:
    assert read_verifier_key(signer.verifier.text) == signer.verifier
    assert signer.verifier.text.startswith(f"{NAME}+")


def test_the_two_keys_of_one_name_have_different_ids() -> None:
    assert [key.kind for key in KEYS] == [SignatureType.ED25519, SignatureType.ECDSA]
    assert KEYS[0].key_id != KEYS[1].key_id


def pieces(text: str) -> Iterator[str]:
    """The manglings of Go's TestNewVerifier: every proper piece, every character one further."""
    yield from (text[i:j] for i in range(len(text)) for j in range(i, len(text) + 1) if (i, j) != (0, len(text)))
    yield from (text[:i] + chr(ord(text[i]) + 1) + text[i + 1 :] for i in range(len(text)))


def test_every_mangled_verifier_key_is_refused() -> None:
    for text in pieces(GO["keys"][0]):
        with pytest.raises(REFUSALS):
            read_verifier_key(text)


@pytest.mark.parametrize("signer", SIGNERS)
def test_every_flip_in_a_verifier_key_is_refused(signer: Signer) -> None:
    for where, flipped in every_flip(signer.verifier.text.encode()):
        try:
            read = read_verifier_key(flipped.decode("latin-1"))
        except REFUSALS:
            continue
        # The id of an ECDSA key says nothing of the name, by C2SP's choice. Another name is another log.
        assert signer is ECDSA_SIGNER, where
        assert read.name != NAME, where


@pytest.mark.parametrize(
    "text",
    [
        # Go's TestNewVerifier: a key of a wrong length, and an unknown algorithm, each with an id that is right.
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        # TestNewECDSAVerifier of transparency-dev/formats.
        "bananas.sigstore.dev+12344556",
        "rekor.sigstore.dev+12345678+THIS_IS_NOT_BASE64!",
        "rekor.sigstore.dev+12345678+AwEB",
        VECTORS["ecdsa"][0]["key"].replace("c0d23d6a", "00000000"),
        VECTORS["ecdsa"][0]["key"].replace("c0d23d6a", "NOT_A_NUMBER"),
        VECTORS["ecdsa"][0]["key"].replace("c0d23d6a", "C0D23D6A"),
        # A witness's key (0x04), a certificate log's (0x05): other signatures, made over other bytes.
        "ct.googleapis.com/logs/us1/argon2024+7deb49d0+BTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABB25bKnLaZTFXOa2pgO70rjcVEMXKJkMBgFQHZ1kwFlGK9zIAx0FtC2oCfeZQe0E++VXuiYE9hFSzhRlOy92K8A=",
        "name+00000000+",
        "+00000000+AQ==",
        "name+00000000+Ag==",
        "n" * 2000,
    ],
    ids=str,
)
def test_a_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(REFUSALS):
        read_verifier_key(text)


def test_a_key_of_a_type_that_is_not_its_own_is_refused() -> None:
    ed25519 = ED25519_SIGNER.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    disguised = VerifierKey(NAME, SignatureType.ECDSA, ed25519)
    with pytest.raises(VerifierKeyRefused):
        read_verifier_key(disguised.text)
    with pytest.raises(VerifierKeyRefused):
        disguised.verify(b"text", b"signature")


@pytest.mark.parametrize("name", ["", "two words", "no\u00a0break", "plus+plus", "line\n", "tab\t", "n" * 256])
def test_a_name_that_no_key_may_have_is_refused(name: str) -> None:
    with pytest.raises(VerifierKeyRefused):
        verifier_key(name, PETER_SIGNER.key.public_key())


def test_a_key_on_another_curve_signs_nothing() -> None:
    with pytest.raises(VerifierKeyRefused):
        sign_note("text\n", [Signer(NAME, ec.derive_private_key(7, ec.SECP384R1()))])


# --- notes ------------------------------------------------------------------------------------------------------


def test_the_note_of_go_is_signed_to_the_byte() -> None:
    assert PETER_SIGNER.verifier == PETER
    assert sign_note(TEXT, [PETER_SIGNER]) == note_of(BY_PETER)


@pytest.mark.parametrize(("keys", "seen"), [([PETER], [PETER]), ([ENOCH, PETER], [PETER, ENOCH])])
def test_the_notes_of_go_are_opened(keys: list[VerifierKey], seen: list[VerifierKey]) -> None:
    opened = open_note(note_of(BY_PETER, BY_ENOCH), keys)
    assert opened.text == TEXT
    assert list(opened.keys) == seen


@pytest.mark.parametrize("vector", VECTORS["ecdsa"], ids=lambda vector: vector["key"].partition("+")[0])
def test_the_ecdsa_checkpoints_of_rekor_and_of_pixel_are_opened(vector: dict[str, str]) -> None:
    key = read_verifier_key(vector["key"])
    note = vector["note"].encode()
    assert open_note(note, [key]).keys == (key,)
    assert decode_checkpoint(open_note(note, [key]).text).head.size > 0
    # Both logs have another name for their key than for themselves; ours has one name, and demands it.
    with pytest.raises(CheckpointRefused):
        open_checkpoint(note, [key])


def test_a_note_that_nobody_known_signed_is_refused() -> None:
    for note in (note_of(BY_ENOCH), VECTORS["example"]["note"].encode(), VECTORS["example"]["checkpoint"].encode()):
        with pytest.raises(NoteRefused) as refused:
            open_note(note, [PETER])
        assert refused.value.finding == "tlog.note.unsigned"


def test_a_note_is_read_without_any_key_and_shows_nothing() -> None:
    with pytest.raises(NoteRefused) as refused:
        open_note(note_of(BY_PETER), [])
    assert TEXT not in str(refused.value)


def test_a_wrong_signature_of_a_known_key_is_refused_even_beside_a_right_one() -> None:
    wrong = BY_PETER.replace("ZJku", "ZJkv")
    for note in (note_of(wrong), note_of(BY_ENOCH, wrong), note_of(BY_PETER, wrong)):
        with pytest.raises(NoteRefused) as refused:
            open_note(note, [PETER, ENOCH])
        assert refused.value.finding == "tlog.note.signature"
    assert open_note(note_of(BY_ENOCH, wrong), [ENOCH]).keys == (ENOCH,)


def test_two_keys_that_cannot_be_told_apart_are_refused() -> None:
    twin = VerifierKey(PETER.name, PETER.kind, PETER.public)
    assert open_note(note_of(BY_PETER), [PETER, twin]).keys == (PETER,)

    class Colliding(VerifierKey):
        @property
        def key_id(self) -> bytes:
            return PETER.key_id

    with pytest.raises(NoteRefused) as refused:
        open_note(note_of(BY_PETER), [PETER, Colliding(PETER.name, PETER.kind, ENOCH.public)])
    assert refused.value.finding == "tlog.note.ambiguous"


@pytest.mark.parametrize(
    "note",
    [
        # The malformed notes of Go's TestOpen.
        TEXT.encode(),
        f"{TEXT}\n".encode(),
        note_of(BY_PETER)[:-1],
        b"\x01" + note_of(BY_PETER),
        b"\xff" + note_of(BY_PETER),
        note_of(
            "— Bad Name x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
        ),
        note_of(BY_PETER, "Unexpected line.\n"),
        # And ours.
        b"",
        note_of(BY_PETER, "\n"),
        note_of(BY_PETER.replace(" ", "\u00a0")),
        note_of(BY_PETER.replace("\n", "\r\n")),
        note_of(BY_PETER.replace("=", "")),
        note_of("— PeterNeumann x08g\n"),
        note_of("— PeterNeumann x08goA==\n"),
        note_of("— PeterNeumann\n"),
        note_of(BY_PETER) * 2,
        note_of(BY_PETER * (NOTE_MAX_SIGNATURES + 1)),
        b"x" * NOTE_MAX_BYTES + note_of(BY_PETER),
    ],
    ids=range(18),
)
def test_a_malformed_note_is_refused(note: bytes) -> None:
    with pytest.raises(REFUSALS):
        open_note(note, [PETER])


@pytest.mark.parametrize("text", ["a\ttab\n", "a return\r\n"])
def test_a_control_character_is_refused_even_where_it_is_signed(text: str) -> None:
    signature = base64.b64encode(PETER.key_id + PETER_SIGNER.sign(text.encode())).decode()
    with pytest.raises(DecodeError):
        open_note(f"{text}\n— {PETER.name} {signature}\n".encode(), [PETER])


def test_a_key_that_signs_wrongly_gives_no_note() -> None:
    class Faulty:
        """An HSM whose memory has gone bad."""

        def public_key(self) -> object:
            return ECDSA_SIGNER.key.public_key()

        def sign(self, text: bytes, scheme: ec.ECDSA) -> bytes:
            assert isinstance(ECDSA_SIGNER.key, ec.EllipticCurvePrivateKey)
            return ECDSA_SIGNER.key.sign(text + b"!", scheme)

    faulty: Any = Faulty()
    with pytest.raises(NoteRefused) as refused:
        sign_note("text\n", [Signer(NAME, faulty)])
    assert refused.value.finding == "tlog.note.signature"


def test_sixteen_signatures_of_strangers_are_passed_over() -> None:
    # C2SP signed-note: at least 16 signatures must be accepted, post-quantum ones of nearly 5 kB among them.
    stranger = f"— stranger.example {base64.b64encode(bytes(5000)).decode()}\n"
    assert open_note(note_of(stranger * 16, BY_PETER), [PETER]).keys == (PETER,)


@pytest.mark.parametrize("text", ["", "no end of line", "a\ttab\n", "a return\r\n", "bell\x07\n"])
def test_a_text_that_is_no_notes_is_not_signed(text: str) -> None:
    with pytest.raises(LogRequestError):
        sign_note(text, SIGNERS)
    with pytest.raises(LogRequestError):
        sign_note("a text\n", [])


@given(st.text(st.characters(min_codepoint=32, blacklist_categories=["Cs"]) | st.just("\n"), max_size=40))
def test_every_text_without_control_characters_is_signed_and_opened(text: str) -> None:
    note = sign_note(text + "\n", SIGNERS)
    opened = open_note(note, KEYS)
    assert (opened.text, list(opened.keys)) == (text + "\n", KEYS)


@pytest.mark.parametrize("signer", SIGNERS)
def test_every_flip_in_a_checkpoint_is_refused(signer: Signer) -> None:
    note = log_of(300).checkpoint(signer)
    for where, flipped in every_flip(note):
        try:
            open_checkpoint(flipped, [signer.verifier])
        except REFUSALS:
            continue
        pytest.fail(where)


@given(damaged(log_of(300).checkpoint()))
def test_a_damaged_checkpoint_says_the_same_or_nothing(note: bytes) -> None:
    try:
        opened = open_checkpoint(note, KEYS)
    except REFUSALS:
        return
    assert opened == Checkpoint(NAME, log_of(300).edge.head())


def test_openssl_verifies_what_an_ecdsa_key_signed(tmp_path: Path) -> None:
    note = log_of(5).checkpoint(ECDSA_SIGNER).decode()
    text, _, line = note.partition("\n\n")
    public = ECDSA_SIGNER.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(public)
    (tmp_path / "text").write_text(text + "\n")
    (tmp_path / "signature").write_bytes(base64.b64decode(line.split(" ")[2])[4:])
    arguments = ("dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "text")
    assert made_by_openssl(tmp_path, *arguments) == b"Verified OK\n"


def test_a_key_in_an_hsm_signs_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path).configuration))
    with Token.open(MODULE, LABEL, PIN) as token:
        signer = Signer(NAME, token.generate("ledger", KeyAlgorithm.P256))
        note = log_of(9).checkpoint(signer)
        outsider = read_verifier_key(signer.verifier.text)
    assert open_checkpoint(note, [outsider]).head == log_of(9).edge.head()


# --- checkpoints ------------------------------------------------------------------------------------------------


def test_the_example_of_c2sp_is_read_as_a_checkpoint() -> None:
    text, _, _ = VECTORS["example"]["checkpoint"].partition("\n\n")
    read = decode_checkpoint(f"{text}\n")
    assert (read.origin, read.head.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert encode_checkpoint(read) == f"{text}\n"


def test_one_of_two_known_signers_is_enough_and_both_are_better() -> None:
    log = log_of(3)
    for key in KEYS:
        assert open_checkpoint(log.checkpoint(), [key]).head == log.edge.head()
    assert open_checkpoint(log.checkpoint(ECDSA_SIGNER), KEYS).head == log.edge.head()


def test_a_checkpoint_that_only_a_witness_signed_is_refused() -> None:
    witness = Signer("witness.example", Ed25519PrivateKey.generate())
    checkpoint = Checkpoint(NAME, log_of(3).edge.head())
    note = sign_note(encode_checkpoint(checkpoint), [witness])
    with pytest.raises(CheckpointRefused) as refused:
        open_checkpoint(note, [*KEYS, witness.verifier])
    assert refused.value.finding == "tlog.checkpoint.origin"
    with pytest.raises(LogRequestError):
        sign_checkpoint(checkpoint, [witness])
    both = sign_checkpoint(checkpoint, [ED25519_SIGNER, witness])
    assert open_checkpoint(both, [KEYS[0], witness.verifier]) == checkpoint


def test_an_extension_line_is_read_only_where_its_name_is_expected() -> None:
    checkpoint = Checkpoint(NAME, log_of(3).edge.head(), ("time 2026-11-23T10:00:00Z",))
    note = sign_checkpoint(checkpoint, SIGNERS)
    assert open_checkpoint(note, KEYS, {"time"}) == checkpoint
    for names in ((), {"tim"}, {"time 2026-11-23T10:00:00Z"}):
        with pytest.raises(DecodeError):
            open_checkpoint(note, KEYS, names)


ROOT_TEXT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "\n",
            "Log\n",
            "Log\n123\n",
            f"Log\n123\n{ROOT_TEXT}",
            f"\n123\n{ROOT_TEXT}\n",
            f"Log\n123\n{ROOT_TEXT}\n\n",
        ),
        *(
            f"Log\nbananas\n{ROOT_TEXT}\n",
            f"Log\n-34\n{ROOT_TEXT}\n",
            f"Log\n0123\n{ROOT_TEXT}\n",
            f"Log\n+1\n{ROOT_TEXT}\n",
        ),
        *(f"Log\n3438945738945739845734895735\n{ROOT_TEXT}\n", f"Log\n9223372036854775808\n{ROOT_TEXT}\n"),
        *(
            f"Log\n1_0\n{ROOT_TEXT}\n",
            f"Log\n\u0661\n{ROOT_TEXT}\n",
            f"Log\n0\n{ROOT_TEXT}\n",
            f"Log\n 1\n{ROOT_TEXT}\n",
        ),
        *("Log\n123\nThisIsn'tBase64\n", "Log\n123\nYmFuYW5hcw==\n", f"Log\n123\n{ROOT_TEXT.replace('2I=', '2J=')}\n"),
        f"Log\n123\n{ROOT_TEXT}\nlots\nof\nlines\n",
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_checkpoint(text)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(NAME, TreeHead(-1, bytes(32))),
        Checkpoint(NAME, TreeHead(0, bytes(32))),
        Checkpoint(NAME, TreeHead(1, b"short")),
        Checkpoint(NAME, TreeHead(1, bytes(32)), ("",)),
        Checkpoint(NAME, TreeHead(1, bytes(32)), ("two\nlines",)),
        Checkpoint(NAME, TreeHead(1, bytes(32)), tuple(f"name{n} x" for n in range(17))),
    ],
    ids=str,
)
def test_a_checkpoint_that_nobody_could_read_is_not_signed(checkpoint: Checkpoint) -> None:
    with pytest.raises(LogRequestError):
        sign_checkpoint(checkpoint, SIGNERS)


def test_the_checkpoint_of_an_empty_log_is_signed() -> None:
    assert open_checkpoint(log_of(0).checkpoint(), KEYS).head == TreeHead(0, EMPTY_ROOT)


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(BirthmarkError) as refused:
        open_note(note_of(BY_ENOCH), [PETER])
    assert refused.value.hint
