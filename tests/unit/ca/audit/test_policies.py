# SPDX-License-Identifier: Apache-2.0
"""The texts of a policy that an auditor is given: those that were in force, and in no other place."""

from pathlib import Path

import pytest

from birthmark.ca.audit.errors import AuditRefused
from birthmark.ca.audit.policies import demand_policy
from birthmark.ca.transparency.policy_log import read_policy
from birthmark.testing.forge import APDU, Forge
from support.ca_parts import NOW

OWN = "endorsements.toml"


@pytest.fixture
def policy(tmp_path: Path) -> tuple[str, dict[str, bytes]]:
    maker = Forge.at(NOW).maker
    tmp_path.joinpath("maker.pem").write_bytes(maker.trust_pem)
    tmp_path.joinpath(OWN).write_text(
        f"""
[[maker]]
name = "{maker.name}"
trust = "maker.pem"

[[model]]
id = "{APDU.id}"
hw_type = "{APDU.hw_type.dotted_string}"
maker = "{maker.name}"
certification = "none"
statement_types = ["{APDU.statement_type.dotted_string}"]
"""
    )
    endorsements, texts = read_policy(tmp_path / OWN, Path.read_bytes)
    return endorsements.digest, dict(texts)


def refused() -> object:
    return pytest.raises(AuditRefused, check=lambda error: error.finding == "audit.policy")


def test_the_texts_that_were_in_force_are_given_out(policy: tuple[str, dict[str, bytes]]) -> None:
    demand_policy(*policy)


def test_a_maker_that_somebody_added_to_the_texts_in_the_database_is_found_out(
    policy: tuple[str, dict[str, bytes]],
) -> None:
    digest, texts = policy
    added = b'\n[[maker]]\nname = "Mallory"\ntrust = "maker.pem"\n'
    with refused():
        demand_policy(digest, texts | {OWN: texts[OWN] + added})


@pytest.mark.parametrize("missing", [OWN, "maker.pem"])
def test_texts_without_one_of_them_are_no_policy(policy: tuple[str, dict[str, bytes]], missing: str) -> None:
    digest, texts = policy
    del texts[missing]
    with refused():
        demand_policy(digest, texts)


@pytest.mark.parametrize("name", ["/etc/cron.d/policy", "../authorized_keys", "a/../../b"])
def test_no_text_is_written_outside_of_the_folder(policy: tuple[str, dict[str, bytes]], name: str) -> None:
    digest, texts = policy
    with refused():
        demand_policy(digest, texts | {name: b"mine"})
