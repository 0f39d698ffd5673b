# SPDX-License-Identifier: Apache-2.0
"""A second ceremony, years later: a new root beside the present one, and the bridge between them."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.ceremony.errors import CeremonyRefused
from birthmark.ca.ceremony.problems import find_problems
from birthmark.ca.ceremony.reviewed import read_plan
from birthmark.ca.ceremony.transcript import verify_transcript
from birthmark.core.errors import BirthmarkError
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority, make_root
from birthmark.pki.keys.software import generate, load_encrypted, save_encrypted
from birthmark.pki.paths import Purpose, TrustAnchors, read_certificates, validate_path
from support.ceremonies import contents, held, ticking, written
from support.hierarchy import AT, device_certificate
from support.openssl import made_by_openssl

LATER = AT + timedelta(days=3 * 365)

SECOND = """
title = "Root of 2029"
organization = "Acme Controls"
begins = 2029-11-22T09:30:00Z
folder = "ceremony-2029"

[[participant]]
name = "Cid Example"
role = "administrator"

[[participant]]
name = "Dora Example"
role = "witness"

[[present]]
id = "root-a"
certificate = "ceremony/root-a.pem"
key = { kind = "software", file = "usb-a/root-a.key", passphrase_files = ["safe-1/root-a", "safe-2/root-a"] }

[[root]]
id = "root-c"
name = "Acme Device Root C"
standing = "active"
algorithm = "ML-DSA-65"
validity_days = 9131
key = { kind = "software", file = "usb-c/root-c.key", passphrase_files = ["safe-1/root-c"] }

[[root]]
id = "root-d"
name = "Acme Device Root D"
standing = "spare"
algorithm = "P-384"
validity_days = 9131
key = { kind = "software", file = "usb-d/root-d.key", passphrase_files = ["safe-1/root-d"] }

[[ca]]
id = "issuing-2"
name = "Acme Device Issuing CA 2"
use = "issuing"
issuer = "root-d"
algorithm = "P-256"
validity_days = 3650
key = { kind = "software", file = "pki/issuing-2.key", passphrase_files = ["pki/issuing-2.passphrase"] }

[[rollover]]
old = "root-a"
new = "root-c"

[[rollover]]
old = "root-a"
new = "root-d"

[[bundle]]
file = "pki/rollover-2029.pem"
certificates = ["root-a", "root-a-with-root-d", "root-d-with-root-a"]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("ceremonies")
    held(written(home))
    for medium in ("usb-c", "usb-d"):
        (home / medium).mkdir()
    (home / "second.toml").write_text(SECOND)
    held(home / "second.toml", ticking(LATER))
    return home


def saved(folder: Path, one: x509.Certificate) -> str:
    path = folder / f"{one.serial_number:x}.pem"
    path.write_bytes(one.public_bytes(Encoding.PEM))
    return path.name


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def device_under(home: Path, folder: str, name: str) -> tuple[x509.Certificate, x509.Certificate]:
    issuing = certificate(home / folder / f"{name}.pem")
    key = load_encrypted(home / f"pki/{name}.key", (home / f"pki/{name}.passphrase").read_bytes().strip())
    return device_certificate(Authority(issuing, key), LATER), issuing


@pytest.mark.parametrize(
    ("trusted", "folder", "issuing"),
    [
        pytest.param(
            "ceremony/root-a.pem", "ceremony-2029", "issuing-2", id="the old root is trusted, the chain is new"
        ),
        pytest.param("ceremony-2029/root-d.pem", "ceremony", "issuing", id="the new root is trusted, the chain is old"),
    ],
)
def test_what_the_ceremony_wrote_bridges_both_ways(
    home: Path, trusted: str, folder: str, issuing: str, tmp_path: Path
) -> None:
    bridge = read_certificates((home / "pki/rollover-2029.pem").read_bytes(), "rollover")
    leaf, above = device_under(home, folder, issuing)
    anchor = certificate(home / trusted)
    path = validate_path(leaf, [above, *bridge], TrustAnchors((anchor,)), LATER, Purpose.CLIENT)
    assert path[-1] == anchor
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    between = [argument for one in (above, *bridge[1:]) for argument in ("-untrusted", saved(tmp_path, one))]
    strictly = ("verify", "-x509_strict", "-purpose", "sslclient", "-attime", str(int(LATER.timestamp())))
    made_by_openssl(tmp_path, *strictly, "-CAfile", str(home / trusted), *between, "leaf.pem")


def test_its_transcript_is_signed_by_the_new_roots_and_knows_the_old_one(home: Path) -> None:
    proven = verify_transcript(home / "ceremony-2029/transcript.json")
    assert [one.subject.rfc4514_string() for one in proven.signers] == [
        "CN=Acme Device Root C,O=Acme Controls",
        "CN=Acme Device Root D,O=Acme Controls",
    ]
    assert (home / "ceremony-2029/root-a.pem").read_bytes() == (home / "ceremony/root-a.pem").read_bytes()


