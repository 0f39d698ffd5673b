# SPDX-License-Identifier: Apache-2.0
"""Whoever signs something for a CA has said for which one, or was shown its name and asked."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from birthmark.cli.exits import Exit
from birthmark.cli.main import birthmark
from birthmark.core.errors import BirthmarkError
from birthmark.core.roles import Role
from support.ca_parts import AUTHORITY
from support.ca_process import ORDER, CAFiles, RunningCA, running_ca
from support.offices import hire_office, unnamed_options

TWIN = f"{AUTHORITY}-staging"
CLOSE = ("order", "close", ORDER, "--reason", "finished")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    hire_office(files, Role.SECURITY_OFFICER, Role.APPROVER)
    with running_ca(files) as running:
        yield running


def person(ca: RunningCA, *words: str, role: Role = Role.SECURITY_OFFICER, answer: str | None = None) -> Result:
    """Have somebody run a command at the CA, and answer what they are asked."""
    return CliRunner().invoke(birthmark, ["ca", *map(str, (*words, *unnamed_options(ca, role)))], input=answer)


def proposals(ca: RunningCA) -> int:
    return person(ca, "proposal", "list").output.count("order.close")


@pytest.mark.parametrize("answer", ["n\n", "\n", None], ids=["no", "an empty line", "nobody there"])
def test_who_has_not_said_for_which_ca_is_shown_its_name_and_asked_before_anything_is_signed(
    ca: RunningCA, answer: str | None
) -> None:
    before = proposals(ca)
    done = person(ca, *CLOSE, answer=answer)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0] == f"authority    {AUTHORITY}"
    assert "Sign for this CA? [y/N]" in done.stderr
    assert proposals(ca) == before


def test_who_says_yes_or_has_named_the_ca_signs(ca: RunningCA) -> None:
    asked = person(ca, *CLOSE, answer="y\n")
    assert (asked.exit_code, asked.stdout.split()[1:]) == (0, ["order.close", f"{ORDER}:", "open"])
    named = person(ca, *CLOSE, "--authority", AUTHORITY)
    assert (named.exit_code, named.stderr) == (0, f"authority    {AUTHORITY}\n")


@pytest.mark.parametrize(
    "words",
    [
        CLOSE,
        ("unit", "scrap", "BM-000001", "--order", ORDER, "--reason", "burnt"),
        ("proposal", "approve", "0" * 64, "--reason", "seen"),
        ("proposal", "reject", "0" * 64, "--reason", "seen"),
        ("order", "show", ORDER),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_ca_with_another_name_than_was_said_gets_nothing(ca: RunningCA, words: tuple[str, ...]) -> None:
    before = proposals(ca)
    done = person(ca, *words, "--authority", TWIN)
    assert isinstance(done.exception, BirthmarkError)
    assert done.exception.finding == "proposal.authority"
    assert proposals(ca) == before


def test_who_approves_sees_for_which_ca_it_was_signed(ca: RunningCA) -> None:
    proposal = person(ca, *CLOSE, "--authority", AUTHORITY).stdout.split()[0]
    done = person(ca, "proposal", "approve", proposal, "--reason", "seen", role=Role.APPROVER, answer="n\n")
    assert f"authority    {AUTHORITY}" in done.stderr
    assert person(ca, "proposal", "show", proposal).stdout.splitlines()[1] == f"authority    {AUTHORITY}"


def test_who_wants_not_to_be_asked_says_for_which_ca(ca: RunningCA) -> None:
    done = person(ca, "proposal", "approve", "0" * 64, "--reason", "seen", "--yes", role=Role.APPROVER)
    assert done.exit_code == Exit.USAGE
    assert "--authority" in done.stderr


def test_an_order_is_signed_for_nobody_in_particular_by_nobody(ca: RunningCA) -> None:
    folder = ca.files.folder
    sign = ["ca", "order", "sign", folder / "order.toml", "--reason", "batch 7", "-o", folder / "order.jws"]
    key = ["--certificate", folder / "security-officer.pem", "--key", folder / "security-officer.p8"]
    words = [str(word) for word in (*sign, *key, "--passphrase-file", folder / "passphrase")]
    assert CliRunner().invoke(birthmark, words).exit_code == Exit.USAGE
    wrong = CliRunner().invoke(birthmark, [*words, "--authority", "two words"])
    assert isinstance(wrong.exception, BirthmarkError)
    assert wrong.exception.finding == "proposal.malformed"
    assert not (folder / "order.jws").exists()
    done = CliRunner().invoke(birthmark, [*words, "--authority", TWIN])
    assert done.stdout == f"{folder / 'order.jws'}: order.create {ORDER}, for {TWIN}\n"
    handed_in = person(ca, "order", "propose", str(folder / "order.jws"))
    assert isinstance(handed_in.exception, BirthmarkError)
    assert handed_in.exception.finding == "ca.approval.authority"
