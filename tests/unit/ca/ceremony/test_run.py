# SPDX-License-Identifier: Apache-2.0
"""Ceremonies held, interrupted at every step, gone on with, and tampered with. openssl judges what they make."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from birthmark.ca.ceremony.errors import CeremonyChanged, CeremonyRefused
from birthmark.ca.ceremony.journal import Begun, Done, Journal, open_journal, read_journal
from birthmark.ca.ceremony.plan import digest
from birthmark.ca.ceremony.reviewed import read_plan, run_reviewed
from birthmark.ca.ceremony.transcript import verify_transcript
from birthmark.core.errors import BirthmarkError
from birthmark.core.secret_files import read_secret
from birthmark.pki.keys.software import load_encrypted
from support.ceremonies import BUNDLES, HEAD, ISSUING, ROOT_A, ROOT_B, SOFTWARE, WHOLE, contents, held, ticking, written
from support.hierarchy import AT
from support.openssl import made_by_openssl

SMALL = HEAD + ROOT_A + ROOT_B + ISSUING + BUNDLES


class PowerCut(BaseException):
    """Nothing in the program expects it."""


def cut_after(looks: int) -> Callable[[], datetime]:
    """Return a clock that ends the program when it is looked at for the last time."""
    clock, left = ticking(), iter(range(looks))

    def look() -> datetime:
        if next(left, None) is None:
            raise PowerCut
        return clock()

    return look


def certificate(home: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((home / f"ceremony/{name}.pem").read_bytes())


def test_a_ceremony_makes_keys_certificates_bundles_and_a_transcript(tmp_path: Path) -> None:
    outcome = held(written(tmp_path))
    assert not outcome.already
    for name, parts in (("usb-a/root-a", ("safe-1/root-a", "safe-2/root-a")), ("usb-b/root-b", ("safe-1/root-b",))):
        passphrase = b"".join(read_secret(tmp_path / part) for part in parts)
        key = load_encrypted(tmp_path / f"{name}.key", passphrase)
        assert key.public_key() == certificate(tmp_path, Path(name).name).public_key()
    ledger = load_encrypted(tmp_path / "pki/ledger.key", read_secret(tmp_path / "pki/ledger.passphrase"))
    assert load_pem_public_key((tmp_path / "ceremony/ledger.pub.pem").read_bytes()) == ledger.public_key()
    assert set(outcome.roots) == {"CN=Acme Device Root A,O=Acme Controls", "CN=Acme Device Root B,O=Acme Controls"}


CHAINS = [("issuing", "issuing", "any"), ("operations", "operations", "any")]
LEAVES = [("ocsp", "issuing", "ocsphelper"), ("ear", "operations", "any")]


def test_openssl_accepts_every_certificate_under_either_root(tmp_path: Path) -> None:
    held(written(tmp_path))
    strictly = ("verify", "-x509_strict", "-attime", str(int(AT.timestamp())))
    for trusted, cross in (("root-a", ()), ("root-b", ("-untrusted", "ceremony/root-a-with-root-b.pem"))):
        for leaf, above, purpose in (*CHAINS, *LEAVES):
            between = ("-untrusted", f"ceremony/{above}.pem", *cross)
            anchored = ("-purpose", purpose, "-CAfile", f"ceremony/{trusted}.pem")
            made_by_openssl(tmp_path, *strictly, *anchored, *between, f"ceremony/{leaf}.pem")


def test_one_part_of_a_passphrase_opens_nothing(tmp_path: Path) -> None:
    held(written(tmp_path))
    for part in ("safe-1/root-a", "safe-2/root-a"):
        with pytest.raises(BirthmarkError) as refused:
            load_encrypted(tmp_path / "usb-a/root-a.key", read_secret(tmp_path / part))
        assert refused.value.finding == "key.passphrase"


def test_no_secret_stands_in_journal_or_transcript(tmp_path: Path) -> None:
    outcome = held(written(tmp_path))
    text = outcome.transcript.read_bytes() + (tmp_path / "ceremony/journal.jsonl").read_bytes()
    for part in (*tmp_path.glob("safe-*/*"), *tmp_path.glob("pki/*.passphrase")):
        assert read_secret(part) not in text


def test_a_second_run_of_a_finished_ceremony_changes_nothing_and_needs_no_media(tmp_path: Path) -> None:
    path = written(tmp_path)
    first = held(path)
    for medium in ("usb-a", "usb-b", "safe-1", "safe-2"):
        (tmp_path / medium).rename(tmp_path / f"{medium}-away")
    before = contents(tmp_path)
    again = held(path)
    assert again.already
    assert (again.roots, again.transcript_sha256) == (first.roots, first.transcript_sha256)
    assert contents(tmp_path) == before


def test_it_can_be_cut_off_before_and_after_every_act(tmp_path: Path) -> None:
    for looks in itertools.count():
        home = tmp_path / str(looks)
        home.mkdir()
        path = written(home, SMALL)
        try:
            held(path, cut_after(looks))
        except PowerCut:
            kept = {name: content for name, content in contents(home).items() if not name.startswith("ceremony/j")}
            held(path, ticking(AT + timedelta(hours=1)))
            assert kept.items() <= contents(home).items() | {
                ("ceremony/transcript.json", kept.get("ceremony/transcript.json"))
            }
            verify_transcript(home / "ceremony/transcript.json")
        else:
            break
    assert looks > 2 * 13


def test_it_can_be_killed_again_and_again(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from support.ceremonies import held, ticking\n"
        "from support.hierarchy import AT\n"
        "from datetime import timedelta\n"
        "clock, left = ticking(AT + timedelta(hours=int(sys.argv[2]))), iter(range(7))\n"
        "def look():\n"
        "    next(left, None) is None and os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return clock()\n"
        "held(Path(sys.argv[1]), look)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    for hour in range(30):
        done = subprocess.run([sys.executable, "-c", program, path, str(hour)], env=environment, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert 3 < hour < 29
    proven = verify_transcript(tmp_path / "ceremony/transcript.json")
    assert len(proven.transcript.runs) == hour + 1


@pytest.mark.parametrize("name", ["usb-a/root-a.key", "safe-2/root-a", "ceremony/root-a.pem", "pki/ca-chain.pem"])
@pytest.mark.parametrize("content", [b"", b"something else"])
def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path, name: str, content: bytes) -> None:
    path = written(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(CeremonyRefused) as refused:
        held(path)
    assert refused.value.finding == "ceremony.problems"
    assert contents(tmp_path) == before


def cut_at(path: Path, act: str, state: type[Begun] | type[Done]) -> None:
    """Hold the ceremony until this line stands in the journal."""
    add = Journal.add

    def added(journal: Journal, line: object) -> None:
        add(journal, line)  # type: ignore[arg-type] # whatever the run writes
        if isinstance(line, state) and line.act == act:
            raise PowerCut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "add", added)
        with pytest.raises(PowerCut):
            held(path)


@pytest.mark.parametrize(
    ("name", "made"), [("ceremony/root-b.pem", "ceremony/root-a.pem"), ("usb-b/root-b.key", "usb-a/root-a.key")]
)
def test_a_file_that_appears_before_its_act_begins_is_not_taken_for_ours(tmp_path: Path, name: str, made: str) -> None:
    path = written(tmp_path, SMALL)
    cut_at(path, f"{'key' if name.endswith('key') else 'certificate'} root-a", Done)
    (tmp_path / name).write_bytes((tmp_path / made).read_bytes())
    before = (tmp_path / name).read_bytes()
    with pytest.raises(BirthmarkError):
        held(path, ticking(AT + timedelta(hours=1)))
    assert (tmp_path / name).read_bytes() == before
    (tmp_path / name).unlink()
    held(path, ticking(AT + timedelta(hours=2)))


def test_a_claim_and_a_half_written_file_of_an_interrupted_act_are_gone_on_with(tmp_path: Path) -> None:
    path = written(tmp_path)
    cut_at(path, "passphrase root-a", Begun)
    (tmp_path / "safe-1/root-a").touch(mode=0o600)
    held(path, ticking(AT + timedelta(hours=1)))
    other = tmp_path / "other"
    other.mkdir()
    path = written(other)
    cut_at(path, "certificate root-a", Begun)
    (other / "ceremony/root-a.pem").touch()
    (other / "ceremony/.root-a.pem.new").write_bytes(b"-----BEGIN CERT")
    held(path, ticking(AT + timedelta(hours=1)))


@pytest.mark.parametrize(
    ("act", "name"),
    [
        ("key root-a", "usb-a/root-a.key"),
        ("certificate issuing", "ceremony/issuing.pem"),
        ("passphrase issuing", "pki/issuing.passphrase"),
    ],
)
def test_what_was_made_and_is_gone_is_not_made_again(tmp_path: Path, act: str, name: str) -> None:
    path = written(tmp_path, SMALL)
    cut_at(path, act, Done)
    (tmp_path / name).unlink()
    with pytest.raises(BirthmarkError) as refused:
        held(path, ticking(AT + timedelta(hours=1)))
    assert isinstance(refused.value, CeremonyChanged) or name.endswith("passphrase")
    assert not (tmp_path / name).exists()


def test_a_certificate_that_was_exchanged_is_seen(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for home in (one, two):
        home.mkdir()
        cut_at(written(home, SMALL), "certificate issuing", Done)
    (one / "ceremony/root-b.pem").write_bytes((two / "ceremony/root-b.pem").read_bytes())
    with pytest.raises(CeremonyChanged, match="root-b"):
        held(one / "ceremony.toml", ticking(AT + timedelta(hours=1)))


def test_a_file_that_was_changed_after_its_review_is_not_run(tmp_path: Path) -> None:
    path = written(tmp_path)
    reviewed = digest(read_plan(path))
    path.write_text(WHOLE.replace("validity_days = 9131", "validity_days = 9132", 1))
    before = contents(tmp_path)
    with pytest.raises(CeremonyRefused) as refused:
        run_reviewed(path, reviewed, ticking(), SOFTWARE, print)
    assert refused.value.finding == "ceremony.not-reviewed"
    assert contents(tmp_path) == before


def test_another_plan_does_not_go_on_with_the_ceremony_that_was_begun(tmp_path: Path) -> None:
    path = written(tmp_path)
    cut_at(path, "key root-a", Done)
    path.write_text(WHOLE.replace("Bob Example", "Eve Example"))
    with pytest.raises(CeremonyRefused, match=r"ceremony\.other-plan"):
        held(path, ticking(AT + timedelta(hours=1)))


def test_two_runs_at_the_same_time_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    cut_at(path, "key root-a", Done)
    with open_journal(tmp_path / "ceremony"), pytest.raises(CeremonyRefused) as refused:
        held(path, ticking(AT + timedelta(hours=1)))
    assert refused.value.finding == "ceremony.running"


def test_a_run_that_another_one_has_overtaken_is_refused(tmp_path: Path) -> None:
    path, clock = written(tmp_path), ticking()

    def look() -> datetime:
        """Between the look at what stands in the way and the first act, somebody else begins."""
        if not (tmp_path / "ceremony").exists():
            cut_at(path, "key root-a", Done)
        return clock()

    with pytest.raises(CeremonyRefused) as refused:
        held(path, look)
    assert refused.value.finding == "ceremony.running"


def test_a_clock_that_goes_back_stops_the_ceremony(tmp_path: Path) -> None:
    path = written(tmp_path)
    cut_at(path, "key root-a", Done)
    with pytest.raises(CeremonyRefused) as refused:
        held(path, ticking(AT - timedelta(hours=1)))
    assert refused.value.finding == "ceremony.clock"
    held(path, ticking(AT + timedelta(hours=1)))


def test_a_damaged_journal_is_not_gone_on_with(tmp_path: Path) -> None:
    path = written(tmp_path)
    cut_at(path, "key root-a", Done)
    journal = tmp_path / "ceremony/journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"begun"', b'"bogus"', 1))
    with pytest.raises(CeremonyChanged) as refused:
        held(path, ticking(AT + timedelta(hours=1)))
    assert refused.value.finding == "ceremony.journal"


def test_a_line_without_its_end_was_never_written(tmp_path: Path) -> None:
    path = written(tmp_path)
    cut_at(path, "key root-a", Begun)
    journal = tmp_path / "ceremony/journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"line":"done","act":"key ro')
    assert len(read_journal(tmp_path / "ceremony")) == whole.count(b"\n")
    held(path, ticking(AT + timedelta(hours=1)))
