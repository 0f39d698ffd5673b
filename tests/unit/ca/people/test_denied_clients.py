# SPDX-License-Identifier: Apache-2.0
"""A lost card or a stolen rig: it is denied, and all that it could do ends long before its certificate does."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from birthmark.ca.errors import Refused
from birthmark.ca.notices import NoticeBoard
from birthmark.ca.people.approvals import Approvals
from birthmark.ca.people.denials import ALLOW, DENY, AllowTerms, DenyTerms, client_acts, clients_of, doorkeeper
from birthmark.ca.wiring import open_ca
from birthmark.core.clients import ClientDenial, ClientKind, DeniedClient
from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.roles import Role
from birthmark.net.transport import Response
from birthmark.pki.authorities import make_officer
from birthmark.pki.paths import key_digest
from birthmark.testing.forge import new_key
from support.ca_parts import AUTHORITY, ORDER, CAParts
from support.ca_process import FRONT, CAFiles, RunningCA, running_ca
from support.labs import birthmark
from support.officers import Person
from support.offices import hire_all, hire_office, identity_of, office_options

LOST = identity_of(Role.SECURITY_OFFICER)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    hire_all(files)
    denied = [key_digest(certificate(files.folder, name)) for name in (LOST, "rig-a")]
    files.config.write_text(f"denied_clients = {denied}\n{files.config.read_text()}")
    with running_ca(files) as running:
        yield running


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(folder.joinpath(f"{name}.pem").read_bytes())


def asked(ca: RunningCA, who: str) -> tuple[int, str]:
    answer: Response = ca.transport(who).request("GET", "/v1/health/details")
    return answer.status, "" if answer.status == 200 else str(msgspec.json.decode(answer.body)["finding"])


def test_who_has_a_denied_key_is_nobody_and_all_others_are_who_they_were(ca: RunningCA) -> None:
    assert asked(ca, LOST) == (403, "ca.1.officer")
    assert asked(ca, "rig-a") == (403, "ca.1.officer")
    assert asked(ca, identity_of(Role.AUDITOR)) == (200, "")
    assert asked(ca, "rig-b") == (200, "")


def test_an_order_that_a_denied_person_has_signed_issues_nothing(parts: CAParts) -> None:
    with parts.store.reading() as ledger:
        order = ledger.order(ORDER)
        proposal = None if order is None else ledger.proposal(order.document)
    assert proposal is not None
    signer = x509.load_der_x509_certificate(proposal.certificate)
    parts.policy = replace(parts.policy, trust=replace(parts.policy.trust, denied_keys=frozenset({key_digest(signer)})))
    parts.ca = parts.service(parts.store)
    with pytest.raises(Refused) as refused:
        parts.born(parts.board())
    assert refused.value.finding == "ca.8.warrant"


# --- by two persons, in the ledger -----------------------------------------------------------------------------


class Office:
    """A security officer and an approver, before a worker that reads its notices when it is told to."""

    def __init__(self, parts: CAParts) -> None:
        self.parts = parts
        self.board = NoticeBoard(parts.store)
        self.trust = replace(parts.policy.trust, why_denied=doorkeeper(self.board.current))
        parts.policy = replace(parts.policy, trust=self.trust)
        parts.ca = parts.service(parts.store)
        self.olga = Person.hired(parts.operations, "Olga Officer", Role.SECURITY_OFFICER, parts.clock())
        self.anton = Person.hired(parts.operations, "Anton Approver", Role.APPROVER, parts.clock())
        self.approvals = Approvals(parts.store, client_acts(), self.trust, AUTHORITY, parts.clock)

    def propose(self, act: str, client: object, terms: object) -> str:
        token = self.olga.proposal(act, str(client), terms, "lost on the train")
        return self.approvals.propose(self.olga.officer(self.trust, self.parts.clock()), token).document

    def decide(self, act: str, token: str) -> None:
        officer = self.anton.officer(self.trust, self.parts.clock())
        self.approvals.rule(officer, fingerprint(token.encode()), self.anton.ruling(token, act))
        self.board.read()

    def deny(self, kind: ClientKind, name: str) -> DeniedClient:
        client = DeniedClient(kind, name)
        self.decide(DENY, self.propose(DENY, client, DenyTerms()))
        return client

    def allow(self, client: DeniedClient) -> None:
        self.decide(ALLOW, self.propose(ALLOW, client, AllowTerms(since=self.since(client))))

    def since(self, client: DeniedClient) -> str:
        with self.parts.store.reading() as ledger:
            (denial,) = (each for each in ledger.client_denials() if each.client == client)
        return denial.since.isoformat(timespec="microseconds")


@pytest.fixture
def office(parts: CAParts) -> Office:
    return Office(parts)


@contextmanager
def refused(finding: str) -> Iterator[None]:
    with pytest.raises(Refused) as refusal:
        yield
    assert refusal.value.finding == finding


@pytest.mark.parametrize("kind", [ClientKind.KEY, ClientKind.RIG], ids=lambda kind: kind.value)
def test_a_rig_that_was_just_served_is_refused_from_its_denial_to_its_allowance(
    parts: CAParts, office: Office, kind: ClientKind
) -> None:
    parts.born(parts.board())
    name = key_digest(parts.rigs["rig-a"]) if kind is ClientKind.KEY else "rig-a"
    client = office.deny(kind, name)
    with refused("ca.1.rig"):
        parts.nonce("BM-000002")
    parts.born(parts.board("BM-000003"), "rig-b")
    parts.clock.forward(seconds=1)
    office.allow(client)
    parts.born(parts.board("BM-000002"))
    acts = [(row["who"], row["act"], row["detail"]) for row in parts.administration.audit() if "client." in row["act"]]
    said = f"{client}: lost on the train"
    assert acts == [("approver:Anton Approver", "client.deny", said), ("approver:Anton Approver", "client.allow", said)]


def test_a_denied_person_is_nobody_in_every_role_and_spelling_and_with_every_key(
    parts: CAParts, office: Office
) -> None:
    office.deny(ClientKind.PERSON, "carla  CLEVER")
    for role in (Role.SECURITY_OFFICER, Role.FOLLOWER):
        carla = Person(
            key := new_key(), make_officer(parts.operations, "Carla Clever", role, key.public_key(), parts.clock())
        )
        with refused("ca.1.officer"):
            carla.officer(office.trust, parts.clock())
    office.anton.officer(office.trust, parts.clock())


def test_what_a_denied_person_has_proposed_is_not_approved_and_their_orders_issue_nothing(
    parts: CAParts, office: Office
) -> None:
    parts.born(parts.board())
    token = office.propose(DENY, "rig:rig-b", DenyTerms())
    with parts.store.writing() as ledger:
        ledger.deny_client(
            ClientDenial(client=DeniedClient(ClientKind.PERSON, "Olga Officer"), reason="gone", since=parts.clock())
        )
    office.board.read()
    with refused("ca.1.officer"):
        office.decide(DENY, token)
    with refused("ca.8.warrant"):
        parts.born(parts.board("BM-000002"))


def test_a_denial_says_who_it_is_about_and_is_not_made_twice_nor_lifted_unseen(office: Office) -> None:
    with refused("ca.client.malformed"):
        office.propose(DENY, "rig-a", DenyTerms())
    with refused("ca.client.unknown"):
        office.propose(ALLOW, "rig:rig-b", AllowTerms(since="2026-01-01T00:00:00.000000+00:00"))
    client = office.deny(ClientKind.RIG, "rig-b")
    with refused("ca.client.denied"):
        office.propose(DENY, client, DenyTerms())
    with refused("ca.client.stale"):
        office.propose(ALLOW, client, AllowTerms(since="2026-01-01T00:00:00.000000+00:00"))


def test_a_device_is_denied_by_its_key_alone(parts: CAParts) -> None:
    certificate = parts.confirmed(parts.board())
    assert clients_of(certificate) == (DeniedClient(ClientKind.KEY, key_digest(certificate)),)


def test_nobody_comes_in_on_notices_that_are_too_old(parts: CAParts) -> None:
    def too_old() -> None:
        raise StoreError("not read", finding="store.unread")

    with pytest.raises(StoreError):
        doorkeeper(too_old)(parts.rigs["rig-a"])  # type: ignore[arg-type] # it never returns


# --- by command, in every worker -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("plant"))
    hire_office(files, Role.SECURITY_OFFICER, Role.APPROVER, Role.AUDITOR)
    with files.config.open("a") as config:
        config.write(FRONT)
    with running_ca(files) as running:
        yield running


def command(ca: RunningCA, role: Role, *asked: str | Path) -> str:
    done = birthmark("ca", *asked, *office_options(ca, role))
    assert done.returncode == 0, done.stderr
    return done.stdout


def approved(ca: RunningCA, *asked: str | Path) -> None:
    proposal = command(ca, Role.SECURITY_OFFICER, *asked, "--reason", "lost").partition(" ")[0]
    command(ca, Role.APPROVER, "proposal", "approve", proposal, "--yes", "--reason", "seen")


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_every_worker_turns_a_denied_rig_away_and_takes_it_back(plant: RunningCA) -> None:
    def answers() -> set[tuple[int, str]]:
        return {asked(plant, "rig-a") for _ in range(20)}

    assert answers() == {(200, "")}
    approved(plant, "client", "deny", "--of", plant.files.folder / "rig-a.pem")
    eventually(lambda: answers() == {(403, "ca.1.officer")})
    (_, denied) = command(plant, Role.AUDITOR, "client", "list").splitlines()
    client, since, *_ = denied.split()
    assert client == f"key:{key_digest(certificate(plant.files.folder, 'rig-a'))}"
    approved(plant, "client", "allow", client, "--since", since)
    eventually(lambda: answers() == {(200, "")})
    with open_ca(plant.files.config) as authority:
        acts = [row["act"] for row in authority.audit()]
        assert list(authority.check()) == []
    assert (acts.count("client.deny"), acts.count("client.allow")) == (1, 1)
