# SPDX-License-Identifier: Apache-2.0
"""What of ca.toml decides what is signed is in the log before anything is issued; one configuration is in force."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from click.testing import CliRunner

from birthmark.ca import wiring
from birthmark.ca.config import (
    CAConfig,
    EARSection,
    FrontSection,
    IssuerSection,
    LogSection,
    MetricsSection,
    OCSPSection,
    ProfileSection,
    ResponderSection,
    RigsSection,
    SoftwareKey,
    TokenKey,
    load_config,
)
from birthmark.ca.errors import NotNow
from birthmark.ca.issuing.configured import HANDOVER, issues_until
from birthmark.ca.issuing.setup import signers_of
from birthmark.ca.keyring import Keyring
from birthmark.ca.ports import CAStore
from birthmark.ca.transparency.check import check_ledger
from birthmark.ca.transparency.configuration import CHANGES_MAX, NAME, Signing, changes, signing_configuration
from birthmark.ca.transparency.in_force import announce_configuration
from birthmark.cli.main import birthmark
from birthmark.core.audit import CONFIGURATION_ACT, AuditRow, decode_row
from birthmark.core.config import read_file
from birthmark.core.ids import fingerprint
from birthmark.core.in_force import InForce
from birthmark.evidence.endorsements import read_endorsements
from birthmark.net.front.description import LEAVE_TIME_S
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import make_rig_ca
from birthmark.pki.keys.software import generate, save_encrypted
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.forge import Forge, new_key
from support.ca_parts import AUTHORITY, NOW, UNIT, CAParts
from support.ca_process import PASSPHRASE, CAFiles, RunningCA, running_ca
from support.documents import ROOT, section
from support.tls_files import pem

WORKERS = 8


@pytest.fixture
def files(tmp_path: Path) -> CAFiles:
    return CAFiles(tmp_path)


def text_of(files: CAFiles) -> bytes:
    """Return the configuration of the files, as the service makes it at its start."""
    config, folder = load_config(files.config), files.folder
    policy = wiring._policy(config, folder, read_endorsements(folder / config.endorsements, read_file))
    with Keyring(folder) as keys:
        log_key = wiring.log_signer(config, keys).verifier.text
        signing = Signing(signers=signers_of(config, folder, keys), log_key=log_key, responders={})
        return signing_configuration(config, policy, signing)


def entries(store: CAStore) -> list[AuditRow]:
    with store.reading() as ledger:
        rows = [decode_row(each) for each in ledger.entries(0, 1_000)]
    return [row for row in rows if row.act == CONFIGURATION_ACT]


# --- the text --------------------------------------------------------------------------------------------------


def edited(old: str, new: str) -> Callable[[CAFiles], None]:
    def edit(files: CAFiles) -> None:
        text = files.config.read_text()
        assert old in text
        files.config.write_text(text.replace(old, new))

    return edit


def added(line: str) -> Callable[[CAFiles], None]:
    return lambda files: files.config.write_text(f"{line}\n{files.config.read_text()}")


def appended(text: str) -> Callable[[CAFiles], None]:
    return lambda files: files.config.write_text(f"{files.config.read_text()}\n{text}\n")


def another_trust(files: CAFiles) -> None:
    with files.folder.joinpath("trust.pem").open("ab") as trust:
        trust.write(pem(Forge.at(NOW).root.certificate))


def another_chain(files: CAFiles) -> None:
    with files.folder.joinpath("chain.pem").open("ab") as chain:
        chain.write(pem(files.operations.certificate))


def another_policy(files: CAFiles) -> None:
    with files.folder.joinpath("endorsements.toml").open("a") as policy:
        policy.write('[[profile]]\nname = "device-p256"\ncalendars = ["cnsa-2.0"]\n')


def another_log_key(files: CAFiles) -> None:
    save_encrypted(files.folder / "next.key", generate(KeyAlgorithm.ED25519), PASSPHRASE)
    edited('"log.key"', '"next.key"')(files)


def verifier(files: CAFiles) -> None:
    save_encrypted(files.folder / "ear.key", generate(KeyAlgorithm.ED25519), PASSPHRASE)
    appended('[ear]\nkey = { kind = "software", file = "ear.key", passphrase_file = "passphrase" }')(files)


def rigs(files: CAFiles) -> None:
    made = make_rig_ca(files.forge.root, "Rigs CA", new_key(), files.now)
    files.folder.joinpath("rigs.pem").write_bytes(pem(made.certificate))
    save_encrypted(files.folder / "rigs.key", made.key, PASSPHRASE)
    key = '{ kind = "software", file = "rigs.key", passphrase_file = "passphrase" }'
    appended(f'[rigs]\ncertificate = "rigs.pem"\nkey = {key}')(files)


ISSUER = (
    '[[issuer]]\nname = "next"\ncertificate = "issuing.pem"\ncrl_name = "http://ca.example/next"\n'
    'key = { kind = "software", file = "issuing.key", passphrase_file = "passphrase" }'
)
CHANGED = {
    "organization": (edited("organization = ", 'organization = "Other" # '), "organization"),
    "endorsements": (another_policy, "endorsements"),
    "client_trust": (another_trust, "client_trust.anchors"),
    "ca_chain": (another_chain, "handed_out"),
    "denied_clients": (added(f'denied_clients = ["{"ab" * 32}"]'), "denied_clients"),
    "nonce_expiry_s": (added("nonce_expiry_s = 61"), "nonce_expiry_s"),
    "birth_grace_s": (added("birth_grace_s = 3600"), "birth_grace_s"),
    "rotation_overlap_s": (added("rotation_overlap_s = 1"), "rotation_overlap_s"),
    "crl_next_update_s": (added("crl_next_update_s = 1"), "crl_next_update_s"),
    "crl_partitions": (added('crl_partitions = 2\ncrl_name = "http://ca.example/crl"'), "crl_partitions"),
    "crl_name": (added('crl_name = "http://ca.example/crl"'), "issuer..crl_name"),
    "origin": (edited("example.com/test-ca", "example.com/other-ca"), "log.origin"),
    "log key": (another_log_key, "log.key"),
    "ear": (verifier, "ear.key"),
    "rigs": (rigs, "rigs.certificate"),
    "issuer": (appended(ISSUER), "issuer.next.certificate"),
    "profile": (
        appended('[[profile]]\nname = "more"\nalgorithms = ["P-384"]\nlast_issue = 2030-01-01'),
        "profile.more.algorithms",
    ),
    "algorithms": (edited('["P-256"]', '["P-256", "P-384"]'), "profile.device-p256.algorithms"),
    "last_issue": (edited("2035-12-31", "2034-12-31"), "profile.device-p256.last_issue"),
    "validity_days": (appended("validity_days = 3650"), "profile.device-p256.validity_days"),
    "same_key_days": (appended("same_key_days = 30"), "profile.device-p256.same_key_days"),
    "kind": (appended('kind = "idevid"'), "profile.device-p256.kind"),
    "max_bytes": (appended("max_bytes = 4096"), "profile.device-p256.max_bytes"),
}


@pytest.mark.parametrize(("change", "name"), CHANGED.values(), ids=CHANGED.keys())
def test_a_change_of_what_is_signed_is_told_with_what_it_was(
    files: CAFiles, change: Callable[[CAFiles], None], name: str
) -> None:
    before = text_of(files)
    change(files)
    after = text_of(files)
    assert fingerprint(after) != fingerprint(before)
    assert f"{name}: " in changes(before, after)
    assert " -> " in changes(before, after)


UNCHANGED = {
    "a port": added("port = 4443"),
    "a database": added('database = "other.sqlite"'),
    "a copy of the key elsewhere": lambda files: (
        files.folder.joinpath("issuing.key").rename(files.folder / "moved.key"),
        edited('"issuing.key"', '"moved.key"')(files),
    ),
    "a format": added('log_format = "json"'),
    "a comment": added("# reviewed"),
}


@pytest.mark.parametrize("change", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_what_changes_nothing_that_is_signed_is_no_change(files: CAFiles, change: Callable[[CAFiles], object]) -> None:
    before = text_of(files)
    change(files)
    assert text_of(files) == before


def test_the_text_holds_no_secret_and_no_place_of_one(files: CAFiles) -> None:
    text = text_of(files).decode()
    assert PASSPHRASE.decode() not in text
    assert not re.search(r"passphrase|\.key\b|\.pem\b|pin", text)
    assert json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n" == text


def test_very_many_changes_are_told_as_a_number() -> None:
    old = json.dumps({f"profile-{n}": 1 for n in range(200)}).encode()
    told = changes(old, b"{}")
    assert len(told) < CHANGES_MAX + 40
    assert told.endswith("(200 changes)")


SECTIONS = (
    CAConfig,
    EARSection,
    RigsSection,
    FrontSection,
    IssuerSection,
    LogSection,
    MetricsSection,
    OCSPSection,
    ProfileSection,
    ResponderSection,
    SoftwareKey,
    TokenKey,
)


def test_every_key_of_ca_toml_is_said_to_be_in_the_text_or_not() -> None:
    page = section((ROOT / "docs/reference/config.md").read_text(), "### In the log")
    named = set(re.findall(r"`(?:\[+)?(\w+)(?:\]+)?`", page))
    fields = {field.encode_name for each in SECTIONS for field in msgspec.structs.fields(each)}
    of_profiles = {field.name for field in msgspec.structs.fields(ProfileSection)}
    in_metrics_and_front = {"folder", "workers"}
    assert fields - of_profiles - in_metrics_and_front - named == {"key"}


# --- the entry -------------------------------------------------------------------------------------------------


def test_the_service_writes_one_entry_before_it_issues_and_none_when_it_starts_again(files: CAFiles) -> None:
    for _ in range(2):
        with running_ca(files):
            pass
    edited("2035-12-31", "2034-12-31")(files)
    with running_ca(files):
        pass
    with closing(SQLiteCAStore(files.folder / "ca.sqlite")) as store:
        first, second = entries(store)
        assert (first.about, first.detail) != (second.about, "")
        assert first.detail == "the first one"
        assert second.detail == "profile.device-p256.last_issue: 2035-12-31 -> 2034-12-31"
        assert second.about == fingerprint(text_of(files))
        with store.reading() as ledger:
            assert ledger.kept([second.about]) == {second.about: text_of(files)}
            assert dict(ledger.configurations()[-1].files) == {NAME: second.about}
            assert list(check_ledger(ledger, AUTHORITY)) == []
    done = CliRunner().invoke(birthmark, ["audit", "configuration", second.about[:12], "--config", str(files.config)])
    assert (done.exit_code, done.output.encode()) == (0, text_of(files))


def test_of_workers_that_start_at_once_one_writes_the_entry(tmp_path: Path) -> None:
    together, announced = threading.Barrier(WORKERS), list[InForce]()

    def start() -> None:
        with closing(SQLiteCAStore(tmp_path / "ca.sqlite")) as store:
            together.wait()
            announced.append(announce_configuration(store, b'{"a":1}', lambda: NOW))

    SQLiteCAStore(tmp_path / "ca.sqlite").close()
    threads = [threading.Thread(target=start) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert announced == [announced[0]] * WORKERS
    with closing(SQLiteCAStore(tmp_path / "ca.sqlite")) as store:
        assert len(entries(store)) == 1


def test_a_text_that_was_changed_in_the_database_is_not_told_as_what_was_before() -> None:
    store = SQLiteCAStore()
    announce_configuration(store, b'{"a":1}', lambda: NOW)
    with store.writing() as ledger:
        ledger._db.write("UPDATE document SET content = ?", b'{"a":3}')
    announce_configuration(store, b'{"a":2}', lambda: NOW)
    digest = fingerprint(b'{"a":1}')
    assert entries(store)[-1].detail == f"instead of {digest}, whose text is not kept"
    store.close()


# --- one configuration is in force -----------------------------------------------------------------------------

OURS, THEIRS = b'{"a":1}', b'{"a":2}'
SECOND = timedelta(seconds=1)


def put_in_force(name: str, at: datetime) -> InForce:
    return InForce(name, MappingProxyType({}), 0, at)


A, B, C = (put_in_force(name, NOW + number * SECOND) for number, name in enumerate("ABC"))


@pytest.mark.parametrize(
    ("own", "recent", "until"),
    [
        (None, (), None),
        (A, (A,), None),
        (A, (B, A), B.since + HANDOVER),
        (A, (C, B, A), B.since + HANDOVER),
        (B, (C, B, A), C.since + HANDOVER),
        (A, (replace(A, since=C.since), B, A), None),
        (A, (C, B), A.since),
        (A, (), A.since),
        (None, (A,), A.since),
    ],
    ids=[
        "nothing was announced",
        "ours is in force",
        "another one came",
        "two others came",
        "ours was between",
        "ours came again",
        "forgotten",
        "not there",
        "none of ours",
    ],
)
def test_a_worker_issues_by_what_is_in_force_and_for_a_handover_by_what_was(
    own: InForce | None, recent: tuple[InForce, ...], until: datetime | None
) -> None:
    assert issues_until(own, recent) == until


def test_the_handover_is_longer_than_a_worker_takes_to_leave() -> None:
    assert HANDOVER.total_seconds() > LEAVE_TIME_S


@pytest.fixture
def parts() -> Iterator[CAParts]:
    """A worker that has announced OURS."""
    parts = CAParts()
    ours = announce_configuration(parts.store, OURS, parts.clock)
    parts.policy = replace(parts.policy, configuration=ours)
    parts.ca = parts.service(parts.store)
    yield parts
    parts.store.close()


def refused_for_now() -> object:
    return pytest.raises(NotNow, check=lambda error: error.finding == "ca.configuration.other")


def test_a_worker_that_was_left_with_another_configuration_issues_nothing(parts: CAParts) -> None:
    parts.confirmed(parts.board())
    announce_configuration(parts.store, THEIRS, parts.clock)
    parts.clock.forward(seconds=HANDOVER.total_seconds() - 1)
    parts.confirmed(parts.board("BM-000002"))
    parts.clock.forward(seconds=1)
    csr = parts.board("BM-000003").csr(parts.nonce("BM-000003"))
    with refused_for_now():
        parts.enrol(csr)
    assert [row["unit_serial"] for row in parts.administration.certificates()] == [UNIT, "BM-000002"]
    announce_configuration(parts.store, OURS, parts.clock)
    assert parts.enrol(csr)
    assert [row.detail for row in entries(parts.store)] == ["the first one", "a: 1 -> 2", "a: 2 -> 1"]


def issued(parts: CAParts) -> list[int | None]:
    """Return which entries' configurations the certificates were signed by."""
    with parts.store.reading() as ledger:
        rows = [decode_row(each) for each in ledger.entries(0, 1_000)]
    return [row.configuration for row in rows if row.act == "enrol" and row.about]


