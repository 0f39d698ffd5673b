# SPDX-License-Identifier: Apache-2.0
"""Health is whether a certificate could be issued now: each part that is broken shows, and only that one."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from birthmark.ca.transparency.log import Log
from birthmark.ca.watch import health
from birthmark.ca.watch.health import Health, HealthDesk, Organs, State
from birthmark.cli.main import birthmark
from birthmark.core import jws
from birthmark.core.audit import AuditRow
from birthmark.core.errors import DecodeError, StoreError
from birthmark.pki import probe
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.crl import build_crl
from birthmark.pki.csr import read_csr
from birthmark.pki.errors import KeyStoreError
from birthmark.pki.keys.software import generate, save_encrypted
from birthmark.tlog.keys import NotePrivateKey, Signer
from birthmark.tlog.note import open_note
from support.ca_parts import NOW, CAParts, FaultyStore
from support.ca_process import CAFiles, RunningCA, running_ca
from support.offices import hire_all

PASSPHRASE = b"only for this test"
PROBE = probe.PROBE_PREFIX + bytes(probe.PROBE_RANDOM_BYTES)


@pytest.fixture
def organs(parts: CAParts, tmp_path: Path) -> Organs:
    key = generate(KeyAlgorithm.ED25519)
    assert isinstance(key, NotePrivateKey)
    Log(parts.store, Signer("example.com/ca", key)).publish()
    return Organs(
        store=parts.store,
        policy=parts.policy,
        issuing=parts.forge.issuing.certificate,
        issuing_key=parts.forge.issuing.key,
        log_key=key,
        crl=parts.crl,
        folder=tmp_path,
    )


def examined(organs: Organs, parts: CAParts) -> Health:
    return HealthDesk(organs, parts.clock).health()


def failed(found: Health) -> list[str]:
    return [each.name for each in found.checks if each.state is State.FAILED]


def test_a_ca_that_issues_is_ready(organs: Organs, parts: CAParts) -> None:
    found = examined(organs, parts)
    assert (failed(found), found.ready) == ([], True)
    assert {each.name for each in found.checks} == set(health.checks(organs))


def test_a_ledger_that_cannot_be_written_shows(organs: Organs, parts: CAParts) -> None:
    full = FaultyStore(parts.store, [StoreError("the disk is full", finding="store.full")])
    found = examined(replace(organs, store=full), parts)
    assert (failed(found), found.ready) == (["store"], False)
    assert "store.full" in next(each.detail for each in found.checks if each.name == "store")


def test_a_key_that_signs_wrongly_shows(organs: Organs, parts: CAParts, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    monkeypatch.setattr(probe, "sign_data", lambda _key, data: other.sign(data, ec.ECDSA(hashes.SHA256())))
    assert failed(examined(organs, parts)) == ["issuing-key", "log-key"]


def test_a_key_that_is_away_shows(organs: Organs, parts: CAParts, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_key: object, _data: bytes) -> bytes:
        raise KeyStoreError("the token is gone", hint="plug it in", finding="key.token")

    monkeypatch.setattr(probe, "sign_data", away)
    found = examined(organs, parts)
    assert failed(found) == ["issuing-key", "log-key"]
    assert {each.hint for each in found.checks if each.state is State.FAILED} == {"plug it in"}


def test_entries_that_nobody_signs_for_show(organs: Organs, parts: CAParts) -> None:
    with parts.store.writing() as ledger:
        ledger.append([AuditRow(at=NOW, who="rig:rig-a", act="enrol")])
    parts.clock.forward(seconds=61)
    assert failed(examined(organs, parts)) == ["log"]


def test_a_disk_that_fills_shows_before_it_is_full(
    organs: Organs, parts: CAParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "DISK_LOW_BYTES", 1 << 60)
    assert [each.name for each in examined(organs, parts).checks if each.state is State.WARNING] == ["disk"]
    monkeypatch.setattr(health, "DISK_LEFT_BYTES", 1 << 60)
    assert failed(examined(organs, parts)) == ["disk"]


def test_a_policy_that_allows_nothing_any_more_shows(organs: Organs, parts: CAParts) -> None:
    old = {"device-2016": parts.policy.terms["device-2016"]}
    assert failed(examined(replace(organs, policy=replace(parts.policy, terms=old)), parts)) == ["policy"]


def test_a_clock_that_went_back_shows(organs: Organs, parts: CAParts) -> None:
    parts.clock.forward(seconds=-61)
    assert failed(examined(organs, parts)) == ["clock"]


def test_an_issuing_certificate_that_has_ended_shows(organs: Organs, parts: CAParts) -> None:
    parts.clock.now = organs.issuing.not_valid_after_utc
    assert "issuing-certificate" in failed(examined(organs, parts))
    parts.clock.forward(days=-89)
    found = examined(organs, parts)
    assert next(each for each in found.checks if each.name == "issuing-certificate").state is State.WARNING


def test_a_list_that_has_run_out_shows(organs: Organs, parts: CAParts) -> None:
    issuing = parts.forge.issuing
    old = build_crl([], issuing.key, issuing.certificate, NOW - timedelta(hours=2), 3_600)
    assert failed(examined(replace(organs, crl=lambda: old), parts)) == ["crl"]


def test_asking_often_costs_one_examination(organs: Organs, parts: CAParts) -> None:
    desk = HealthDesk(organs, parts.clock)
    assert desk.health() is desk.health()


def test_an_examination_leaves_no_entry_in_the_log(organs: Organs, parts: CAParts) -> None:
    before = len(list(parts.administration.audit()))
    examined(organs, parts)
    assert len(list(parts.administration.audit())) == before


@pytest.mark.parametrize(
    "parse",
    [
        x509.load_der_x509_certificate,
        x509.load_der_x509_crl,
        x509.load_der_x509_csr,
        read_csr,
        lambda data: jws.read(data.decode("ascii")),
        lambda data: open_note(data, []),
    ],
    ids=["certificate", "crl", "csr", "our csr", "jws", "note"],
)
def test_what_a_probe_signs_is_nothing_that_a_key_of_ours_signs(parse: object) -> None:
    """What is signed for a certificate, a list or an OCSP answer begins with 0x30; a note and a JWS are text."""
    assert PROBE[0] == 0
    assert callable(parse)
    with pytest.raises((ValueError, DecodeError)):
        parse(PROBE)


# --- over the wire -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    hire_all(files)
    with running_ca(files) as running:
        yield running


def test_anybody_may_ask_whether_and_hears_nothing_else(ca: RunningCA) -> None:
    answer = ca.transport().request("GET", "/v1/health")
    assert (answer.status, json.loads(answer.body)) == (200, {"ready": True})


def test_an_auditor_and_a_machine_hear_what_was_found(ca: RunningCA) -> None:
    for who in ("auditor", "rig-a"):
        answer = ca.transport(who).request("GET", "/v1/health/details")
        told = json.loads(answer.body)
        assert (answer.status, told["ready"], len(told["checks"])) == (200, True, 9)


def test_the_doctor_says_what_is_there_and_what_to_do(ca: RunningCA) -> None:
    done = CliRunner().invoke(birthmark, ["ca", "doctor", "--config", str(ca.files.config)])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "ready to issue")
    assert "issuing-key" in done.output
    text = ca.files.config.read_text()
    ended = ca.files.folder / "ended.toml"
    ended.write_text(text.replace("last_issue = 2035-12-31", "last_issue = 2020-12-31"))
    done = CliRunner().invoke(birthmark, ["ca", "doctor", "--config", str(ended)])
    assert (done.exit_code, done.output.splitlines()[-1]) == (1, "NOT ready to issue")
    assert "-> see [[profile]] last_issue in ca.toml" in done.output


def test_the_doctor_asks_a_running_ca_as_an_officer(ca: RunningCA) -> None:
    folder = ca.files.folder
    (folder / "secret").write_bytes(PASSPHRASE)
    (folder / "secret").chmod(0o600)
    hidden = encrypted(folder / "auditor.key", folder / "auditor.enc")
    arguments = ["--url", ca.url, "--trust", folder / "root.pem", "--certificate", folder / "auditor.pem"]
    arguments += ["--key", hidden, "--passphrase-file", folder / "secret", "--json"]
    done = CliRunner().invoke(birthmark, ["ca", "doctor", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["ready"] is True


@pytest.mark.parametrize("arguments", [[], ["--config", "a", "--url", "b"], ["--url", "https://127.0.0.1"]])
def test_the_doctor_wants_one_of_two(arguments: list[str]) -> None:
    assert CliRunner().invoke(birthmark, ["ca", "doctor", *arguments]).exit_code == 2


def encrypted(plain: Path, hidden: Path) -> Path:
    key = load_pem_private_key(plain.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    save_encrypted(hidden, key, PASSPHRASE)
    return hidden
