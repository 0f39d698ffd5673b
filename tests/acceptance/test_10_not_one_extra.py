# SPDX-License-Identifier: Apache-2.0
"""Acceptance 10: "The contract manufacturer must not make 100 extra." """

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from birthmark.est.errors import ESTClientRefused
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.forge import new_key
from birthmark.testing.lab.files import LOG_ORIGIN
from birthmark.testing.lab.record import RIGS, Lab
from support.labs import birthmark, credential_options, office_options, run_panel

ORDER = "order-ten"
QUANTITY = 2
HOSTILE_REQUESTS = 8
"""Of each rig, all at once."""


class Factory:
    """A lab with an order of its own, and everyone who has a part in it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.files = lab.path / "orders"
        self.units = (f"BM-0001{number:02d}" for number in itertools.count())
        text = (self.files / f"{lab.order}.toml").read_text().replace(lab.order, ORDER)
        self.write(re.sub(r'last_unit = "[^"]*"', 'last_unit = "BM-000999"', text), quantity=QUANTITY)
        recipe = lab.path / "recipe.toml"
        recipe.write_text(recipe.read_text().replace(lab.order, ORDER))

    def write(self, text: str, quantity: int) -> None:
        (self.files / "ten.toml").write_text(re.sub(r"quantity = \d+", f"quantity = {quantity}", text))

    def person(self, role: str, *arguments: str | Path) -> str:
        """Have somebody run a command that must succeed; return what it printed."""
        done = birthmark("ca", *arguments, *office_options(self.lab, role))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def proposed(self, act: str, **options: str) -> str:
        """Have the security officer sign the order as its file has it, and propose it; return the proposal's id."""
        extra = [word for name, value in options.items() for word in (f"--{name}", value)]
        document = self.files / "ten.jws"
        sign = ("ca", "order", "sign", self.files / "ten.toml", "--act", act, "--reason", "as planned", *extra)
        done = birthmark(*sign, "--authority", LOG_ORIGIN, "--output", document, *credential_options(self.lab))
        assert done.returncode == 0, done.stderr
        return self.person("security-officer", "order", "propose", document).split()[0]

    def approve(self, proposal: str) -> None:
        self.person("approver", "order", "approve", proposal, "--reason", "read", "--yes")

    def shown(self) -> dict[str, dict[str, object]]:
        shown: dict[str, dict[str, object]] = json.loads(self.person("auditor", "order", "show", ORDER, "--json"))
        return shown

    def account(self) -> dict[str, object]:
        return self.shown()["account"]

    def findings(self) -> Counter[str]:
        """What the CA's log says was refused under the order."""
        rows = map(json.loads, birthmark("ca", "audit", "--config", self.lab.ca_config, "--json").stdout.splitlines())
        return Counter(row["finding"] for row in rows if row["order"] == ORDER and row["finding"])

    def spare_panel(self) -> Path:
        panel = self.lab.path / "panel-spare.toml"
        panel.write_text(f'[[position]]\nunit = "{next(self.units)}"\nchip = "{self.lab.spare.chip}"\n')
        return panel

    def roll_back_the_rigs(self) -> None:
        """Set both rigs' disks, and what they share, back to before they had made anything."""
        for journal in (*map(Path, self.lab.rig_journals.values()), self.lab.path / "data" / "units.sqlite"):
            for file in journal.parent.glob(f"{journal.name}*"):
                file.unlink()

    def storm(self) -> Counter[str]:
        """Have both rigs ask for as many as they can, at once, with genuine chips; return what they were told."""
        with hostile(self.lab) as intruder:
            asked = [(rig, next(self.units)) for rig in RIGS for _ in range(HOSTILE_REQUESTS)]
            with ThreadPoolExecutor(len(asked)) as pool:
                return Counter(pool.map(lambda each: attempt(intruder, *each), asked))


@contextmanager
def hostile(lab: Lab) -> Iterator[Intruder]:
    """An intruder who does not begin by running the panel."""
    intruder = Intruder(lab)
    try:
        yield intruder
    finally:
        intruder.__exit__(None, None, None)


