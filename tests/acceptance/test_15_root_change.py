# SPDX-License-Identifier: Apache-2.0
"""
Acceptance 15, the CA's side: "We must change the root before 2030."

The CA is the real program with two workers, and so are the commands; devices speak EST over their own mutual TLS. Both
roots come from one ceremony, and the roll-over from another one, years later: files that are reviewed and run. The CA
is never restarted.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509

from birthmark.ca.anchors import digest_of
from birthmark.core.anchors import ANCHORS_MEDIA_TYPE, ANCHORS_PATH, encode_anchors
from birthmark.core.birth import sign_birth
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.core.roles import Role
from birthmark.pki.authorities import Authority, make_rig
from birthmark.pki.keys.software import load_encrypted
from birthmark.testing.forge import ORGANIZATION, new_key
from support.ca_parts import Board, birth_record
from support.ca_process import FRONT, CAFiles, running_ca
from support.labs import birthmark
from support.offices import hire_office, office_options

FLEET = 10
THRESHOLD = "900"
WORKERS_ASKED = 20
"""Requests that two workers share between them."""
PATIENCE_S = 20.0
AFTER = """
[[issuer]]
name = "after"
certificate = "pki/issuing-2.pem"
key = { kind = "software", file = "pki/issuing-2.key", passphrase_file = "pki/issuing-2.passphrase" }
chain = "pki/chain-2.pem"
"""
PEOPLE = """
[[participant]]
name = "Ada Example"
role = "administrator"

[[participant]]
name = "Bob Example"
role = "witness"
"""


def head(title: str, folder: str) -> str:
    begins = datetime.now(UTC).replace(microsecond=0).isoformat()
    return f'title = "{title}"\norganization = "{ORGANIZATION}"\nbegins = {begins}\nfolder = "{folder}"\n{PEOPLE}'


def kept(path: str) -> str:
    return f'key = {{ kind = "software", file = "{path}.key", passphrase_files = ["{path}.passphrase"] }}\n'


def root(name: str, standing: str, folder: str) -> str:
    return (
        f'[[root]]\nid = "{name}"\nname = "{name} of {ORGANIZATION}"\nstanding = "{standing}"\n'
        f'algorithm = "P-384"\nvalidity_days = 9131\n{kept(f"{folder}/{name}")}'
    )


def authority(name: str, use: str, issuer: str) -> str:
    return (
        f'[[ca]]\nid = "{name}"\nname = "{name} of {ORGANIZATION}"\nuse = "{use}"\nissuer = "{issuer}"\n'
        f'algorithm = "P-256"\nvalidity_days = 3650\n{kept(f"pki/{name}")}'
    )


def present(name: str, folder: str) -> str:
    return f'[[present]]\nid = "{name}"\ncertificate = "ceremony-1/{name}.pem"\n{kept(f"{folder}/{name}")}'


def bundle(file: str, *certificates: str) -> str:
    return f'[[bundle]]\nfile = "{file}"\ncertificates = {json.dumps(certificates)}\n'


def first_ceremony() -> str:
    parts = (
        root("root", "active", "safe-1"),
        root("spare", "spare", "safe-2"),
        authority("issuing", "issuing", "root"),
        authority("operations", "operations", "root"),
    )
    return head("The PKI of 2026", "ceremony-1") + "\n".join(parts)


def second_ceremony() -> str:
    parts = (
        present("root", "safe-1"),
        present("spare", "safe-2"),
        authority("issuing-2", "issuing", "spare"),
        '[[rollover]]\nold = "root"\nnew = "spare"\n',
        bundle("pki/issuing-2.pem", "issuing-2"),
        bundle("pki/chain-2.pem", "issuing-2", "spare"),
        bundle("pki/trust-2.pem", "spare", "issuing-2"),
        bundle("pki/rollover.pem", "root", "root-with-spare", "spare-with-root"),
    )
    return head("Before 2030", "ceremony-2") + "\n".join(parts)


def hold(folder: Path, name: str, text: str) -> None:
    """Hold a ceremony as people do: plan it, note the plan's SHA-256, run it."""
    file = folder / f"{name}.toml"
    file.write_text(text)
    planned = birthmark("ca", "ceremony", "plan", file, "--json")
    assert planned.returncode == 0, birthmark("ca", "ceremony", "plan", file).stdout
    done = birthmark("ca", "ceremony", "run", file, "--plan-sha256", sha256(planned.stdout.encode()).hexdigest())
    assert done.returncode == 0, done.stderr


