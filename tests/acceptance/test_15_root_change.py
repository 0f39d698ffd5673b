# SPDX-License-Identifier: Apache-2.0
"""
Acceptance 15, the CA's side: "We must change the root before 2030."

The CA is the real program, and so are the commands; devices speak EST over their own mutual TLS. The new root and the
roll-over certificates are made as a ceremony makes them (`pki.rollover`).
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from birthmark.ca.anchors import digest_of
from birthmark.core.anchors import ANCHORS_MEDIA_TYPE, ANCHORS_PATH, encode_anchors
from birthmark.core.birth import sign_birth
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.core.roles import Role
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority, make_rig, make_root, make_sub_ca
from birthmark.pki.keys.software import generate, save_encrypted
from birthmark.pki.rollover import make_rollover, new_with_old_validity, old_with_new_validity
from birthmark.testing.forge import ORGANIZATION, new_key
from birthmark.testing.orders import hired
from support.ca_parts import AUTHORITY, Board, birth_record
from support.ca_process import PASSPHRASE, CAFiles, RunningCA, running_ca
from support.labs import birthmark
from support.tls_files import pem

FLEET = 10
THRESHOLD = "900"
AFTER = """
[[issuer]]
name = "after"
certificate = "after.pem"
key = { kind = "software", file = "after.key", passphrase_file = "passphrase" }
chain = "after-chain.pem"
"""


@dataclass
class Unit:
    """A device: its board, and the certificate that it uses."""

    board: Board
    certificate: x509.Certificate


class Site:
    """A CA with a fleet under the old root; its process can be started anew."""

    def __init__(self, folder: Path) -> None:
        self.files = CAFiles(folder)
        for role in (Role.SECURITY_OFFICER, Role.APPROVER):
            person = hired(self.files.operations, f"the {role.value}", role, self.files.now)
            self.files.identity(role.value, person.key, *person.chain)
            save_encrypted(folder / f"{role.value}.p8", person.key, PASSPHRASE)
        trust = pem(self.files.forge.root.certificate, self.files.operations.certificate)
        folder.joinpath("office.pem").write_bytes(trust)
        self.rig_key = new_key()
        self.rig = make_rig(self.files.operations, "rig-a", self.rig_key.public_key(), self.files.now)
        self.files.identity("the-rig", self.rig_key, self.rig)
        self.new_root = make_root(ORGANIZATION, "Root of 2026", generate(KeyAlgorithm.P384), self.files.now)
        self._stack = ExitStack()
        self.ca = self.start()
        self.units = [self._born(f"BM-0000{number:02}") for number in range(FLEET)]

    @property
    def old(self) -> str:
        return digest_of(self.files.forge.root.certificate)

    @property
    def new(self) -> str:
        return digest_of(self.new_root.certificate)

    def start(self) -> RunningCA:
        self._stack.close()
        self.ca = self._stack.enter_context(running_ca(self.files))
        return self.ca

    def stop(self) -> None:
        self._stack.close()

    def roll_over(self) -> None:
        """Let another issuing CA under the new root sign from now on, and serve the bridge between the roots."""
        write, now = self.files.folder.joinpath, self.files.now
        old_root, new_root = self.files.forge.root, self.new_root
        issuing = make_sub_ca(new_root, f"{ORGANIZATION} issuing CA 2", generate(KeyAlgorithm.P256), now)
        save_encrypted(write("after.key"), issuing.key, PASSPHRASE)
        write("after.pem").write_bytes(pem(issuing.certificate))
        write("after-chain.pem").write_bytes(pem(issuing.certificate, new_root.certificate))
        write("rollover.pem").write_bytes(pem(*bridge(old_root, new_root)))
        trust = write("trust.pem")
        trust.write_bytes(trust.read_bytes() + pem(new_root.certificate, issuing.certificate))
        text = self.files.config.read_text().replace("organization", 'rollover = "rollover.pem"\norganization', 1)
        self.files.config.write_text(f'{text}issuer = "after"\n{AFTER}')
        self.start()

    def renew(self, unit: Unit) -> None:
        """Let a device renew, and say with its new identity which roots it holds."""
        self._as(unit)
        est, key = self.ca.est(unit.board.unit, None), new_key()
        unit.certificate = est.simplereenroll(unit.board.renewal_csr(key, est.nonce().nonce, unit.certificate))
        unit.board.key = key

    def name_anchors(self, unit: Unit, *roots: str) -> None:
        self._as(unit)
        body = encode_anchors(frozenset(roots))
        headers = {"content-type": ANCHORS_MEDIA_TYPE}
        assert self.ca.transport(unit.board.unit).request("POST", ANCHORS_PATH, headers, body).status == 204

    def coverage(self) -> dict[str, object]:
        asked = ("ca", "root", "coverage", self.old, "--successor", self.new, "--config", self.files.config, "--json")
        done = birthmark(*asked)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def propose(self) -> tuple[str, str]:
        """Return the proposal's id and what was refused."""
        asked = ("ca", "root", "retire", self.old, "--successor", self.new, "--threshold", THRESHOLD)
        done = birthmark(*asked, "--reason", "2030", *self._office(Role.SECURITY_OFFICER))
        return done.stdout.partition(" ")[0], done.stderr if done.returncode else ""

    def approve(self, proposal: str, role: Role) -> str:
        asked = ("ca", "proposal", "approve", proposal, "--yes", "--reason", "seen")
        done = birthmark(*asked, *self._office(role))
        return done.stderr if done.returncode else ""

    def cacerts(self) -> set[str]:
        return {digest_of(each) for each in self.ca.est(None, None).cacerts()}

    def _office(self, role: Role) -> tuple[str | Path, ...]:
        folder = self.files.folder
        trust, certificate, key = folder / "office.pem", folder / f"{role.value}.pem", folder / f"{role.value}.p8"
        options = ("--url", self.ca.url, "--trust", trust, "--certificate", certificate, "--key", key)
        return (*options, "--passphrase-file", folder / "passphrase", "--authority", AUTHORITY)

    def _as(self, unit: Unit) -> None:
        """Connect as the device with the certificate that it uses now."""
        self.files.identity(unit.board.unit, unit.board.key, unit.certificate)
        known = self.ca._transports.pop(unit.board.unit, None)
        if known is not None:
            known.close()

    def _born(self, name: str) -> Unit:
        board, est = self.files.board(name), self.ca.est("the-rig")
        certificate = est.simpleenroll(board.csr(est.nonce(PKIX_EVIDENCE, name).nonce))
        token = sign_birth(birth_record(board, certificate), self.rig_key, self.rig).encode()
        headers = {"content-type": "application/jose"}
        assert self.ca.transport("the-rig").request("POST", "/v1/births", headers, token).status == 204
        return Unit(board, certificate)


