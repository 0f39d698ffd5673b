# SPDX-License-Identifier: Apache-2.0
"""A profile of the kind device-private, from the line to the cloud: a signed result in place of the evidence."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.clock import system_clock
from birthmark.core.roles import Role
from birthmark.evidence.ear import AttestationResult, read_ear, read_signers
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import make_signer
from birthmark.pki.cmw import Record, read_cmw_record
from birthmark.pki.keys import software
from birthmark.silicon.address import open_chip
from birthmark.testing.lab.ceremony import offline_authority, write_secret
from birthmark.testing.lab.processes import stop
from birthmark.testing.lab.record import Lab
from birthmark.testing.lab.start import start_service
from birthmark.testing.orders import hired
from support.labs import birthmark, births, run_panel, running_lab

PROFILE = 'name = "device-p256"\n'
SIGNERS = "pki/verifiers.pem"


@pytest.fixture
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose CA was told to publish results, and whose rigs and cloud were told whose."""
    with running_lab(tmp_path_factory.mktemp("lab"), boards=1) as lab:
        _make_verifier(lab.path)
        _say(Path(lab.ca_config), PROFILE, f'{PROFILE}kind = "device-private"\n')
        key = '{ kind = "software", file = "pki/verifier.key", passphrase_file = "pki/verifier.passphrase" }'
        _say(Path(lab.ca_config), "[log]\n", f"[ear]\nkey = {key}\n\n[log]\n")
        for config in (*lab.rig_configs.values(), lab.cloud_config):
            path = Path(config)
            path.write_text(f'result_signers = "{SIGNERS}"\n{path.read_text()}')
        stop([process for process in lab.processes if process.name in {"ca", "cloud"}])
        started = [start_service(lab.path, name)[0] for name in ("ca", "cloud")]
        yield lab
        stop(started)


def _make_verifier(home: Path) -> None:
    key, secret = software.generate(KeyAlgorithm.ED25519), b"a verifier's passphrase"
    write_secret(home / "pki/verifier.passphrase", secret)
    software.save_encrypted(home / "pki/verifier.key", key, secret)
    certificate = make_signer(offline_authority(home, "operations"), "verifier", key.public_key(), system_clock())
    (home / SIGNERS).write_bytes(certificate.public_bytes(Encoding.PEM))


def _say(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def held(lab: Lab) -> x509.Certificate:
    chip = open_chip(lab.boards[0].chip)
    try:
        return x509.load_der_x509_certificate(chip.get_certificate(chip.active_slot()) or b"")
    finally:
        chip.close()


def result_in(lab: Lab, certificate: x509.Certificate) -> AttestationResult:
    record, token = read_cmw_record(certificate)
    assert record is Record.RESULT
    return read_ear(token, read_signers((lab.path / SIGNERS).read_bytes(), SIGNERS))


def audited(lab: Lab, unit: str, *options: str) -> tuple[int, dict[str, object]]:
    """Let an auditor have the bundle of a unit made by the serving CA, and judge it."""
    at, file = datetime.now(UTC), lab.path / "unit.bundle"
    person = hired(offline_authority(lab.path, "operations"), "Ada", Role.AUDITOR, at)
    software.save_encrypted(lab.path / "ada.key", person.key, b"only for Ada's key")
    write_secret(lab.path / "ada.passphrase", b"only for Ada's key")
    (lab.path / "ada.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in person.chain))
    asked = ("--url", lab.ca_url, "--trust", lab.trust, "--reason", "as every year")
    who = ("--certificate", lab.path / "ada.pem", "--key", lab.path / "ada.key")
    secret = ("--passphrase-file", lab.path / "ada.passphrase")
    made = birthmark("audit", "bundle", unit, *asked, *who, *secret, "--out", file, *options)
    assert made.returncode == 0, made.stderr
    key = birthmark("audit", "key", "--config", lab.ca_config).stdout.strip()
    done = birthmark("audit", "verify", file, "--log-key", key, "--chipmaker-root", lab.chipmaker_trust, "--json")
    return done.returncode, json.loads(done.stdout)


def verdict(lab: Lab, *options: str | Path) -> dict[str, object]:
    path = lab.path / "judged.pem"
    path.write_bytes(held(lab).public_bytes(Encoding.PEM))
    trust = ("--chipmaker-root", lab.chipmaker_trust, "--root", lab.path / "pki/device-trust.pem")
    return dict(json.loads(birthmark("verify", path, *trust, "--json", *options).stdout))


def test_the_evidence_stays_at_home_from_the_line_to_the_cloud(private: Lab) -> None:
    lab = private
    (first,) = run_panel(lab).values()
    assert first["verdict"] == "PASS", first
    born = held(lab)
    said = result_in(lab, born)
    (birth,) = births(lab)
    assert birth["evidence_sha256"] == said.evidence_sha256
    assert said.chip_serial == lab.boards[0].chip_serial
    (again,) = run_panel(lab, "rig-b").values()
    assert again["verdict"] == "PASS-ALREADY", again
    for command in ("connect", "rotate", "connect"):
        done = birthmark("device", command, "--config", lab.boards[0].device_config)
        assert done.returncode == 0, done.stderr
    renewed = result_in(lab, held(lab))
    assert renewed.key_sha256 != said.key_sha256
    assert verdict(lab, "--result-signers", lab.path / SIGNERS)["accepted"]
    for options in ((), ("--evidence",)):
        code, told = audited(lab, lab.boards[0].unit, *options)
        assert (code, told["findings"]) == (0, []), told
        assert ("signed result is believed" in json.dumps(told["not_proven"])) == (not options)
        assert "auditor:Ada" in json.dumps(told["entries"])
    refused = verdict(lab)
    assert not refused["accepted"]
    assert "evidence.result.signer" in json.dumps(refused["findings"])