def made(folder: Path, name: str, medium: str) -> Authority:
    """Return a root or CA of the first ceremony, with its key."""
    certificate = x509.load_pem_x509_certificate((folder / "ceremony-1" / f"{name}.pem").read_bytes())
    passphrase = (folder / medium / f"{name}.passphrase").read_bytes().strip()
    return Authority(certificate, load_encrypted(folder / medium / f"{name}.key", passphrase))


@dataclass
class Unit:
    """A device: its board, and the certificate that it uses."""

    board: Board
    certificate: x509.Certificate


class Site:
    """A CA with a fleet under the old root. Its process is started once."""

    def __init__(self, folder: Path) -> None:
        for medium in ("safe-1", "safe-2", "pki"):
            (folder / medium).mkdir()
        hold(folder, "first", first_ceremony())
        hierarchy = (("root", "safe-1"), ("issuing", "pki"), ("operations", "pki"))
        old_root, issuing, operations = (made(folder, name, medium) for name, medium in hierarchy)
        self.files = CAFiles(folder, (old_root, issuing, operations))
        with self.files.config.open("a") as config:
            config.write(FRONT)
        hire_office(self.files, Role.SECURITY_OFFICER, Role.APPROVER)
        self.rig_key = new_key()
        self.rig = make_rig(self.files.operations, "rig-a", self.rig_key.public_key(), self.files.now)
        self.files.identity("the-rig", self.rig_key, self.rig)
        self.new_root = made(folder, "spare", "safe-2").certificate
        self._stack = ExitStack()
        self.ca = self._stack.enter_context(running_ca(self.files))
        self.units = [self._born(f"BM-0000{number:02}") for number in range(FLEET)]

    @property
    def old(self) -> str:
        return digest_of(self.files.forge.root.certificate)

    @property
    def new(self) -> str:
        return digest_of(self.new_root)

    def stop(self) -> None:
        self._stack.close()

    def roll_over(self) -> None:
        """Let another issuing CA under the new root sign from now on, and serve the bridge between the roots."""
        folder = self.files.folder
        hold(folder, "second", second_ceremony())
        trust = folder / "trust.pem"
        trust.write_bytes(trust.read_bytes() + (folder / "pki/trust-2.pem").read_bytes())
        text = self.files.config.read_text().replace("organization", 'rollover = "pki/rollover.pem"\norganization', 1)
        text = text.replace("last_issue = 2035-12-31", 'last_issue = 2035-12-31\nissuer = "after"')
        self.files.config.write_text(f"{text}{AFTER}")
        self.ca.process.send_signal(signal.SIGHUP)
        log = folder / "ca.log"
        eventually(lambda: "net.front.reloaded" in log.read_text(), log.read_text)
        # Until then the workers of before answer once more on each connection that they have.
        eventually(lambda: "net.front.left" in log.read_text(), log.read_text)

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
        done = birthmark(*asked, "--reason", "2030", *office_options(self.ca, Role.SECURITY_OFFICER))
        return done.stdout.partition(" ")[0], done.stderr if done.returncode else ""

    def approve(self, proposal: str, role: Role) -> str:
        asked = ("ca", "proposal", "approve", proposal, "--yes", "--reason", "seen")
        done = birthmark(*asked, *office_options(self.ca, role))
        return done.stderr if done.returncode else ""

    def cacerts(self) -> set[frozenset[str]]:
        """Return what the workers hand out: one set of roots and CAs when they agree."""
        est = self.ca.est(None, None)
        return {frozenset(map(digest_of, est.cacerts())) for _ in range(WORKERS_ASKED)}

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


def eventually(what: Callable[[], bool], told: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.stop()


def test_an_old_root_goes_when_nearly_all_devices_hold_the_new_one(site: Site) -> None:
    site.roll_over()
    (served,) = site.cacerts()
    assert {site.old, site.new} <= served
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

    eventually(lambda: not any(site.old in served for served in site.cacerts()), site.cacerts)
    (served,) = site.cacerts()
    assert site.new in served
    sleeper = site.units[-1]
    site.renew(sleeper)  # it slept through, and is heard
    site.name_anchors(sleeper, site.old, site.new)
    assert site.coverage()["holding"] == 10
