# SPDX-License-Identifier: Apache-2.0
"""A transcript holds only as it was written, with the certificates that were made. PyJWT judges its signatures."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birthmark.ca.ceremony import signature
from birthmark.ca.ceremony.errors import TranscriptRefused
from birthmark.ca.ceremony.transcript import TYPE, require_known, sha256_of, verify_transcript
from birthmark.core.errors import DecodeError
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority, make_root
from birthmark.pki.keys.software import generate, load_encrypted
from support.ceremonies import HEAD, ISSUING, ROOT_A, ROOT_B, held, written
from support.hierarchy import AT


@pytest.fixture(scope="module")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("ceremony")
    held(written(home))
    return home


@pytest.fixture
def copy(ceremony: Path, tmp_path: Path) -> Path:
    """The folder alone: what an auditor gets."""
    for path in (ceremony / "ceremony").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(TranscriptRefused) as refused:
        verify_transcript(folder / "transcript.json")
    return refused.value.finding


def test_it_holds_with_the_folder_alone_and_names_who_signed(copy: Path) -> None:
    proven = verify_transcript(copy / "transcript.json")
    assert [one.subject.rfc4514_string() for one in proven.signers] == [
        "CN=Acme Device Root A,O=Acme Controls",
        "CN=Acme Device Root B,O=Acme Controls",
    ]
    assert [person.name for person in proven.transcript.plan.participants] == ["Ada Example", "Bob Example"]


def test_pyjwt_verifies_each_signature(copy: Path) -> None:
    whole = json.loads((copy / "transcript.json").read_bytes())
    assert len(whole["signatures"]) == 2
    for root, one in zip(("root-a", "root-b"), whole["signatures"], strict=True):
        certificate = x509.load_pem_x509_certificate((copy / f"{root}.pem").read_bytes())
        compact = f"{one['protected']}.{whole['payload']}.{one['signature']}"
        found = jwt.PyJWS(algorithms=["ES384"]).decode_complete(compact, certificate.public_key(), algorithms=["ES384"])
        assert found["header"]["typ"] == TYPE
        assert json.loads(found["payload"])["transcript"] == "birthmark.ceremony-transcript.v1"


def test_digests_from_paper_are_compared(copy: Path) -> None:
    proven = verify_transcript(copy / "transcript.json")
    root = sha256_of(proven.signers[1])
    require_known(proven, proven.transcript.plan_sha256, [root])
    for plan, roots, finding in ((root, [], "plan"), (None, [root, "0" * 64], "root")):
        with pytest.raises(TranscriptRefused) as refused:
            require_known(proven, plan, roots)
        assert refused.value.finding == f"ceremony.transcript.{finding}"


@pytest.mark.parametrize(
    ("name", "finding"),
    [("root-a.pem", "signature"), ("issuing.pem", "certificate"), ("root-a-with-root-b.pem", "certificate")],
)
def test_a_certificate_of_another_ceremony_is_seen(
    copy: Path, tmp_path_factory: pytest.TempPathFactory, name: str, finding: str
) -> None:
    other = tmp_path_factory.mktemp("other")
    held(written(other))
    (copy / name).write_bytes((other / "ceremony" / name).read_bytes())
    assert refusal(copy) == f"ceremony.transcript.{finding}"


@pytest.mark.parametrize("name", ["root-b.pem", "ear.pem"])
def test_a_certificate_that_is_missing_or_no_certificate_is_seen(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"nothing")
    assert refusal(copy) == "ceremony.transcript.certificate"
    (copy / name).unlink()
    assert refusal(copy) == "ceremony.transcript.certificate"


def test_a_public_key_that_was_exchanged_is_seen(copy: Path) -> None:
    public = generate(KeyAlgorithm.ED25519).public_key()
    (copy / "ledger.pub.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert refusal(copy) == "ceremony.transcript.key"


def test_without_one_of_the_roots_signatures_it_does_not_hold(copy: Path) -> None:
    path = copy / "transcript.json"
    whole = json.loads(path.read_bytes())
    for left in (whole["signatures"][:1], whole["signatures"][1:], whole["signatures"][:1] * 2):
        path.write_text(json.dumps({**whole, "signatures": left}))
        assert refusal(copy) == "ceremony.transcript.signature"


# --- what the roots' own keys could sign ---------------------------------------------------------------------


def roots(home: Path) -> list[Authority]:
    def part(name: str) -> bytes:
        return (home / name).read_bytes().strip()

    def authority(name: str, passphrase: bytes) -> Authority:
        certificate = x509.load_pem_x509_certificate(part(f"ceremony/{name}.pem"))
        return Authority(certificate, load_encrypted(home / f"usb-{name[-1]}/{name}.key", passphrase))

    return [
        authority("root-a", part("safe-1/root-a") + part("safe-2/root-a")),
        authority("root-b", part("safe-1/root-b")),
    ]


def lied(payload: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """Ways in which holders of the roots' keys could sign what did not happen."""
    acts = payload["acts"]
    by_name = {act["act"]: act for act in acts}
    return {
        "plan": lambda: payload["plan"].update(title="Another"),
        "acts": acts.pop,
        "time": lambda: acts[3].update(begun="2026-11-22T00:00:00Z"),
        "certificate": lambda: by_name["certificate issuing"]["facts"].update(sha256="0" * 64),
        "key": lambda: by_name["key issuing"]["facts"].update(spki_sha256="0" * 64),
        "bundle": lambda: by_name["bundle pki/ca-chain.pem"]["facts"].update(sha256="0" * 64),
        "malformed": lambda: payload.update(more=1),
    }


