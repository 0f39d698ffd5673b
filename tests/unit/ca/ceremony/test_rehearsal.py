# SPDX-License-Identifier: Apache-2.0
"""A rehearsal does everything and makes nothing that could be taken for the real thing."""

from pathlib import Path

import pytest
from cryptography import x509

from birthmark.ca.ceremony.errors import CeremonyRefused
from birthmark.ca.ceremony.rehearsal import rehearse
from birthmark.ca.ceremony.run import Outcome
from birthmark.ca.ceremony.transcript import verify_transcript
from birthmark.ca.ceremony.view import outcome_text, plan_text, proven_text
from support.ceremonies import SOFTWARE, contents, held, ticking, written
from support.hierarchy import AT

HARDWARE = """
title = "Device PKI 2026"
organization = "Acme Controls"
begins = 2026-11-23T09:30:00Z
folder = "out"

[[participant]]
name = "Ada Example"
role = "administrator"

[[participant]]
name = "Bob Example"
role = "witness"

[[token]]
label = "vault-a"
module = "/opt/hsm/libpkcs11.so"
pin_file = "/media/pins/a"

[[token]]
label = "vault-b"
module = "/opt/hsm/libpkcs11.so"
pin_file = "/media/pins/b"

[[present]]
id = "old"
certificate = "ceremony/root-a.pem"
key = { kind = "pkcs11", token = "vault-a", label = "root-2016" }

[[present]]
id = "old-issuing"
certificate = "ceremony/issuing.pem"
key = { kind = "pkcs11", token = "vault-a", label = "issuing-2016" }

[[root]]
id = "root-c"
name = "Acme Root C"
standing = "active"
algorithm = "P-384"
validity_days = 9131
key = { kind = "pkcs11", token = "vault-a", label = "root-c" }

[[root]]
id = "root-d"
name = "Acme Root D"
standing = "spare"
algorithm = "P-384"
validity_days = 9131
key = { kind = "software", file = "/media/usb/root-d.key", passphrase_files = ["/media/safe-1/d", "/media/safe-2/d"] }

[[signer]]
id = "ocsp"
use = "ocsp"
name = "Acme OCSP 2"
issuer = "old-issuing"
algorithm = "P-256"
validity_days = 397
key = { kind = "pkcs11", token = "vault-b", label = "ocsp-2" }

[[signer]]
id = "ledger"
use = "ledger"
algorithm = "Ed25519"
key = { kind = "pkcs11", token = "vault-b", label = "ledger-2" }

[[rollover]]
old = "old"
new = "root-c"

[[bundle]]
file = "/etc/birthmark/rollover.pem"
certificates = ["old", "old-with-root-c", "root-c-with-old"]
"""


def rehearsed(path: Path, directory: Path) -> Outcome:
    return rehearse(path, directory, ticking(), SOFTWARE, lambda _: None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ceremony with tokens and media that are not here, beside the certificates of an earlier one."""
    held(written(tmp_path))
    file = tmp_path / "second.toml"
    file.write_text(HARDWARE)
    return file


def test_it_needs_neither_tokens_nor_media_and_writes_into_its_directory_alone(path: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    directory = tmp_path / "rehearsal"
    outcome = rehearsed(path, directory)
    assert verify_transcript(outcome.transcript).transcript.rehearsal
    after = {name: content for name, content in contents(tmp_path).items() if not name.startswith("rehearsal/")}
    assert after == before


def test_every_name_in_every_certificate_says_that_it_is_a_rehearsal(path: Path, tmp_path: Path) -> None:
    outcome = rehearsed(path, tmp_path / "rehearsal")
    files = [file for file in (tmp_path / "rehearsal").rglob("*.pem") if not file.name.endswith(".pub.pem")]
    assert len(files) > 8
    for file in files:
        for certificate in x509.load_pem_x509_certificates(file.read_bytes()):
            for name in (certificate.subject, certificate.issuer):
                assert [str(attribute.value)[:10] for attribute in name] == ["REHEARSAL "] * 2
    proven = verify_transcript(outcome.transcript)
    assert "REHEARSAL" in outcome_text(outcome)
    assert proven_text(proven).startswith("REHEARSAL of 'REHEARSAL Device PKI 2026'")
    assert plan_text(proven.transcript.plan, []).startswith("REHEARSAL")


def test_the_acts_are_those_of_the_ceremony(path: Path, tmp_path: Path) -> None:
    acts = [act.act for act in verify_transcript(rehearsed(path, tmp_path / "r").transcript).transcript.acts]
    for name in ("key root-c", "key root-d", "key ledger", "certificate ocsp", "certificate old-with-root-c"):
        assert name in acts
    assert (tmp_path / "r/part-2/root-d.passphrase").exists()


def test_its_files_are_its_own_users_alone(path: Path, tmp_path: Path) -> None:
    rehearsed(path, tmp_path / "r")
    for file in (tmp_path / "r").rglob("*"):
        if file.suffix in {".key", ".passphrase"}:
            assert file.stat().st_mode & 0o777 == 0o600


def test_a_rehearsal_years_before_or_after_the_day_is_no_problem(path: Path, tmp_path: Path) -> None:
    clock = ticking(AT.replace(year=2020))
    assert rehearse(path, tmp_path / "r", clock, SOFTWARE, lambda _: None).roots


def test_it_does_not_mix_with_what_is_there(path: Path, tmp_path: Path) -> None:
    directory = tmp_path / "r"
    directory.mkdir()
    (directory / "something").touch()
    with pytest.raises(CeremonyRefused) as refused:
        rehearsed(path, directory)
    assert refused.value.finding == "ceremony.folder"
