# SPDX-License-Identifier: Apache-2.0
"""Health is whether a certificate could be issued now: each part that is broken shows, and only that one."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from birthmark.ca.demands import Terms
from birthmark.ca.transparency.log import Log
from birthmark.ca.watch import organs as organs_module
from birthmark.ca.watch.health import ANSWER_WITHIN_S, MEMORY_S, Health, HealthDesk, ProfileState
from birthmark.ca.watch.organs import IssuerOrgans, Organs, State
from birthmark.cli.main import birthmark
from birthmark.core import jws
from birthmark.core.audit import AuditRow
from birthmark.core.errors import DecodeError, StoreError
from birthmark.pki import probe
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey, sign_data
from birthmark.pki.authorities import Authority, make_sub_ca
from birthmark.pki.crl import build_crl
from birthmark.pki.csr import read_csr
from birthmark.pki.errors import KeyStoreError
from birthmark.pki.keys.software import generate, save_encrypted
from birthmark.pki.profiles import KINDS, AlgorithmPolicy
from birthmark.tlog.keys import NotePrivateKey, Signer
from birthmark.tlog.note import open_note
from support.ca_parts import LAST_ISSUE, NOW, CAParts, FaultyStore
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
        issuers={"": IssuerOrgans(parts.forge.issuing, parts.crl)},
        log_key=key,
        folder=tmp_path,
    )


def examined(organs: Organs, parts: CAParts) -> Health:
    return HealthDesk(organs, parts.clock).health(30)


def failed(found: Health) -> list[str]:
    return [each.name for each in found.checks if each.state is State.FAILED]


def test_a_ca_that_issues_is_ready(organs: Organs, parts: CAParts) -> None:
    found = examined(organs, parts)
    assert (failed(found), found.ready, found.sound) == ([], True, True)
    assert [each.name for each in found.checks] == [each.name for each in organs_module.checks(organs)]
    states = {each.name: each.state for each in found.profiles}
    assert states.pop("device-2016") is ProfileState.ENDED
    assert set(states.values()) == {ProfileState.OK}


def test_a_ledger_that_cannot_be_written_shows(organs: Organs, parts: CAParts) -> None:
    full = FaultyStore(parts.store, [StoreError("the disk is full", finding="store.full")])
    found = examined(replace(organs, store=full), parts)
    assert (failed(found), found.ready) == (["store"], False)
    assert "store.full" in next(each.detail for each in found.checks if each.name == "store")


def test_a_key_that_signs_wrongly_shows(organs: Organs, parts: CAParts, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    monkeypatch.setattr(probe, "sign_data", lambda _key, data: other.sign(data, ec.ECDSA(hashes.SHA256())))
    assert failed(examined(organs, parts)) == ["log-key", "issuing-key"]


def test_a_key_that_is_away_shows(organs: Organs, parts: CAParts, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_key: object, _data: bytes) -> bytes:
        raise KeyStoreError("the token is gone", hint="plug it in", finding="key.token")

    monkeypatch.setattr(probe, "sign_data", away)
    found = examined(organs, parts)
    assert failed(found) == ["log-key", "issuing-key"]
    assert {each.hint for each in found.checks if each.state is State.FAILED} == {"plug it in"}


def test_entries_that_nobody_signs_for_show(organs: Organs, parts: CAParts) -> None:
    with parts.store.writing() as ledger:
        ledger.append([AuditRow(at=NOW, who="rig:rig-a", act="enrol")])
    parts.clock.forward(seconds=61)
    assert failed(examined(organs, parts)) == ["log"]


def test_a_disk_that_fills_shows_before_it_is_full(
    organs: Organs, parts: CAParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organs_module, "DISK_LOW_BYTES", 1 << 60)
    assert [each.name for each in examined(organs, parts).checks if each.state is State.WARNING] == ["disk"]
    monkeypatch.setattr(organs_module, "DISK_LEFT_BYTES", 1 << 60)
    assert failed(examined(organs, parts)) == ["disk"]


def test_a_policy_that_allows_nothing_any_more_shows(organs: Organs, parts: CAParts) -> None:
    old = {"device-2016": parts.policy.terms["device-2016"]}
    assert failed(examined(replace(organs, policy=replace(parts.policy, terms=old)), parts)) == ["policy"]


def test_a_clock_that_went_back_shows(organs: Organs, parts: CAParts) -> None:
    parts.clock.forward(seconds=-61)
    assert failed(examined(organs, parts)) == ["clock"]


def test_an_issuing_certificate_that_has_ended_shows(organs: Organs, parts: CAParts) -> None:
    parts.clock.now = parts.forge.issuing.certificate.not_valid_after_utc
    assert "issuing-certificate" in failed(examined(organs, parts))
    parts.clock.forward(days=-89)
    found = examined(organs, parts)
    assert next(each for each in found.checks if each.name == "issuing-certificate").state is State.WARNING


def test_a_list_that_has_run_out_shows(organs: Organs, parts: CAParts) -> None:
    issuing = parts.forge.issuing
    old = build_crl([], issuing.key, issuing.certificate, NOW - timedelta(hours=2), 3_600)
    assert failed(examined(replace(organs, issuers={"": IssuerOrgans(issuing, lambda: old)}), parts)) == ["crl"]


def test_asking_often_costs_one_examination(organs: Organs, parts: CAParts) -> None:
    desk = HealthDesk(organs, parts.clock)
    assert desk.health(30) is desk.health(30)


# --- several issuers ---------------------------------------------------------------------------------------------


class Sick:
    """A key that does not sign."""

    def __init__(self, key: SigningKey) -> None:
        self.key = key

    def public_key(self) -> object:
        return self.key.public_key()


@pytest.fixture
def several(organs: Organs, parts: CAParts) -> Organs:
    """Two issuing CAs with an OCSP responder each, and a verifier; each has profiles of its own."""
    following = make_sub_ca(parts.forge.root, "Next issuing CA", generate(KeyAlgorithm.P384), parts.clock())
    algorithms = (AlgorithmPolicy(KeyAlgorithm.P256, LAST_ISSUE),)
    terms = (
        Terms("device-2026", algorithms, 1825),
        Terms("device-next", algorithms, 1825, issuer="next"),
        Terms("private", algorithms, 1825, kind=KINDS["device-private"]),
    )
    return replace(
        organs,
        policy=replace(parts.policy, terms={each.name: each for each in terms}),
        issuers={
            "": IssuerOrgans(parts.forge.issuing, parts.crl, generate(KeyAlgorithm.P256)),
            "next": IssuerOrgans(following, lambda: crl_of(following), generate(KeyAlgorithm.P256)),
        },
        result_key=generate(KeyAlgorithm.P256),
    )


def crl_of(authority: Authority) -> bytes:
    return build_crl([], authority.key, authority.certificate, NOW, 3_600)


def sick(which: str, organs: Organs) -> Organs:
    """The same, with one key that does not sign."""
    name, _, issuer = which.partition(":")
    of = organs.issuers[issuer]
    match name:
        case "issuing-key":
            of = replace(of, authority=Authority(of.authority.certificate, cast("SigningKey", Sick(of.authority.key))))
        case "ocsp-key":
            assert of.responder_key is not None
            of = replace(of, responder_key=cast("SigningKey", Sick(of.responder_key)))
        case "log-key":
            return replace(organs, log_key=cast("SigningKey", Sick(organs.log_key)))
        case "result-key":
            assert organs.result_key is not None
            return replace(organs, result_key=cast("SigningKey", Sick(organs.result_key)))
    return replace(organs, issuers={**organs.issuers, issuer: of})


@pytest.fixture
def signs_unless_sick(monkeypatch: pytest.MonkeyPatch) -> None:
    def signed(key: SigningKey, data: bytes) -> bytes:
        if isinstance(key, Sick):
            raise KeyStoreError("the token is gone", hint="plug it in", finding="key.token")
        return sign_data(key, data)

    monkeypatch.setattr(probe, "sign_data", signed)


ALL = {"device-2026", "device-next", "private"}


@pytest.mark.usefixtures("signs_unless_sick")
@pytest.mark.parametrize(
    ("which", "state", "issuing_still"),
    [
        ("none", None, ALL),
        ("issuing-key", State.FAILED, {"device-next"}),
        ("issuing-key:next", State.FAILED, {"device-2026", "private"}),
        ("ocsp-key", State.WARNING, ALL),
        ("ocsp-key:next", State.WARNING, ALL),
        ("log-key", State.FAILED, set()),
        ("result-key", State.FAILED, {"device-2026", "device-next"}),
    ],
)
def test_the_key_that_does_not_sign_is_named_with_the_profiles_that_it_stops(
    several: Organs, parts: CAParts, which: str, state: State | None, issuing_still: set[str]
) -> None:
    found = examined(sick(which, several), parts)
    assert {each.name: each.state for each in found.checks if each.state is not State.OK} == (
        {} if state is None else {which: state}
    )
    assert {each.name for each in found.profiles if each.state is ProfileState.OK} == issuing_still
    assert all(which in each.detail for each in found.profiles if each.state is ProfileState.FAILED)
    assert (found.ready, found.sound) == (bool(issuing_still), state is not State.FAILED)


# --- what takes too long -----------------------------------------------------------------------------------------


class Stuck:
    """A check that ends when it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Event()
        self.times = 0

    def crl(self) -> bytes:
        self.times += 1
        self.begun.set()
        self.go_on.wait(30)
        raise KeyStoreError("it took so long that nobody waits any more")