@pytest.mark.parametrize("finding", ["plan", "acts", "time", "certificate", "key", "bundle", "malformed"])
def test_what_does_not_agree_with_itself_does_not_hold_even_under_the_right_signatures(
    ceremony: Path, copy: Path, finding: str
) -> None:
    path = copy / "transcript.json"
    payload = json.loads(signature.payload_of(path.read_bytes()))
    lied(payload)[finding]()
    encoded = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(signature.sign(encoded, TYPE, roots(ceremony)))
    assert refusal(copy) == f"ceremony.transcript.{finding}"


def test_attributes_that_are_not_the_planned_ones_are_seen(ceremony: Path, copy: Path) -> None:
    path = copy / "transcript.json"
    payload = json.loads(signature.payload_of(path.read_bytes()))
    next(act for act in payload["acts"] if act["act"] == "key root-a")["facts"]["attributes"] = ["PKCS#8"]
    encoded = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(signature.sign(encoded, TYPE, roots(ceremony)))
    assert refusal(copy) == "ceremony.transcript.key"


# --- bytes from strangers ------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(place=st.integers(0, 100_000), flip=st.integers(1, 255))
def test_no_byte_of_it_can_be_changed(copy: Path, ceremony: Path, place: int, flip: int) -> None:
    text = bytearray((ceremony / "ceremony/transcript.json").read_bytes())
    at = place % len(text)
    text[at] ^= flip
    before = bytes(text[:at] + bytes([text[at] ^ flip]) + text[at + 1 :])
    (copy / "transcript.json").write_bytes(text)
    try:
        verify_transcript(copy / "transcript.json")
    except TranscriptRefused:
        return
    assert json.loads(bytes(text)) == json.loads(before), "only the spaces between may differ"


@given(st.binary(max_size=300))
def test_a_jws_from_a_stranger_is_read_or_refused(text: bytes) -> None:
    with pytest.raises(DecodeError):
        signature.payload_of(text)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_every_kind_of_root_signs_and_is_verified(algorithm: KeyAlgorithm) -> None:
    one, other = (make_root("Acme", f"Root {name}", generate(algorithm), AT) for name in "AB")
    text = signature.sign(b"payload", "t", [one, other])
    certificates = (one.certificate, other.certificate)
    assert signature.verify(text, "t", certificates) == certificates
    assert signature.payload_of(text) == b"payload"
    for kind, known in (("u", certificates), ("t", certificates[:1])):
        with pytest.raises(DecodeError):
            signature.verify(text, kind, known)


def test_a_signature_by_another_key_of_the_same_kind_is_refused() -> None:
    one, other = (make_root("Acme", "Root", generate(KeyAlgorithm.P256), AT) for _ in "AB")
    text = signature.sign(b"payload", "t", [Authority(one.certificate, other.key)])
    with pytest.raises(DecodeError, match="does not hold"):
        signature.verify(text, "t", [one.certificate])


def test_the_algorithm_in_the_header_must_be_the_keys() -> None:
    root = make_root("Acme", "Root", generate(KeyAlgorithm.P256), AT)
    whole = json.loads(signature.sign(b"payload", "t", [root]))
    header = json.loads(base64.urlsafe_b64decode(whole["signatures"][0]["protected"] + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**header, "alg": "none"}).encode()).rstrip(b"=").decode()
    whole["signatures"][0]["protected"] = forged
    with pytest.raises(DecodeError, match="none"):
        signature.verify(json.dumps(whole).encode(), "t", [root.certificate])


def test_a_jws_that_says_one_thing_twice_is_refused() -> None:
    root = make_root("Acme", "Root", generate(KeyAlgorithm.P256), AT)
    text = signature.sign(b"payload", "t", [root]).decode()
    protected = json.loads(text)["signatures"][0]["protected"]
    header = base64.urlsafe_b64decode(protected + "==").decode()
    again = base64.urlsafe_b64encode(header.replace('"typ":', '"typ":"u","typ":').encode()).rstrip(b"=").decode()
    for doubled in (
        text.replace('"payload":', '"payload": "AA", "payload":'),
        text.replace('"signature":', '"signature": "AA", "signature":'),
        text.replace(protected, again),
    ):
        assert doubled != text
        with pytest.raises(DecodeError, match="stands there twice"):
            signature.verify(doubled.encode(), "t", [root.certificate])


@pytest.mark.parametrize("algorithm", ["P-256", "Ed25519", "ML-DSA-65"])
def test_a_ceremony_with_roots_of_any_kind_is_signed_by_them(tmp_path: Path, algorithm: str) -> None:
    text = (HEAD + ROOT_A + ROOT_B).replace("P-384", algorithm) + ISSUING.replace("P-256", algorithm)
    outcome = held(written(tmp_path, text))
    assert len(verify_transcript(outcome.transcript).signers) == 2
