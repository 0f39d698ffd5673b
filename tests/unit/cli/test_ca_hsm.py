# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca hsm`: a token that is in order, and one with a key that is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from birthmark.cli.exits import Exit
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.keys.pkcs11 import Token
from birthmark.testing.lab import files, softhsm


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOFTHSM2_CONF", "set by make_token, and unset after the test")
    softhsm.make_token(tmp_path)
    with softhsm.opened(tmp_path) as token:
        token.generate("issuing", KeyAlgorithm.P256)
        token.generate("log", KeyAlgorithm.ED25519)
    (tmp_path / "ca.toml").write_text(files.ca_toml(str(softhsm.MODULE)))
    return tmp_path


def hsm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "birthmark.cli", "ca", "hsm", *arguments, "--config", str(folder / "ca.toml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_probe_says_for_each_kind_of_key_whether_it_can_live_there(folder: Path) -> None:
    done = hsm(folder, "probe")
    assert done.returncode == Exit.OK, done.stderr
    verdicts = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
    for algorithm in KeyAlgorithm:
        assert verdicts[algorithm.value] == ("missing" if algorithm.value.startswith("ML-DSA") else "OK")
    assert f"token     {softhsm.TOKEN}, serial " in done.stdout


def test_probe_needs_no_pin(folder: Path) -> None:
    (folder / "hsm" / "pin").unlink()
    assert hsm(folder, "probe").returncode == Exit.OK


def test_probe_as_json_has_every_mechanism(folder: Path) -> None:
    done = hsm(folder, "probe", "--json")
    (line,) = done.stdout.splitlines()
    said = json.loads(line)
    assert {"ECDSA", "EDDSA"} <= {offer["name"] for offer in said["mechanisms"]}
    assert {need["algorithm"]: need["met"] for need in said["needs"]}["P-256"] is True


def test_keys_are_listed_with_their_attributes(folder: Path) -> None:
    done = hsm(folder, "keys")
    assert done.returncode == Exit.OK, done.stderr
    heads = [line.split() for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert [(head[1], head[2], head[-1]) for head in heads] == [("issuing", "P-256", "OK"), ("log", "Ed25519", "OK")]
    assert done.stdout.count("  CKA_EXTRACTABLE FALSE") == 2


def test_a_key_that_may_do_too_much_is_named_and_ends_with_its_code(folder: Path) -> None:
    # As OpenSC makes them: SoftHSM lets such a key decrypt and unwrap.
    login = ("--module", str(softhsm.MODULE), "--token-label", softhsm.TOKEN, "--login", "--pin", "env:PIN")
    subprocess.run(
        ["pkcs11-tool", *login, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "01", "--label", "crl"],
        check=True,
        capture_output=True,
        env={**softhsm.environment(folder), "PATH": "/usr/bin:/bin", "PIN": (folder / "hsm" / "pin").read_text()},
    )
    done = hsm(folder, "keys", "--json")
    said = {key["label"]: key for key in map(json.loads, done.stdout.splitlines())}
    assert {finding["finding"] for finding in said["crl"]["findings"]} == {"key.policy.usage"}
    assert said["issuing"]["findings"] == []
    assert done.returncode == Exit.KEY
    assert done.stderr.startswith("birthmark: key.policy: 1 of the keys")


def test_keys_are_listed_while_the_token_is_in_use(folder: Path) -> None:
    with softhsm.opened(folder) as token:
        assert isinstance(token, Token)
        assert hsm(folder, "keys").returncode == Exit.OK


def test_a_configuration_without_a_token_is_told_so(folder: Path) -> None:
    (folder / "ca.toml").write_text(files.ca_toml(None))
    done = hsm(folder, "probe")
    assert done.returncode == Exit.INPUT
    assert "no key is in a token" in done.stderr