def test_the_old_ceremony_is_not_touched(home: Path) -> None:
    assert verify_transcript(home / "ceremony/transcript.json").transcript.plan.title == "Device PKI 2026"


RENEWAL = (
    SECOND[: SECOND.index("[[present]]")].replace("ceremony-2029", "responder")
    + """
[[present]]
id = "issuing"
certificate = "ceremony/issuing.pem"
key = { kind = "software", file = "pki/issuing.key", passphrase_files = ["pki/issuing.passphrase"] }

[[signer]]
id = "ocsp-2"
use = "ocsp"
name = "Acme OCSP 2"
issuer = "issuing"
algorithm = "P-256"
validity_days = 397
key = { kind = "software", file = "pki/ocsp-2.key", passphrase_files = ["pki/ocsp-2.passphrase"] }
"""
)


def test_a_ca_that_is_present_gets_its_next_responder_and_signs_the_transcript_itself(home: Path) -> None:
    (home / "responder.toml").write_text(RENEWAL)
    outcome = held(home / "responder.toml", ticking(LATER))
    assert list(outcome.roots) == ["CN=Acme Device Issuing CA 1,O=Acme Controls"]
    verify = (
        "verify",
        "-purpose",
        "ocsphelper",
        "-attime",
        str(int(LATER.timestamp())),
        "-CAfile",
        "ceremony/root-a.pem",
    )
    made_by_openssl(home, *verify, "-untrusted", "ceremony/issuing.pem", "responder/ocsp-2.pem")


# --- what can be wrong with what is there ----------------------------------------------------------------------


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Before the second ceremony, with a present root of our own."""
    path = written(tmp_path)
    for name in ("usb-c", "usb-d", "ceremony"):
        (tmp_path / name).mkdir()
    put_root(tmp_path, make_root("Acme Controls", "Acme Device Root A", generate(KeyAlgorithm.P384), AT))
    path.write_text(SECOND)
    return path


def put_root(home: Path, root: Authority) -> None:
    (home / "ceremony/root-a.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    for part, text in (("safe-1", "0123456789abcdef"), ("safe-2", "fedcba9876543210")):
        (home / part / "root-a").write_text(text)
        (home / part / "root-a").chmod(0o600)
    save_encrypted(home / "usb-a/root-a.key", root.key, b"0123456789abcdeffedcba9876543210")


def problems(path: Path) -> list[str]:
    return [problem.id for problem in find_problems(read_plan(path), path.parent, LATER)]


def test_a_present_root_with_its_key_is_no_problem(second: Path) -> None:
    assert problems(second) == []


def test_a_key_that_is_not_there_is_a_problem(second: Path) -> None:
    (second.parent / "usb-a/root-a.key").unlink()
    assert problems(second) == ["ceremony.present-key"]


def test_a_key_of_another_certificate_is_a_problem(second: Path) -> None:
    save_encrypted(second.parent / "usb-a/root-a.key", generate(KeyAlgorithm.P384), b"0123456789abcdeffedcba9876543210")
    assert problems(second) == ["ceremony.present-key"]


def test_a_passphrase_that_does_not_open_it_is_a_problem(second: Path) -> None:
    (second.parent / "safe-2/root-a").write_text("another one, too")
    assert problems(second) == ["key.passphrase"]


def test_a_root_that_ends_before_the_new_one_begins_is_a_problem(second: Path) -> None:
    put_root(second.parent, make_root("Acme Controls", "Acme Device Root A", generate(KeyAlgorithm.P384), AT, days=365))
    assert "ceremony.validity" in problems(second)


def test_a_present_root_of_the_new_ones_name_is_a_problem(second: Path) -> None:
    put_root(second.parent, make_root("Acme Controls", "Acme Device Root C", generate(KeyAlgorithm.P384), AT))
    assert "ceremony.name" in problems(second)


def test_another_certificate_for_the_present_root_makes_another_plan(second: Path) -> None:
    before = read_plan(second)
    put_root(second.parent, make_root("Acme Controls", "Acme Device Root A", generate(KeyAlgorithm.P384), AT))
    assert read_plan(second) != before


DEVICE = device_certificate(make_root("Acme", "Root", generate(KeyAlgorithm.P256), AT))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\n", id="half a certificate"),
        pytest.param(DEVICE.public_bytes(Encoding.PEM), id="a device"),
    ],
)
def test_what_is_no_ca_is_refused_and_nothing_is_touched(second: Path, content: bytes) -> None:
    (second.parent / "ceremony/root-a.pem").write_bytes(content)
    before = contents(second.parent)
    with pytest.raises(BirthmarkError) as refused:
        read_plan(second)
    assert not isinstance(refused.value, CeremonyRefused)
    assert contents(second.parent) == before
