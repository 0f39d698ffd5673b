# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca unit`: the same commands beside the CA and, with a person's own key, over the wire."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.ca.wiring import open_ca
from birthmark.core.birth import sign_birth
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.core.roles import Role
from birthmark.pki.authorities import make_rig
from birthmark.testing.forge import new_key
from support.ca_parts import birth_record
from support.ca_process import CAFiles, RunningCA, running_ca
from support.labs import birthmark
from support.offices import hire_office, office_options

UNIT = "BM-000001"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    hire_office(files, Role.SECURITY_OFFICER, Role.LINE_LEAD, Role.AUDITOR)
    with running_ca(files) as running:
        make_unit(running)
        yield running


def make_unit(ca: RunningCA) -> None:
    key = new_key()
    rig = make_rig(ca.files.operations, "rig-a", key.public_key(), ca.files.now)
    ca.files.identity("the-rig", key, rig)
    board, est = ca.files.board(UNIT), ca.est("the-rig")
    certificate = est.simpleenroll(board.csr(est.nonce(PKIX_EVIDENCE, UNIT).nonce))
    token = sign_birth(birth_record(board, certificate), key, rig).encode()
    headers = {"content-type": "application/jose"}
    assert ca.transport("the-rig").request("POST", "/v1/births", headers, token).status == 204


def said(*arguments: str | Path) -> tuple[int, str]:
    done = birthmark("ca", "unit", *arguments)
    return done.returncode, done.stdout or done.stderr


def test_people_say_over_the_wire_what_became_of_a_unit(ca: RunningCA) -> None:
    lead, officer = office_options(ca, Role.LINE_LEAD), office_options(ca, Role.SECURITY_OFFICER)
    assert said("ship", UNIT, "--reason", "sold", *lead) == (0, f"unit {UNIT}: shipped\n")
    code, why = said("suspend", UNIT, "--reason", "stolen?", *lead)
    assert (code, "ca.1.role" in why) == (1, True)
    assert said("suspend", UNIT, "--reason", "stolen?", *officer) == (0, f"unit {UNIT}: suspended\n")
    with open_ca(ca.files.config) as authority:
        rows = [(row["act"], row["who"]) for row in authority.audit() if row["act"].startswith("unit.")]
    lead_name, officer_name = "line-lead:the line-lead", "security-officer:the security-officer"
    assert rows == [("unit.ship", lead_name), ("unit.suspend", lead_name), ("unit.suspend", officer_name)]


def test_a_unit_looks_the_same_here_and_over_the_wire(ca: RunningCA) -> None:
    here = said("show", UNIT, "--json", "--config", ca.files.config)
    there = said("show", UNIT, "--json", *office_options(ca, Role.AUDITOR))
    assert here == there
    assert json.loads(here[1])["unit"] == UNIT
    assert len(json.loads(here[1])["certificates"]) == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "either --config or --url"),
        (("--config", "ca.toml", "--url", "https://ca"), "either --config or --url"),
        (("--url", "https://ca"), "--url wants --trust"),
    ],
    ids=["neither", "both", "half"],
)
def test_a_unit_is_looked_up_in_one_place(options: tuple[str, ...], why: str) -> None:
    code, said_why = said("show", UNIT, *options)
    assert (code, why in said_why) == (2, True)
