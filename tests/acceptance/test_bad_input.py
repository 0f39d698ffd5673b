# SPDX-License-Identifier: Apache-2.0
"""Acceptance: bad input. Wrong files, wrong values in files, a wrong command line: one clear line, nothing changed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from birthmark.cli.exits import Exit
from birthmark.testing.lab.record import Lab
from support.labs import credential_options, running_lab
from support.refusals import attempt, attempts, refusal, with_key, world

Arguments = tuple[str | Path, ...]
Command = Callable[[Lab, Path], Arguments]


def trust(lab: Lab) -> Arguments:
    return ("--chipmaker-root", lab.chipmaker_trust, "--root", lab.trust)


def rig_certificate(lab: Lab) -> str:
    return lab.rig_certificates["rig-a"]


# --- wrong files -----------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[Path], object]] = {
    "is not there": lambda _path: None,
    "is a directory": Path.mkdir,
    "is binary": lambda path: path.write_bytes(bytes(range(256))),
    "is empty": Path.touch,
    "has an unknown key": lambda path: path.write_text('colour = "red"\n'),
    "is a private key": lambda path: path.write_text(
        "-----BEGIN PRIVATE KEY-----\nMEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCA=\n-----END PRIVATE KEY-----\n"
    ),
}


def sign_order(lab: Lab, file: str | Path) -> Arguments:
    """Return the command that signs an order."""
    output = lab.path.parent / "order.jws"
    said = ("--authority", "example.com/ca", "--reason", "as planned", "--output", output)
    return ("ca", "order", "sign", file, *credential_options(lab), *said)


FILES: dict[str, Command] = {
    "rig.toml": lambda lab, file: ("line", "run", "--config", file, "--panel", lab.panel),
    "panel.toml": lambda lab, file: ("line", "run", "--config", lab.rig_configs["rig-a"], "--panel", file),
    "device.toml": lambda _lab, file: ("device", "connect", "--config", file),
    "ca.toml": lambda _lab, file: ("ca", "serve", "--config", file),
    "the order": sign_order,
    "cloud.toml": lambda _lab, file: ("cloud", "serve", "--config", file),
    "endorsements.toml": lambda lab, file: ("verify", rig_certificate(lab), *trust(lab), "--endorsements", file),
    "the certificate": lambda lab, file: ("verify", file, *trust(lab)),
    "the chip maker's root": lambda lab, file: (
        *("verify", rig_certificate(lab), "--chipmaker-root", file, "--root", lab.trust),
    ),
    "the customer's root": lambda lab, file: (
        *("verify", rig_certificate(lab), "--chipmaker-root", lab.chipmaker_trust, "--root", file),
    ),
}
OTHER_COMMANDS: tuple[Arguments, ...] = (
    ("line", "deliver"),
    ("device", "rotate"),
    ("device", "status"),
    ("device", "certificate"),
    ("ca", "certificates"),
    ("ca", "audit"),
    ("ca", "revoke", "--reason", "lost", "--certificate", "01"),
    ("cloud", "devices"),
    ("cloud", "command", "BM-000001", "reboot"),
)


@pytest.mark.parametrize("file", FILES)
def test_a_wrong_file_is_named_and_nothing_changes(shared_lab: Lab, tmp_path: Path, file: str) -> None:
    before = world(shared_lab)
    paths = [tmp_path / kind for kind in KINDS]
    for path, make in zip(paths, KINDS.values(), strict=True):
        make(path)
    for path, done in attempts(paths, lambda path: FILES[file](shared_lab, path)):
        assert str(path) in refusal(done, Exit.INPUT).what
    assert world(shared_lab) == before


def test_a_page_of_births_is_not_served_from_what_cannot_be_a_file(tmp_path: Path) -> None:
    for mes, done in attempts(
        (tmp_path, tmp_path / "no" / "births.jsonl"), lambda mes: ("line", "births", "--mes", mes)
    ):
        assert f"{mes} is no file" in refusal(done, Exit.INPUT).what


def test_every_command_with_a_configuration_names_the_one_that_is_not_there(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.toml"
    for _, done in attempts(OTHER_COMMANDS, lambda command: (*command, "--config", nowhere)):
        assert str(nowhere) in refusal(done, Exit.INPUT).what


# --- wrong values in files -------------------------------------------------------------------------------------

A_KEY = '"pki/rig-b.key"'
A_ROOT = '"pki/chipmaker.pem"'
NOTHING = '"pki/nothing.pem"'
WRONG_VALUES = [
    ("rig.toml", "trust", A_KEY, "pki.rig-b.key.*certificate"),
    ("rig.toml", "trust", '"pki/issuing.pem"', "issuing.pem.*no self-signed root"),
    ("rig.toml", "certificate", A_KEY, "rig-b.key.*no PEM certificate"),
    ("rig.toml", "certificate", A_ROOT, "chipmaker.pem and .*rig-a.key.*another certificate"),
    ("rig.toml", "key", A_KEY, "rig-a.pem and .*rig-b.key.*another certificate"),
    ("rig.toml", "key", NOTHING, "nothing.pem: No such file"),
    ("rig.toml", "endorsements", '"panel.toml"', "panel.toml.*position"),
    ("rig.toml", "mes_postgres_dsn_file", NOTHING, "nothing.pem: No such file"),
    ("rig.toml", "key", '"pki/trust.pem"', "trust.pem: mode 0644 lets others read"),
    ("rig.toml", "mes_postgres_dsn_file", A_KEY, "connection string is malformed"),
    ("rig.toml", "mes_postgres_dsn_file", '"pki/trust.pem"', "trust.pem: mode 0644 lets others read"),
    ("rig.toml", "database", '"pki/trust.pem"', "trust.pem: file is not a database"),
    ("rig.toml", "database", '"data/ca.sqlite"', "ca.sqlite is the database of another program"),
    ("rig.toml", "units_database", '"data/ca.sqlite"', "ca.sqlite is the database of another program"),
    ("rig.toml", "ca_url", '"http://127.0.0.1:1"', "http://127.0.0.1:1.*not the URL of a server"),
    ("rig.toml", "ca_url", '"https://127.0.0.1:99999"', "99999.*not a URL"),
    ("rig.toml", "recipe", NOTHING, "nothing.pem: No such file"),
    ("rig.toml", "hold_retry_s", "nan", "hold_retry_s is not positive"),
    ("device.toml", "unit", '"bm 1"', "toml: 'bm 1' is not a unit serial"),
    ("device.toml", "chip", '"i2c:48"', "'i2c:48' is not the address of a chip"),
    ("device.toml", "trust", '"../pki/rig-b.key"', "rig-b.key.*certificate"),
    ("device.toml", "issuing", '"../pki/rig-b.key"', "rig-b.key.*certificate"),
    ("cloud.toml", "device_trust", A_KEY, "rig-b.key.*certificate"),
    ("cloud.toml", "device_trust", '"pki/legacy.pem"', "legacy.pem: only roots"),
    ("cloud.toml", "crl_trust", A_KEY, "rig-b.key.*certificate"),
    ("cloud.toml", "tls_key", A_KEY, "cloud-server.pem and .*rig-b.key.*another certificate"),
    ("cloud.toml", "tls_key", '"pki/trust.pem"', "trust.pem: mode 0644 lets others read"),
    ("cloud.toml", "new_line_serials", '"("', "new_line_serials"),
    ("cloud.toml", "database", '"data/ca.sqlite"', "ca.sqlite is the database of another program"),
    ("ca.toml", "client_trust", A_KEY, "rig-b.key.*certificate"),
    ("ca.toml", "ca_chain", A_KEY, "rig-b.key.*certificate"),
    ("ca.toml", "issuing_certificate", '"pki/trust.pem"', "trust.pem: 3 certificates"),
    ("ca.toml", "issuing_certificate", '"pki/legacy.pem"', "legacy.pem.*another certificate"),
    ("ca.toml", "tls_key", A_KEY, "ca-server.pem and .*rig-b.key.*another certificate"),
    ("ca.toml", "tls_key", '"pki/trust.pem"', "trust.pem: mode 0644 lets others read"),
    ("ca.toml", "database", '"data/cloud.sqlite"', "cloud.sqlite is the database of another program"),
    ("ca.toml", "issuing_key.passphrase_file", '"pki/trust.pem"', "trust.pem: mode 0644 lets others read"),
    ("ca.toml", "endorsements", '"panel.toml"', "panel.toml.*position"),
    ("panel.toml", "unit", '"bm 1"', "'bm 1' is not a unit serial"),
    ("panel.toml", "chip", '"apdu:unix=/one.sock"', "chip apdu:unix=/one.sock is in two positions"),
    ("order.toml", "quantity", "0", "quantity"),
    ("order.toml", "not_after", "2001-01-01T00:00:00Z", "not_after is not later"),
    ("order.toml", "not_after", "2001-01-01T00:00:00", "not_after"),
]


def configured(lab: Lab, file: str) -> tuple[Path, Callable[[Path], Arguments]]:
    """Return a file of the lab, and the command that is given a variant of it."""
    rig = lab.rig_configs["rig-a"]
    commands: dict[str, tuple[str, Callable[[Path], Arguments]]] = {
        "rig.toml": (rig, lambda path: ("line", "run", "--config", path, "--panel", lab.panel)),
        "device.toml": (lab.boards[0].device_config, lambda path: ("device", "connect", "--config", path)),
        "cloud.toml": (lab.cloud_config, lambda path: ("cloud", "serve", "--config", path)),
        "ca.toml": (lab.ca_config, lambda path: ("ca", "serve", "--config", path)),
        "panel.toml": (lab.panel, lambda path: ("line", "run", "--config", rig, "--panel", path)),
        "order.toml": (
            str(lab.path / f"orders/{lab.order}.toml"),
            lambda path: sign_order(lab, path),
        ),
    }
    name, command = commands[file]
    return Path(name), command


@pytest.mark.parametrize("file", sorted({row[0] for row in WRONG_VALUES}))
def test_a_wrong_value_in_a_file_is_named_and_nothing_changes(shared_lab: Lab, file: str) -> None:
    config, command = configured(shared_lab, file)
    variants = {with_key(config, key, value): told for name, key, value, told in WRONG_VALUES if name == file}
    # A rig opens its own database before the one that it shares; it may make that one, which is empty and its own.
    attempt("line", "outbox", "list", "--config", shared_lab.rig_configs["rig-a"]).check_returncode()
    before = world(shared_lab)
    for variant, done in attempts(variants, command):
        line = refusal(done, Exit.INPUT)
        assert re.search(variants[variant], line.what), line
    assert world(shared_lab) == before


# --- a wrong command line --------------------------------------------------------------------------------------

NONCE = "A" * 43
COMMAND_LINES: list[tuple[str, Command]] = [
    ("No such command 'brew'", lambda _lab, _tmp: ("brew",)),
    ("Missing option '--config'", lambda _lab, _tmp: ("line", "run")),
    ("Option '--config' requires an argument", lambda _lab, _tmp: ("line", "run", "--config")),
    ("'bm 1' is not a unit serial", lambda lab, tmp: csr(lab, tmp / "out", unit="bm 1")),
    ("a nonce is 32 bytes in base64url", lambda lab, tmp: csr(lab, tmp / "out", nonce="***")),
    ("a nonce is 32 bytes in base64url", lambda lab, tmp: csr(lab, tmp / "out", nonce=NONCE[1:])),
    ("a nonce is 32 bytes in base64url", lambda lab, tmp: csr(lab, tmp / "out", nonce=NONCE + "AA")),
    ("a nonce is 32 bytes in base64url", lambda lab, tmp: csr(lab, tmp / "out", nonce="ä" * 43)),
    (" is a directory", lambda lab, tmp: csr(lab, out=tmp)),
    ("nowhere is no directory", lambda lab, tmp: csr(lab, tmp / "nowhere" / "out")),
    ("not a JSON object", lambda lab, _tmp: connect(lab, "{")),
    ("not a JSON object", lambda lab, _tmp: connect(lab, "[1]")),
    ("not a JSON object", lambda lab, _tmp: connect(lab, '{"temperature": NaN}')),
    ("'bm 1' is not a unit serial", lambda lab, _tmp: cloud_command(lab, "bm 1", "reboot", "{}")),
    ("'' is not a command's name", lambda lab, _tmp: cloud_command(lab, "BM-000001", "", "{}")),
    ("not a JSON object", lambda lab, _tmp: cloud_command(lab, "BM-000001", "reboot", "{")),
    ("not a JSON object", lambda lab, _tmp: cloud_command(lab, "BM-000001", "reboot", '"now"')),
    ("not a JSON object", lambda lab, _tmp: cloud_command(lab, "BM-000001", "reboot", "[" * 5_000)),
    ("'wrong' is not a certificate's serial", lambda lab, _tmp: revoke(lab, "wrong")),
    ("'' is not a certificate's serial", lambda lab, _tmp: revoke(lab, "")),
    ("is not a certificate's serial", lambda lab, _tmp: revoke(lab, "ab" * 21)),
    ("'yesterday' is not a time", lambda lab, _tmp: at_time(lab, "yesterday")),
    ("is not a time", lambda lab, _tmp: at_time(lab, "9999-12-31T23:59:59-23:00")),
    ("99 is not in the range", lambda _lab, _tmp: ("demo", "--boards", "99")),
    ("'abacus' is not one of", lambda _lab, tmp: ("lab", "up", "--dir", tmp / "lab", "--chip", "abacus")),
    ("nowhere is no directory", lambda _lab, tmp: ("demo", "--report", tmp / "nowhere" / "report.json")),
    ("70000 is not in the range", lambda _lab, tmp: ("line", "births", "--mes", tmp, "--port", "70000")),
]


def csr(lab: Lab, out: Path, *, unit: str = "BM-000001", nonce: str = NONCE) -> Arguments:
    return ("device", "csr", "--chip", lab.boards[0].chip, "--unit", unit, "--nonce", nonce, "--out", out)


def connect(lab: Lab, telemetry: str) -> Arguments:
    return ("device", "connect", "--config", lab.boards[0].device_config, "--telemetry", telemetry)


def cloud_command(lab: Lab, *arguments: str) -> Arguments:
    return ("cloud", "command", "--config", lab.cloud_config, *arguments)


def revoke(lab: Lab, serial: str) -> Arguments:
    return ("ca", "revoke", "--config", lab.ca_config, "--reason", "lost", f"--certificate={serial}")


def at_time(lab: Lab, moment: str) -> Arguments:
    return ("verify", rig_certificate(lab), *trust(lab), "--at", moment)


def test_a_wrong_command_line_is_told_before_anything_begins(shared_lab: Lab, tmp_path: Path) -> None:
    before = world(shared_lab)
    for (told, command), done in attempts(COMMAND_LINES, lambda row: row[1](shared_lab, tmp_path)):
        line = refusal(done, Exit.USAGE)
        assert (line.finding, told in line.what) == ("usage.invalid", True), (command, line)
        assert re.search(r"see birthmark( [a-z-]+)* --help$", line.hint)
        assert NONCE[2:] not in done.stderr
    assert world(shared_lab) == before
    assert not list(tmp_path.iterdir())


def test_a_certificate_that_was_never_issued_cannot_be_revoked(shared_lab: Lab) -> None:
    before = world(shared_lab)
    told = refusal(attempt(*revoke(shared_lab, "01:23:45")), Exit.NOT_HELD)
    assert (told.finding, "01:23:45" in told.what) == ("ca.certificate.unknown", True)
    assert world(shared_lab) == before


# --- no lab, or a lab already ----------------------------------------------------------------------------------

NO_LABS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _path: None,
    "an empty directory": Path.mkdir,
    "a file": Path.touch,
    "a damaged lab": lambda path: (path.mkdir(), (path / "lab.json").write_text("{}")),
}


@pytest.mark.parametrize("command", [("lab", "down", "--dir"), ("lab", "show", "--dir"), ("attack", "--lab")])
def test_a_lab_that_is_none_is_named(tmp_path: Path, command: Arguments) -> None:
    paths = [tmp_path / name for name in NO_LABS]
    for path, make in zip(paths, NO_LABS.values(), strict=True):
        make(path)
    for path, done in attempts(paths, lambda path: (*command, path)):
        told = refusal(done, Exit.INPUT)
        assert (told.finding, told.what) == ("input.lab", f"{path} holds no lab")


OCCUPIED: dict[str, Callable[[Path], object]] = {
    "holds a lab already": lambda path: (path.mkdir(), (path / "lab.json").write_text("{}")),
    "is not an empty directory": lambda path: (path.mkdir(), (path / "thesis.txt").write_text("mine")),
    "too long a path": lambda path: Path(f"{path}{'x' * 100}").mkdir(),
}


@pytest.mark.parametrize("reason", OCCUPIED)
@pytest.mark.parametrize("command", [("lab", "up", "--dir"), ("demo", "--dir")], ids=" ".join)
def test_a_lab_is_not_started_where_something_else_is(tmp_path: Path, command: Arguments, reason: str) -> None:
    OCCUPIED[reason](tmp_path / "here")
    (where,) = tmp_path.iterdir()
    before = sorted(where.rglob("*"))
    told = refusal(attempt(*command, where), Exit.INPUT)
    assert str(where) in told.what
    assert reason in told.what
    assert sorted(where.rglob("*")) == before


def test_a_value_that_a_lab_does_not_have_is_named(shared_lab: Lab) -> None:
    told = refusal(attempt("lab", "show", "--dir", shared_lab.path, "moon_url"), Exit.INPUT)
    assert "moon_url" in told.what


def test_a_file_is_no_place_for_a_lab(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    told = refusal(attempt("lab", "up", "--dir", tmp_path / "file"), Exit.INPUT)
    assert "is not an empty directory" in told.what
    assert (tmp_path / "file").read_text() == "mine"


def test_a_lab_that_has_ended_is_not_attacked(tmp_path: Path) -> None:
    with running_lab(tmp_path / "lab", boards=1) as lab:
        pass
    told = refusal(attempt("attack", "--lab", lab.path), Exit.INPUT)
    assert f"{lab.path} does not run" in told.what