@pytest.fixture
def stuck(organs: Organs, parts: CAParts) -> Iterator[tuple[Stuck, Organs]]:
    what = Stuck()
    yield what, replace(organs, issuers={"": IssuerOrgans(parts.forge.issuing, what.crl)})
    what.go_on.set()


def test_while_a_check_hangs_the_answer_is_no_and_names_it(stuck: tuple[Stuck, Organs], parts: CAParts) -> None:
    what, organs = stuck
    desk = HealthDesk(organs, parts.clock)
    found = desk.health(wait_s=0.05)
    assert what.begun.wait(30)
    found = desk.health(wait_s=0.05)
    assert (failed(found), found.ready, found.sound) == (["examination"], False, False)
    assert "the check of crl has not ended" in found.checks[0].detail


def test_while_a_check_hangs_everybody_is_answered_by_the_one_examination(
    stuck: tuple[Stuck, Organs], parts: CAParts
) -> None:
    what, organs = stuck
    desk = HealthDesk(organs, parts.clock)
    assert len({id(desk.asked()) for _ in range(100)}) == 1
    what.go_on.set()
    assert failed(desk.asked().result(30)) == ["crl"]
    assert what.times == 1


def test_who_asks_later_than_the_limit_does_not_wait_at_all(stuck: tuple[Stuck, Organs], parts: CAParts) -> None:
    what, organs = stuck
    now_s = [0.0]
    desk = HealthDesk(organs, parts.clock, lambda: now_s[0])
    examination = desk.asked()
    assert not desk.is_late
    now_s[0] = ANSWER_WITHIN_S
    assert desk.is_late
    what.go_on.set()
    examination.result(30)
    assert not desk.is_late


def test_an_examination_is_good_for_a_second_from_its_end(organs: Organs, parts: CAParts) -> None:
    now_s = [0.0]
    desk = HealthDesk(organs, parts.clock, lambda: now_s[0])
    first = desk.health(30)
    now_s[0] += MEMORY_S / 2
    assert desk.health(30) is first
    now_s[0] += MEMORY_S / 2
    assert desk.health(30) is not first


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
    assert (answer.status, json.loads(answer.body)) == (200, {"ready": True, "sound": True})


def test_an_auditor_and_a_machine_hear_what_was_found(ca: RunningCA) -> None:
    for who in ("auditor", "rig-a"):
        answer = ca.transport(who).request("GET", "/v1/health/details")
        told = json.loads(answer.body)
        assert (answer.status, told["ready"], len(told["checks"])) == (200, True, 10)


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