def test_every_certificate_names_the_configuration_that_it_was_signed_by(parts: CAParts) -> None:
    parts.born(parts.board())
    theirs = announce_configuration(parts.store, THEIRS, parts.clock)
    parts.born(parts.board("BM-000002"))
    ours, parts.policy = parts.policy.configuration, replace(parts.policy, configuration=theirs)
    parts.ca = parts.service(parts.store)
    parts.born(parts.board("BM-000003"))
    assert ours is not None
    assert issued(parts) == [ours.entry, ours.entry, theirs.entry]
    with parts.store.reading() as ledger:
        first, second = (decode_row(ledger.entries(each.entry, 1)[0]) for each in (ours, theirs))
    assert (first.about, second.about) == (fingerprint(OURS), fingerprint(THEIRS))
    assert list(parts.administration.check()) == []


def test_of_two_services_with_other_files_the_first_one_says_that_it_is_left_behind(files: CAFiles) -> None:
    other = files.folder / "other.toml"
    other.write_text("birth_grace_s = 3600\n" + files.config.read_text())
    with running_ca(files) as first:
        first_config, files.config = files.config, other
        with running_ca(files) as second:
            assert (configuration_at(first), configuration_at(second)) == ("warning", "ok")
        files.config = first_config
    done = CliRunner().invoke(birthmark, ["ca", "doctor", "--config", str(first_config)])
    assert "it comes into force when the service is started again" in done.output
    assert done.exit_code == 0


def configuration_at(ca: RunningCA) -> str:
    details = json.loads(ca.transport("rig-a").request("GET", "/v1/health/details").body)
    return str({each["name"]: each["state"] for each in details["checks"]}["configuration"])