def attempt(intruder: Intruder, rig: str, unit: str) -> str:
    """Ask for one certificate past the rig's own program; return the finding, or that it was issued."""
    chip, key, est = intruder.genuine_chip(), new_key(), intruder.est(rig=rig, order=ORDER)
    try:
        nonce = intruder.nonce(unit, rig=rig, order=ORDER)
        est.simpleenroll(build_csr(key, request_subject(unit), chip.bundle(chip.attest(key.public_key(), nonce))))
    except ESTClientRefused as refusal:
        return refusal.finding
    return "issued"


@pytest.fixture
def factory(lab: Lab) -> Factory:
    factory = Factory(lab)
    proposal = factory.proposed("create")
    assert factory.storm() == {"ca.8.unapproved": 2 * HOSTILE_REQUESTS}
    factory.approve(proposal)
    verdicts = run_panel(lab)
    assert {verdict["verdict"] for verdict in verdicts.values()} == {"PASS"}
    assert len(verdicts) == QUANTITY
    return factory


def test_hostile_rigs_get_not_one_unit_more_than_was_ordered(factory: Factory) -> None:
    for rig in RIGS:
        factory.roll_back_the_rigs()
        (verdict,) = run_panel(factory.lab, rig, factory.spare_panel()).values()
        assert (verdict["verdict"], verdict["finding"]) == ("FAIL", "ca.8.quota")
    assert factory.storm() == {"ca.8.quota": 2 * HOSTILE_REQUESTS}
    with hostile(factory.lab) as intruder:
        assert attempt(intruder, RIGS[0], "BM-001000") == "ca.8.unit-range"
    assert factory.findings()["ca.8.quota"] >= 2 * HOSTILE_REQUESTS + len(RIGS)
    assert (factory.account()["taken"], factory.account()["left"]) == (QUANTITY, 0)


def test_one_person_extends_nothing_and_two_extend_by_what_they_signed(factory: Factory) -> None:
    factory.write((factory.files / "ten.toml").read_text(), quantity=QUANTITY + 3)
    proposal = factory.proposed("extend", replaces=str(factory.shown()["order"]["document"]))
    alone = birthmark(
        *("ca", "order", "approve", proposal, "--reason", "I trust myself", "--yes"), *office_options(factory.lab)
    )
    assert alone.returncode == 1
    assert alone.stderr.splitlines()[-1].startswith("birthmark: ca.approval.same-person: ")
    assert factory.storm() == {"ca.8.quota": 2 * HOSTILE_REQUESTS}
    factory.approve(proposal)
    assert factory.storm() == {"issued": 3, "ca.8.quota": 2 * HOSTILE_REQUESTS - 3}
    assert factory.account() == {
        **dict.fromkeys(("ended", "lapsed", "scrapped", "reworked", "left"), 0),
        "ordered": QUANTITY + 3,
        "taken": QUANTITY + 3,
        "confirmed": QUANTITY,
        "unconfirmed": 3,
    }


def test_failed_and_reworked_units_are_accounted_for(factory: Factory) -> None:
    lead, (first, second) = "line-lead", (board.unit for board in factory.lab.boards)
    for unit in (first, second):
        factory.person(lead, "unit", "scrap", unit, "--order", ORDER, "--reason", "fell off the belt")
    assert factory.storm() == {"ca.8.quota": 2 * HOSTILE_REQUESTS}
    with hostile(factory.lab) as intruder:
        assert attempt(intruder, RIGS[0], first) == "ca.7.unit-state"
        rework = ("unit", "rework", first, "--order", ORDER, "--reason", "another chip was soldered in")
        proposal = factory.person(lead, *rework).split()[0]
        assert attempt(intruder, RIGS[0], first) == "ca.7.unit-state"
        factory.approve(proposal)
        assert [attempt(intruder, RIGS[0], unit) for unit in (first, second)] == [
            "issued",
            "ca.7.unit-state",
        ]
    account = factory.account()
    assert {name: account[name] for name in ("ordered", "unconfirmed", "scrapped", "reworked", "left")} == {
        "ordered": QUANTITY,
        "unconfirmed": 1,
        "scrapped": 1,
        "reworked": 1,
        "left": 0,
    }
