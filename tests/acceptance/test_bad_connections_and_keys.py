# SPDX-License-Identifier: Apache-2.0
"""Acceptance: bad input. A CA that is away or not trusted, an occupied port, a wrong PIN, an expired trust anchor."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.cli.exits import Exit
from birthmark.pki.authorities import make_root
from birthmark.silicon.address import open_chip
from birthmark.testing.lab import softhsm
from birthmark.testing.lab.ceremony import ORGANIZATION, offline_authority, write_secret
from birthmark.testing.lab.record import Lab
from support.labs import birthmark, births, running_lab
from support.refusals import Arguments, attempt, attempts, refusal, with_key, world

LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)
NO_SERVER = '"https://127.0.0.1:1"'


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose first board has its identity; the second is new."""
    with running_lab(tmp_path_factory.mktemp("lab"), boards=2) as lab:
        panel = lab.path / "first.toml"
        panel.write_text(f'[[position]]\nunit = "{lab.boards[0].unit}"\nchip = "{lab.boards[0].chip}"\n')
        done = birthmark("line", "run", "--config", lab.rig_configs["rig-a"], "--panel", panel)
        assert done.returncode == Exit.OK, done.stdout + done.stderr
        yield lab


@pytest.fixture(scope="module")
def expired_root(lab: Lab) -> Path:
    """The customer's root as it was once made: same name, same key, expired in 2015."""
    root = make_root(ORGANIZATION, "Device Root", offline_authority(lab.path, "root").key, LONG_AGO)
    path = lab.path / "pki" / "expired.pem"
    path.write_bytes(root.certificate.public_bytes(Encoding.PEM))
    return path


def line_run(lab: Lab, *changes: tuple[str, str]) -> Arguments:
    config: str | Path = lab.rig_configs["rig-a"]
    for key, value in changes:
        config = with_key(config, key, value)
    return ("line", "run", "--config", config, "--panel", lab.panel)


def untold(lab: Lab) -> dict[str, object]:
    """Return the world without what a rig tells the MES: that it has begun, that its line holds, among others."""
    told = {"data/rig-a.sqlite", str(Path(lab.births).relative_to(lab.path))}
    return {name: kept for name, kept in world(lab).items() if name not in told}


def untouched(lab: Lab) -> dict[str, object]:
    """Return what `untold` does, without what a chip may prepare in its other slot, but with the identity in use."""
    chip = open_chip(lab.boards[0].chip)
    try:
        in_use = chip.active_slot(), chip.get_certificate(chip.active_slot())
    finally:
        chip.close()
    return {"in use": in_use} | {name: digest for name, digest in untold(lab).items() if not name.endswith(".state")}


def agent(lab: Lab, command: str, key: str, value: str) -> Arguments:
    return ("device", command, "--config", with_key(lab.boards[0].device_config, key, value))


# --- the CA, the cloud -----------------------------------------------------------------------------------------


