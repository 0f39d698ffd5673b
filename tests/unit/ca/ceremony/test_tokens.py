# SPDX-License-Identifier: Apache-2.0
"""Ceremonies whose keys live in PKCS#11 tokens: SoftHSM, one token for each root and one for the CA."""

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from birthmark.ca.ceremony.errors import CeremonyRefused
from birthmark.ca.ceremony.journal import Journal
from birthmark.ca.ceremony.plan import PlannedKey
from birthmark.ca.ceremony.problems import find_problems
from birthmark.ca.ceremony.reviewed import read_plan
from birthmark.ca.ceremony.transcript import verify_transcript
from birthmark.ca.ceremony.workshop import Workshop
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.keys.pkcs11 import Token
from support.ceremonies import BUNDLES, HEAD, held, ticking
from support.hierarchy import AT
from support.softhsm import MODULE, PIN

TOKENS = ("root-a", "root-b", "ca")


def key(kind: str, table: str, token: str, algorithm: str, more: str) -> str:
    place = f'key = {{ kind = "pkcs11", token = "{token}", label = "{kind}-2026" }}'
    return f'[[{table}]]\nid = "{kind}"\nalgorithm = "{algorithm}"\n{place}\n{more}\n'


def ca_key(use: str, name: str) -> str:
    return key(use, "ca", "ca", "P-256", f'use = "{use}"\nname = "{name}"\nissuer = "root-a"\nvalidity_days = 3650')


def root(token: str, standing: str) -> str:
    rest = f'name = "Acme {token}"\nstanding = "{standing}"\nvalidity_days = 9131'
    return key(token, "root", token, "P-384", rest)


SIGNERS = key("ledger", "signer", "ca", "Ed25519", 'use = "ledger"') + key(
    "ocsp", "signer", "ca", "P-256", 'use = "ocsp"\nname = "Acme OCSP"\nissuer = "issuing"\nvalidity_days = 397'
)
TEXT = (
    HEAD
    + "".join(f'[[token]]\nlabel = "{label}"\nmodule = "{MODULE}"\npin_file = "pin"\n' for label in TOKENS)
    + root("root-a", "active")
    + root("root-b", "spare")
    + ca_key("issuing", "Acme Issuing")
    + SIGNERS
    + BUNDLES
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    configuration = tmp_path / "softhsm2.conf"
    (tmp_path / "tokens").mkdir()
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    for label in TOKENS:
        secret = ("--pin", PIN.decode(), "--so-pin", "12345678")
        make = ("softhsm2-util", "--init-token", "--free", "--label", label, *secret)
        subprocess.run(make, check=True, capture_output=True)
    (tmp_path / "pin").write_bytes(PIN)
    (tmp_path / "pin").chmod(0o600)
    (tmp_path / "pki").mkdir()
    file = tmp_path / "ceremony.toml"
    file.write_text(TEXT)
    return file


def problems(path: Path) -> set[str]:
    return {problem.id for problem in find_problems(read_plan(path), path.parent, AT)}


def generate(token: str, label: str) -> None:
    with Token.open(MODULE, token, PIN) as opened:
        opened.generate(label, KeyAlgorithm.P384)


def labels(token: str) -> list[str]:
    with Token.open(MODULE, token, PIN) as opened:
        shown = opened.keys()
    return [facts.label for facts in shown]


def test_keys_are_made_in_their_tokens_and_what_the_tokens_say_of_them_is_in_the_transcript(path: Path) -> None:
    assert problems(path) == set()
    outcome = held(path)
    assert [labels(token) for token in TOKENS] == [
        ["root-a-2026"],
        ["root-b-2026"],
        ["issuing-2026", "ledger-2026", "ocsp-2026"],
    ]
    facts = {record.act: record.facts for record in verify_transcript(outcome.transcript).transcript.acts}
    for name in ("root-a", "root-b", "issuing", "ledger", "ocsp"):
        said = facts[f"key {name}"]["attributes"]
        assert {"CKA_NEVER_EXTRACTABLE=true", "CKA_LOCAL=true", "CKA_SENSITIVE=true", "CKA_DERIVE=false"} <= set(said)


def test_looking_for_problems_makes_nothing(path: Path) -> None:
    problems(path)
    assert [labels(token) for token in TOKENS] == [[], [], []]


def test_a_label_that_is_taken_is_found_beforehand_and_nothing_is_made(path: Path) -> None:
    generate("root-b", "root-b-2026")
    assert problems(path) == {"key.exists"}
    with pytest.raises(CeremonyRefused) as refused:
        held(path)
    assert refused.value.finding == "ceremony.problems"
    assert [labels(token) for token in TOKENS] == [[], ["root-b-2026"], []]
    assert not (path.parent / "ceremony").exists()


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        pytest.param('"root-b"', '"lost"', "key.token-missing", id="no such token"),
        pytest.param(str(MODULE), "/nowhere.so", "key.token-missing", id="no such module"),
        pytest.param('"issuing-2026"', '"device-2026"', "key.policy.label", id="a label that says nothing"),
        pytest.param('"issuing-2026"', '"crl-2026"', "key.policy.label", id="a label for another use"),
        pytest.param('"P-384"', '"ML-DSA-65"', "key.mechanism", id="an algorithm that no token makes"),
        pytest.param('pin_file = "pin"', 'pin_file = "no-pin"', "config.invalid", id="no PIN file"),
        pytest.param('[[token]]\nlabel = "ca"', '[[token]]\nlabel = "x"', "ceremony.token", id="a token not listed"),
    ],
)
def test_what_is_wrong_with_a_token_is_found_beforehand(path: Path, before: str, after: str, problem: str) -> None:
    text = TEXT.removesuffix(BUNDLES)
    assert before in text
    path.write_text(text.replace('id = "root-b"', "id = 'root-b'").replace(before, after))
    assert problem in problems(path)


def test_a_wrong_pin_is_found_beforehand(path: Path) -> None:
    (path.parent / "pin").write_bytes(b"654321")
    assert problems(path) == {"key.pin"}


class PowerCut(BaseException):
    """Nothing in the program expects it."""


def test_a_key_that_was_made_just_before_the_power_went_is_found_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Workshop.make

    def cut(shop: Workshop, planned: PlannedKey) -> None:
        make(shop, planned)
        raise PowerCut

    for number, name in enumerate(("root-a", "root-b", "issuing", "ledger", "ocsp")):
        with monkeypatch.context() as patch:
            patch.setattr(Workshop, "make", cut)
            with pytest.raises(PowerCut):
                held(path, ticking(AT + timedelta(hours=number)))
        assert f"{name}-2026" in [*labels("root-a"), *labels("root-b"), *labels("ca")]
    outcome = held(path, ticking(AT + timedelta(hours=9)))
    assert len(verify_transcript(outcome.transcript).transcript.runs) == 6


def test_a_key_that_somebody_else_makes_before_its_act_is_not_taken_for_ours(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Journal.add

    def added(journal: Journal, line: object) -> None:
        add(journal, line)  # type: ignore[arg-type] # whatever the run writes
        if getattr(line, "act", "") == "key root-a":
            raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", added)
        with pytest.raises(PowerCut):
            held(path)
    generate("root-b", "root-b-2026")
    with pytest.raises(CeremonyRefused, match=r"key\.exists"):
        held(path, ticking(AT + timedelta(hours=1)))