def bridge(old: Authority, new: Authority) -> tuple[x509.Certificate, ...]:
    lives = [(each.certificate.not_valid_before_utc, each.certificate.not_valid_after_utc) for each in (old, new)]
    old_with_new = make_rollover(new, old.certificate, old_with_new_validity(*lives))
    new_with_old = make_rollover(old, new.certificate, new_with_old_validity(*lives))
    return old.certificate, old_with_new, new_with_old


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.stop()


def test_an_old_root_goes_when_nearly_all_devices_hold_the_new_one(site: Site) -> None:
    site.roll_over()
    assert {site.old, site.new} <= site.cacerts()
    assert site.coverage() | {"without": 0} == {"living": 10, "holding": 0, "under_old": 10, "silent": 10, "without": 0}
    for held, unit in enumerate(site.units[:-2]):
        site.renew(unit)
        if held % 4 == 0:
            assert site.coverage()["holding"] == held  # what it has received it may not have stored
        site.name_anchors(unit, site.old, site.new)
    site.name_anchors(site.units[-1], site.old)  # it has said something, and does not hold the new one
    _, refused = site.propose()
    assert "ca.root.coverage" in refused
    assert "8 of 10" in refused

    site.name_anchors(site.units[-2], site.old, site.new)  # it holds it already, without a renewal
    proposal, refused = site.propose()
    assert refused == ""
    assert "same-person" in site.approve(proposal, Role.SECURITY_OFFICER)
    assert site.approve(proposal, Role.APPROVER) == ""
    assert site.coverage()["under_old"] == 2
    assert "ca.root.retired" in site.propose()[1]

    site.start()
    assert site.old not in site.cacerts()
    assert site.new in site.cacerts()
    sleeper = site.units[-1]
    site.renew(sleeper)  # it slept through, and is heard
    site.name_anchors(sleeper, site.old, site.new)
    assert site.coverage()["holding"] == 10