@contextmanager
def speaking(words: bytes) -> Iterator[str]:
    """Listen on loopback and answer every connection with the words; yield the URL that a client would try."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(words)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f'"https://127.0.0.1:{listener.getsockname()[1]}"'
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_line_whose_ca_stays_away_says_so_holds_and_ends_at_its_limit(lab: Lab) -> None:
    command = line_run(lab, ("ca_url", NO_SERVER), ("hold_limit_s", "0.4"), ("hold_retry_s", "0.1"))
    before, made = untold(lab), births(lab)
    done = attempt(*command)
    told = refusal(done, Exit.UNREACHABLE)
    assert (told.finding, "127.0.0.1:1 cannot be reached" in told.what) == ("line.hold.limit", True)
    (hold,) = [line for line in done.stderr.splitlines() if line.startswith("HOLD  ")]
    assert "127.0.0.1:1 cannot be reached: Connection refused; the line waits and resumes alone" in hold
    assert attempt("line", "deliver", "--config", lab.rig_configs["rig-a"]).returncode == Exit.OK
    assert (untold(lab), births(lab)) == (before, made)


@pytest.mark.parametrize(("command", "key"), [("connect", "cloud_url"), ("rotate", "ca_url")])
def test_a_device_without_its_service_keeps_what_it_has(lab: Lab, command: str, key: str) -> None:
    attempted = agent(lab, command, key, NO_SERVER)
    before = untouched(lab)
    told = refusal(attempt(*attempted), Exit.UNREACHABLE)
    assert (told.finding, "127.0.0.1:1 cannot be reached" in told.what) == ("net.unreachable", True)
    assert untouched(lab) == before


def test_a_server_that_does_not_speak_tls_is_named(lab: Lab) -> None:
    with speaking(b"220 mail.example ESMTP\r\n") as url:
        for command in (line_run(lab, ("ca_url", url)), agent(lab, "connect", "cloud_url", url)):
            told = refusal(attempt(*command), Exit.UNREACHABLE)
            assert (told.finding, url[9:-1] in told.what) == ("tls.failed", True)


def test_a_rig_with_the_credential_of_another_ca_is_refused(lab: Lab) -> None:
    other = lab.path / "pki" / "legacy-sku"
    command = line_run(lab, ("certificate", f'"{other}.pem"'), ("key", f'"{other}.key"'))
    before = untold(lab)
    told = refusal(attempt(*command), Exit.UNREACHABLE)
    assert (told.finding, told.hint) == (
        "tls.unknown-ca",
        "does the server trust our certificate, and is it still valid?",
    )
    assert untold(lab) == before


# --- ports -----------------------------------------------------------------------------------------------------


def test_an_occupied_port_is_named(lab: Lab) -> None:
    commands = {
        lab.ca_url: ("ca", "serve", "--config", lab.ca_config),
        lab.cloud_url: ("cloud", "serve", "--config", lab.cloud_config),
        f"{lab.ca_url} ": ("line", "births", "--mes", lab.births, "--port", lab.ca_url.rpartition(":")[2]),
    }
    before = world(lab)
    for url, done in attempts(commands, lambda url: commands[url]):
        told = refusal(done, Exit.PORT)
        assert told.finding == "net.port-occupied"
        assert f"{url.strip()[8:]} is in use" in told.what
    assert world(lab) == before


@pytest.mark.parametrize("host", ["192.0.2.1", "no host at all"])
def test_an_address_that_is_not_ours_is_named(lab: Lab, host: str) -> None:
    told = refusal(attempt("ca", "serve", "--config", with_key(lab.ca_config, "host", f'"{host}"')), Exit.PORT)
    assert (told.finding, host in told.what) == ("net.listen", True)


# --- keys ------------------------------------------------------------------------------------------------------

TOKEN_SETTINGS = {
    "issuing_key.pin_file": ('"hsm/wrong"', "key.pin", "token 'birthmark-lab'"),
    "issuing_key.token": ('"another"', "key.token-missing", "token 'another'"),
    "issuing_key.label": ('"another"', "key.missing", "key 'another'"),
    "issuing_key.module": ('"/nowhere.so"', "key.token-missing", "/nowhere.so"),
}
KEY_FILES = {
    "a passphrase that does not open it": (
        "issuing_key.passphrase_file",
        '"wrong"',
        "key.passphrase",
        "pki/issuing.key",
    ),
    "a file that is not there": ("issuing_key.file", '"pki/nothing.key"', "key.missing", "pki/nothing.key"),
    "a key that is not encrypted": ("issuing_key.file", '"pki/rig-a.key"', "key.unencrypted", "pki/rig-a.key"),
}


def test_a_wrong_pin_or_token_is_told_and_the_right_pin_still_opens_it(tmp_path: Path) -> None:
    with running_lab(tmp_path / "lab", boards=1, hsm=True) as lab:
        write_secret(lab.path / "hsm" / "wrong", b"0000-not-the-pin")
        commands = {
            key: ("ca", "serve", "--config", with_key(lab.ca_config, key, value))
            for key, (value, _, _) in TOKEN_SETTINGS.items()
        }
        env = softhsm.environment(lab.path)
        for key, (_, finding, told) in TOKEN_SETTINGS.items():
            done = attempt(*commands[key], env=env)
            line = refusal(done, Exit.KEY)
            assert (line.finding, told in line.what) == (finding, True), line
            assert "0000-not-the-pin" not in done.stderr
        # The key is opened before the port: an occupied port says that the token still takes its PIN.
        assert refusal(attempt("ca", "serve", "--config", lab.ca_config, env=env), Exit.PORT)


@pytest.mark.parametrize(("key", "value", "finding", "told"), KEY_FILES.values(), ids=KEY_FILES)
def test_a_key_file_that_does_not_open_is_named(lab: Lab, key: str, value: str, finding: str, told: str) -> None:
    write_secret(lab.path / "wrong", b"not the passphrase of this key")
    command = ("ca", "serve", "--config", with_key(lab.ca_config, key, value))
    before = world(lab)
    line = refusal(attempt(*command), Exit.KEY)
    assert (line.finding, told in line.what) == (finding, True)
    assert world(lab) == before


# --- time ------------------------------------------------------------------------------------------------------


def test_an_expired_trust_anchor_is_named_with_its_end(lab: Lab, expired_root: Path) -> None:
    commands = (
        line_run(lab, ("trust", f'"{expired_root}"')),
        agent(lab, "connect", "trust", f'"{expired_root}"'),
        agent(lab, "rotate", "trust", f'"{expired_root}"'),
    )
    before = untouched(lab)
    for _, done in attempts(commands, lambda command: command):
        told = refusal(done, Exit.UNREACHABLE)
        assert told.finding == "tls.untrusted-server"
        assert re.search(r"certificate has expired$", told.what)
        assert "CN=Device Root,O=Example Controls (until 2014-12-26)" in told.hint
    assert untouched(lab) == before


@pytest.fixture(scope="module")
def device_pem(lab: Lab) -> Path:
    printed = birthmark("device", "certificate", "--config", lab.boards[0].device_config)
    assert printed.returncode == Exit.OK, printed.stderr
    path = lab.path / "device.pem"
    path.write_text(printed.stdout)
    return path


def test_a_certificate_is_not_accepted_out_of_its_time_or_its_roots(
    lab: Lab, device_pem: Path, expired_root: Path
) -> None:
    expired = lab.path / "expired-trust.pem"
    expired.write_bytes(expired_root.read_bytes() + (lab.path / "pki/issuing.pem").read_bytes())
    cases: dict[str, tuple[str | Path, ...]] = {
        "cloud.chain.expired": ("--root", lab.trust, "--at", "2099-01-01T00:00:00Z"),
        "cloud.chain.not-yet-valid": ("--root", lab.trust, "--at", "0001-01-01"),
        "cloud.chain.anchor-expired": ("--root", expired),
        "cloud.chain.unknown-issuer": ("--root", lab.chipmaker_trust),
    }
    verify = ("verify", device_pem, "--chipmaker-root", lab.chipmaker_trust)
    for finding, done in attempts(cases, lambda finding: (*verify, *cases[finding])):
        assert (done.returncode, done.stderr) == (Exit.NOT_HELD, "")
        assert done.stdout.splitlines()[-1].startswith(f"NO  {finding}: ")
