# SPDX-License-Identifier: Apache-2.0
"""Acceptance 11: "The auditor wants everything about serial X." """

import json
import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from birthmark.testing.lab.record import Lab
from support.labs import birthmark, run_panel


@dataclass
class Auditor:
    """Somebody outside, with the log's key and the roots of customer and chip maker, and without ca.toml."""

    lab: Lab
    unit: str
    key: str
    bundle: Path
    database: Path

    def verify(self, data: bytes | None = None) -> tuple[int, str]:
        file = self.bundle
        if data is not None:
            file = self.bundle.with_name("altered.bundle")
            file.write_bytes(data)
        done = birthmark("audit", "verify", file, "--log-key", self.key, *self.roots(), "--json")
        return done.returncode, done.stdout or done.stderr

    def roots(self) -> tuple[str | Path, ...]:
        root = self.lab.path / "pki" / "device-trust.pem"
        return "--trust", root, "--chipmaker-root", self.lab.chipmaker_trust

    def verify_log(self, *more: str | Path) -> tuple[int, str]:
        done = birthmark("audit", "verify-log", "--config", self.lab.ca_config, "--log-key", self.key, *more)
        return done.returncode, done.stdout or done.stderr

    def change(self, *statements: str) -> None:
        """Do what an administrator of the CA can do with its database."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture
def auditor(lab: Lab) -> Auditor:
    unit = next(iter(run_panel(lab)))
    key = birthmark("audit", "key", "--config", lab.ca_config).stdout.strip()
    bundle = lab.path / "unit.bundle"
    made = birthmark("audit", "bundle", unit, "--config", lab.ca_config, "--out", bundle)
    assert made.returncode == 0, made.stderr
    return Auditor(lab, unit, key, bundle, lab.path / "data" / "ca.sqlite")


def test_one_command_gives_everything_and_an_outsider_verifies_it(auditor: Auditor) -> None:
    code, told = auditor.verify()
    assert code == 0, told
    found = json.loads(told)
    assert (found["verified"], found["findings"], found["unit_serial"]) == (True, [], auditor.unit)
    assert [entry["act"] for entry in found["entries"]][-1] == "audit.bundle"
    assert {"enrol", "birth"} <= {entry["act"] for entry in found["entries"]}
    assert {"propose", "approve", "order.create", "policy.in-force", "trust.in-force"} <= {
        entry["act"] for entry in found["others"]
    }
    topics = {each["topic"] for each in found["proven"]}
    assert {"history", "objects", "persons", "order", "policy", "evidence", "certificates", "birth", "trust"} == topics
    (certificate,) = found["certificates"]
    assert (certificate["state"], certificate["birth"][:4]) == ("alive", "rig:")


def test_the_verdict_is_the_first_thing_on_the_screen(auditor: Auditor) -> None:
    done = birthmark("audit", "verify", auditor.bundle, "--log-key", auditor.key, *auditor.roots())
    assert done.stdout.splitlines()[0].startswith("╭─ VERIFIED ")
    assert max(map(len, done.stdout.splitlines())) <= 80
    altered = auditor.bundle.with_name("altered.bundle")
    altered.write_bytes(auditor.bundle.read_bytes().replace(b'"software":"birthmark', b'"software":"Birthmark'))
    done = birthmark("audit", "verify", altered, "--log-key", auditor.key)
    assert (done.returncode, done.stdout.splitlines()[0][:15]) == (1, "╭─ NOT VERIFIED")
    assert "audit.manifest" in done.stdout


def test_one_altered_byte_is_detected_offline(auditor: Auditor) -> None:
    data = auditor.bundle.read_bytes()
    for place in random.Random(11).sample(range(len(data)), 12):  # noqa: S311 the same places every time
        altered = bytearray(data)
        altered[place] ^= 1
        code, told = auditor.verify(bytes(altered))
        assert code in {1, 3}, told


EDITED = "CAST(replace(CAST(entry AS TEXT), '\":\"', '\":\"x') AS BLOB)"
REWRITTEN = {
    "edited": (f"UPDATE leaf SET entry = {EDITED} WHERE number = 2",),  # noqa: S608 constant text
    "deleted": ("DELETE FROM leaf WHERE number = 2", "UPDATE leaf SET number = number - 1 WHERE number > 2"),
    "swapped": (
        "UPDATE leaf SET number = -1 WHERE number = 2",
        "UPDATE leaf SET number = 2 WHERE number = 3",
        "UPDATE leaf SET number = 3 WHERE number = -1",
    ),
    "cut": ("DELETE FROM leaf WHERE number > 2",),
}


@pytest.mark.parametrize("statements", REWRITTEN.values(), ids=REWRITTEN.keys())
def test_a_history_that_is_rewritten_with_all_its_tiles_is_found_by_a_kept_checkpoint(
    auditor: Auditor, statements: tuple[str, ...]
) -> None:
    kept = auditor.lab.path / "kept"
    code, told = auditor.verify_log("--keep", kept)
    assert code == 0, told
    # The administrator rewrites the log and has the serving CA compute and sign everything anew.
    auditor.change(*statements, "DELETE FROM tile", "DELETE FROM checkpoint")
    birthmark("audit", "bundle", auditor.unit, "--config", auditor.lab.ca_config, "--out", auditor.lab.path / "new")
    code, told = auditor.verify_log("--since", kept)
    assert code == 1, told
    assert "audit.log" in told


def test_an_older_copy_put_in_place_of_the_ledger_is_found_by_a_kept_checkpoint(auditor: Auditor) -> None:
    kept, copy = auditor.lab.path / "kept", auditor.lab.path / "older.sqlite"
    with closing(sqlite3.connect(auditor.database)) as live, closing(sqlite3.connect(copy)) as older:
        live.backup(older)
    birthmark("audit", "bundle", auditor.unit, "--config", auditor.lab.ca_config, "--out", auditor.lab.path / "new")
    assert auditor.verify_log("--keep", kept)[0] == 0
    config = Path(auditor.lab.ca_config)
    older_config = config.with_name("older.toml")
    older_config.write_text(config.read_text().replace("data/ca.sqlite", copy.name))
    keys = ("--log-key", auditor.key, "--since", kept)
    done = birthmark("audit", "verify-log", "--config", older_config, *keys)
    assert (done.returncode, "audit.log.shorter" in done.stderr) == (1, True), done.stderr


def test_the_ledger_check_finds_nothing_until_a_birth_is_deleted(auditor: Auditor) -> None:
    done = birthmark("ca", "ledger", "check", "--config", auditor.lab.ca_config)
    assert done.returncode == 0, done.stdout + done.stderr
    auditor.change("DELETE FROM birth")
    done = birthmark("ca", "ledger", "check", "--config", auditor.lab.ca_config)
    assert (done.returncode, "ledger.birth.missing" in done.stdout) == (1, True), done.stdout
