# SPDX-License-Identifier: Apache-2.0
"""docs/reference/hsm-keys.md says what the key policy, the meanings and the ladder say."""

import re
from pathlib import Path

import pytest

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.keys.pkcs11 import POOL_MAX_SESSIONS
from birthmark.pki.keys.pkcs11.ladder import PAUSE_FIRST_S, PAUSE_MAX_S
from birthmark.pki.keys.pkcs11.meanings import MEANINGS, Remedy
from birthmark.pki.keys.pkcs11.objects import RECIPES
from birthmark.pki.keys.pkcs11.policy import (
    ATTRIBUTE_RULES,
    KEY_ID_BYTES,
    KEY_RULES,
    LABEL_MAX_CHARS,
    LABEL_WORDS,
    AttributeRule,
    KeyUse,
)
from birthmark.pki.keys.pkcs11.token import HEAL_WAIT_S, SESSION_WAIT_S
from support.documents import ROOT, section

PAGE = (ROOT / "docs/reference/hsm-keys.md").read_text()
POLICY = (ROOT / "src/birthmark/pki/keys/pkcs11/policy.py").read_text()
REMEDIES = {
    Remedy.RETRY: "the same session again",
    Remedy.SESSION: "another session",
    Remedy.LOGIN: "a new login",
    Remedy.MODULE: "a restart of the module (C_Finalize, C_Initialize)",
    Remedy.FATAL: "a person: the PIN is refused, and never offered again",
}


def rows(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, without its head."""
    lines = [line for line in section(PAGE, heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_page_lists_every_use_with_its_rule() -> None:
    expected = []
    for use in KeyUse:
        rule = KEY_RULES[use]
        words = ", ".join(f"`{word}`" for word, meant in LABEL_WORDS.items() if meant is use)
        everything = set(rule.algorithms) == set(KeyAlgorithm)
        algorithms = "any" if everything else ", ".join(algorithm.value for algorithm in rule.algorithms)
        expected.append([words, rule.signs, rule.home.value, algorithms])
    assert rows("## The keys") == expected


def test_the_page_lists_every_attribute_with_its_rule() -> None:
    assert rows("## Attributes of the private key") == [row(rule) for rule in ATTRIBUTE_RULES]


def row(rule: AttributeRule) -> list[str]:
    finding = f"`{rule.finding}`" if rule.finding else "none"
    return [f"`CKA_{rule.name}`", str(rule.value).upper(), rule.said.value, rule.because, finding]


def test_the_page_explains_every_finding_of_the_policy() -> None:
    said = [finding.strip("`") for finding, _ in rows("## What is checked when a key is opened")]
    assert sorted(said) == sorted(set(re.findall(r'"(key\.policy\.[a-z]+)"', POLICY)))


@pytest.mark.parametrize("remedy", REMEDIES)
def test_the_page_says_what_helps_after_which_answer(remedy: Remedy) -> None:
    (answers,) = [answers for helps, answers in rows("## When the token fails") if helps == REMEDIES[remedy]]
    assert re.findall(r"`(\w+)`", answers) == [name for name, known in MEANINGS.items() if known.remedy is remedy]


@pytest.mark.parametrize(
    "text",
    [
        f"at most {LABEL_MAX_CHARS} characters",
        f"`CKA_ID` is {KEY_ID_BYTES} random bytes",
        f"first attempt, at most {HEAL_WAIT_S:g} s",
        f"is {PAUSE_FIRST_S:g} s, doubles each time, and is {PAUSE_MAX_S:g} s at most",
        f"Up to {POOL_MAX_SESSIONS} sessions",
        f"A caller waits {SESSION_WAIT_S:g} s for one",
    ],
)
def test_the_page_has_the_figures_of_the_code(text: str) -> None:
    assert text in " ".join(PAGE.split())


def test_the_page_names_the_kinds_of_keys_that_a_token_can_hold() -> None:
    assert [algorithm.value for algorithm in RECIPES] == ["P-256", "P-384", "Ed25519"]
    assert "In a token a key can be P-256, P-384 (`CKM_ECDSA`) or Ed25519 (`CKM_EDDSA`)" in " ".join(PAGE.split())


def test_the_page_says_where_the_data_is() -> None:
    path = re.search(r"`(src/\S+\.py)`", PAGE)
    assert path
    assert Path(ROOT / path[1]).is_file()
