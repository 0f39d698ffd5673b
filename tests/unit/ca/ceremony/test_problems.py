# SPDX-License-Identifier: Apache-2.0
"""What stands in the way of a ceremony is found before anything is made, and nothing is touched while looking."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from birthmark.ca.ceremony.errors import CeremonyRefused
from birthmark.ca.ceremony.plan import canonical, digest
from birthmark.ca.ceremony.problems import find_problems
from birthmark.ca.ceremony.reviewed import read_plan
from birthmark.ca.ceremony.rules import CLOCK_AFTER, CLOCK_BEFORE, remarks
from birthmark.core.errors import ConfigError
from support.ceremonies import BUNDLES, HEAD, ISSUING, ROOT_A, ROOT_B, WHOLE, contents, held, written
from support.hierarchy import AT


def problems(path: Path) -> list[str]:
    return [problem.id for problem in find_problems(read_plan(path), path.parent, AT)]


def test_a_good_plan_has_none_and_looking_touches_nothing(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = contents(tmp_path)
    assert problems(path) == []
    assert contents(tmp_path) == before
    assert not (tmp_path / "ceremony").exists()


BOB = '[[participant]]\nname = "Bob Example"\nrole = "witness"\n'
CHAIN = '[[bundle]]\nfile = "pki/ca-chain.pem"\n'
ROLL = '[[rollover]]\nold = "root-a"\nnew = "issuing"\n'
LONG = "Acme " + "x" * 50


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        pytest.param(BOB, "", "ceremony.participants", id="no witness"),
        pytest.param("Bob Example", "Ada Example", "ceremony.participants", id="one person in two roles"),
        pytest.param('"spare"', '"active"', "ceremony.spare", id="two active roots"),
        pytest.param("usb-b/", "usb-a/", "ceremony.spare", id="both roots on one medium"),
        pytest.param("Acme Verifier 1", LONG, "ceremony.name", id="a name that is too long"),
        pytest.param("Acme Controls", "REHEARSAL Acme", "ceremony.name", id="the real one says rehearsal"),
        pytest.param("Acme Device Root B", "Acme Device Root A", "ceremony.name", id="two roots of one name"),
        pytest.param('issuer = "operations"', 'issuer = "issuing"', "ceremony.issuer", id="the issuing CA signs more"),
        pytest.param('issuer = "issuing"', 'issuer = "operations"', "ceremony.issuer", id="OCSP under another CA"),
        pytest.param(CHAIN, ROLL + CHAIN, "ceremony.issuer", id="a roll-over to what is no root"),
        pytest.param("= 3650", "= 9132", "ceremony.validity", id="a CA that outlives its root"),
        pytest.param("= 397", "= 3651", "ceremony.validity", id="a signer that outlives its CA"),
        pytest.param('"P-384"', '"P-256"', "", id="a P-256 root over P-256 CAs"),
        pytest.param('"P-256"', '"ML-DSA-65"', "ceremony.algorithm", id="post-quantum under a P-384 root"),
        pytest.param('"Ed25519"', '"ML-DSA-65"', "key.policy.algorithm", id="a kind of key that no log signs with"),
        pytest.param("usb-b/root-b.key", "usb-b/../pki/ear.key", "ceremony.file", id="one file by two paths"),
        pytest.param("safe-1/root-b", "safe-1/root-a", "ceremony.file", id="two passphrases in one file"),
        pytest.param("pki/rollover.pem", "ceremony/root-a.pem", "ceremony.file", id="a bundle over a certificate"),
        pytest.param("usb-b/", "usb-c/", "ceremony.directory", id="a medium is not mounted"),
    ],
)
def test_what_is_wrong_with_a_plan_is_named(tmp_path: Path, before: str, after: str, problem: str) -> None:
    assert before in WHOLE
    path = written(tmp_path, WHOLE.replace(before, after))
    assert (problem in problems(path)) if problem else (problems(path) == [])


def test_a_root_without_a_cold_spare_is_a_problem(tmp_path: Path) -> None:
    assert problems(written(tmp_path, HEAD + ROOT_A + ISSUING)) == ["ceremony.spare"]


def test_a_spare_alone_is_none(tmp_path: Path) -> None:
    assert problems(written(tmp_path, HEAD + ROOT_B)) == []


@pytest.mark.parametrize("name", ["usb-a/root-a.key", "safe-1/root-b", "pki/ca-chain.pem"])
def test_a_file_that_is_there_is_a_problem(tmp_path: Path, name: str) -> None:
    path = written(tmp_path)
    (tmp_path / name).touch()
    assert problems(path) == ["ceremony.present"]


def test_a_folder_that_is_in_use_is_a_problem(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "ceremony").mkdir()
    assert problems(path) == []
    (tmp_path / "ceremony/notes.txt").touch()
    assert problems(path) == ["ceremony.folder"]


def test_the_ceremony_of_another_plan_in_the_folder_is_a_problem(tmp_path: Path) -> None:
    path = written(tmp_path)
    held(path)
    path.write_text(WHOLE.replace("Bob", "Eve"))
    assert problems(path) == ["ceremony.other-plan"]


@pytest.mark.parametrize(
    ("off", "found"),
    [
        (-CLOCK_BEFORE, []),
        (CLOCK_AFTER, []),
        (-CLOCK_BEFORE - timedelta(seconds=1), ["ceremony.clock"]),
        (CLOCK_AFTER + timedelta(seconds=1), ["ceremony.clock"]),
        (timedelta(days=-20_000), ["ceremony.clock"]),
    ],
)
def test_a_clock_that_is_far_from_the_planned_day_is_a_problem(
    tmp_path: Path, off: timedelta, found: list[str]
) -> None:
    path = written(tmp_path)
    assert [one.id for one in find_problems(read_plan(path), tmp_path, AT + off)] == found


# --- the plan and its digest -----------------------------------------------------------------------------------


def test_the_digest_is_of_the_bytes_that_are_printed_and_the_same_each_time(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert canonical(read_plan(path)) == canonical(read_plan(path))
    assert digest(read_plan(path)) == digest(read_plan(path))


def respaced(text: str) -> str:
    return "# reviewed\n" + text.replace(" = ", "=")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param(respaced, True, id="spaces and comments"),
        pytest.param(lambda text: text.replace("T09:30:00Z", "T10:30:00+01:00"), True, id="another time zone"),
        pytest.param(lambda text: text.replace("T09:30:00Z", "T09:30:01Z"), False, id="a second later"),
        pytest.param(lambda text: text.replace("safe-2/root-a", "safe-2/root-A"), False, id="a path"),
        pytest.param(lambda text: text.replace("Bob", "Eve"), False, id="a participant"),
    ],
)
def test_the_digest_changes_with_what_would_be_done(
    tmp_path: Path, change: Callable[[str], str], *, same: bool
) -> None:
    path = written(tmp_path)
    before = digest(read_plan(path))
    path.write_text(change(WHOLE))
    assert (digest(read_plan(path)) == before) is same


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('id = "root-b"', 'id = "root-a"', id="an id twice"),
        pytest.param('issuer = "root-a"', 'issuer = "root-x"', id="an unknown issuer"),
        pytest.param('old = "root-a"', 'old = "root-x"', id="an unknown root"),
        pytest.param('"root-b-with-root-a"', '"root-b-with-root-x"', id="an unknown certificate"),
        pytest.param('issuer = "operations"\n', "", id="a signer without an issuer"),
    ],
)
def test_what_refers_to_nothing_is_no_plan(tmp_path: Path, before: str, after: str) -> None:
    assert before in WHOLE
    with pytest.raises(CeremonyRefused) as refused:
        read_plan(written(tmp_path, WHOLE.replace(before, after)))
    assert refused.value.finding.startswith("ceremony.plan.")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("folder =", "surprise = 1\nfolder =", id="an unknown key"),
        pytest.param("T09:30:00Z", "T09:30:00", id="a time without its offset"),
        pytest.param('"P-384"', '"RSA-1024"', id="a weak algorithm"),
        pytest.param('"witness"', '"king"', id="an unknown role"),
        pytest.param('id = "root-a"', 'id = "../root"', id="an id that is a path"),
        pytest.param("9131", "99999", id="a validity of centuries"),
        pytest.param('"safe-1/root-b"', "", id="no place for the passphrase"),
    ],
)
def test_a_file_that_is_not_as_described_is_a_configuration_error(tmp_path: Path, before: str, after: str) -> None:
    assert before in WHOLE
    with pytest.raises(ConfigError):
        read_plan(written(tmp_path, WHOLE.replace(before, after)))


def test_what_a_reviewer_may_accept_is_a_remark(tmp_path: Path) -> None:
    one_place = ROOT_B.replace("safe-1/root-b", "usb-b/root-b.passphrase")
    said = remarks(read_plan(written(tmp_path, HEAD + ROOT_A + one_place + ISSUING + BUNDLES)))
    assert len(said) == 2
    assert "root-b and its whole passphrase are kept in one place, usb-b" in said[0]
    assert "issuing (issuing CA) is used every day and lives in a file" in said[1]
