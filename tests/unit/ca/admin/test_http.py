# SPDX-License-Identifier: Apache-2.0
"""The administration's edge, from a running CA: roles, strict bodies, and refusals that are in the log."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from birthmark.ca.admin.credentials import opened
from birthmark.ca.admin.office import Office
from birthmark.ca.admin.routes import ROUTES, AdminRoute
from birthmark.ca.admin.types import Refusal
from birthmark.ca.errors import Refused
from birthmark.ca.orders.acts import CREATE
from birthmark.ca.wiring import open_ca
from birthmark.core.clock import system_clock
from birthmark.core.errors import BirthmarkError, ConfigError, DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.roles import Role
from birthmark.net.transport import Response
from birthmark.pki.keys.software import save_encrypted
from birthmark.testing.orders import hired, terms_of
from support.ca_parts import AUTHORITY, order
from support.ca_process import PASSPHRASE, CAFiles, RunningCA, running_ca
from support.offices import identity_of
from support.tls_files import pem

PEOPLE = {role: f"{role.value} of this test" for role in Role if role is not Role.MACHINE}
JSON = {"content-type": "application/json"}
TWIN = f"{AUTHORITY}-staging"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    for role, name in PEOPLE.items():
        person = hired(files.operations, name, role, files.now)
        files.identity(role.value, person.key, *person.chain)
        save_encrypted(files.folder / f"{role.value}.p8", person.key, PASSPHRASE)
    with running_ca(files) as running:
        yield running


def call(ca: RunningCA, client: str | None, route: AdminRoute, body: bytes = b"") -> Response:
    path = re.sub(r"\{\w+\}", "1", route.path)
    return ca.transport(client).request(route.method, path, JSON if route.request else {}, body)


@contextmanager
def office(ca: RunningCA, role: Role, expected: str | None = None) -> Iterator[Office]:
    folder = ca.files.folder
    with opened(folder / f"{role.value}.pem", str(folder / f"{role.value}.p8"), folder / "passphrase", no_one) as lent:
        trust = pem(ca.files.forge.root.certificate, ca.files.operations.certificate)
        connected = Office(ca.url, trust, lent, system_clock, expected)
        yield connected
        connected.close()


def refusal(answer: Response) -> tuple[int, str]:
    return answer.status, msgspec.json.decode(answer.body, type=Refusal).finding


def rows(ca: RunningCA) -> list[dict[str, str]]:
    with open_ca(ca.files.config) as administration:
        return list(administration.audit())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("role", list(Role))
def test_who_has_not_the_role_is_refused_and_stands_in_the_log(ca: RunningCA, route: AdminRoute, role: Role) -> None:
    before = len(rows(ca))
    answer = call(ca, identity_of(role), route)
    if role in route.roles:
        assert answer.status == 200 or refusal(answer)[1] != "ca.1.role"
        return
    assert refusal(answer) == (403, "ca.1.role")
    (row,) = rows(ca)[before:]
    assert (row["finding"], row["act"]) == ("ca.1.role", route.name)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_nobody_is_refused_and_fills_no_log(ca: RunningCA, route: AdminRoute) -> None:
    before = len(rows(ca))
    assert refusal(call(ca, None, route)) == (403, "ca.1.officer")
    assert len(rows(ca)) == before


@pytest.mark.parametrize("route", [route for route in ROUTES if route.request], ids=lambda route: route.name)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"document":1,"reason":1}', b'{"more":1}', b"\xff", b"[" * 9_999]
)
def test_a_body_that_is_none_is_refused(ca: RunningCA, route: AdminRoute, body: bytes) -> None:
    assert refusal(call(ca, somebody(route), route, body)) == (400, "ca.admin.body")


def somebody(route: AdminRoute) -> str:
    """Return the name of the files of one who may make the call."""
    return identity_of(min(route.roles, key=lambda role: (role is Role.MACHINE, role.value)))


BODIES = {"document": ("a.b.c", "d.e.f"), "reason": ("lost", "found"), "request": ("a", "b")}
ONE_MEMBER = [route for route in ROUTES if route.request and len(route.request.__struct_fields__) == 1]


@pytest.mark.parametrize("form", ["other", "same", "escaped"])
@pytest.mark.parametrize("route", ONE_MEMBER, ids=lambda route: route.name)
def test_a_body_that_says_one_thing_twice_is_refused(ca: RunningCA, route: AdminRoute, form: str) -> None:
    assert route.request is not None
    (name,) = route.request.__struct_fields__
    value, other = BODIES[name]
    again = {
        "other": f'"{name}":"{other}"',
        "same": f'"{name}":"{value}"',
        "escaped": f'"\\u{ord(name[0]):04x}{name[1:]}":"x"',
    }
    who = somebody(route)
    assert refusal(call(ca, who, route, f'{{{again[form]},"{name}":"{value}"}}'.encode())) == (400, "ca.admin.body")
    once = call(ca, who, route, f'{{"{name}":"{value}"}}'.encode())
    assert once.status == 200 or refusal(once)[1] != "ca.admin.body"


def test_a_body_of_another_kind_is_refused(ca: RunningCA) -> None:
    answer = ca.transport("approver").request("POST", "/v1/proposals", {"content-type": "text/plain"}, b"{}")
    assert refusal(answer) == (415, "ca.admin.media-type")


def test_a_body_where_none_belongs_is_refused(ca: RunningCA) -> None:
    answer = ca.transport("approver").request("GET", "/v1/orders", {}, b"{}")
    assert refusal(answer) == (400, "ca.admin.body")


def test_a_body_that_is_too_large_is_refused(ca: RunningCA) -> None:
    answer = ca.transport("approver").request("POST", "/v1/proposals", JSON, b" " * 70_000)
    assert refusal(answer) == (413, "net.body-too-large")


@pytest.mark.parametrize(
    ("path", "finding"), [("orders/order-9", "ca.8.unknown"), ("proposals/1", "ca.approval.unknown")]
)
def test_what_is_not_there_is_not_found(ca: RunningCA, path: str, finding: str) -> None:
    assert refusal(ca.transport("auditor").request("GET", f"/v1/{path}")) == (404, finding)


def test_an_order_goes_its_way_over_the_wire(ca: RunningCA) -> None:
    with office(ca, Role.SECURITY_OFFICER) as officer, office(ca, Role.APPROVER) as approver:
        proposal = officer.propose_act(CREATE, "order-7", terms_of(order("order-7")), "batch 7")
        assert (proposal.state, officer.order("order-7").order.state) == ("open", "proposed")
        assert approver.read(approver.proposal(proposal.id)).reason == "batch 7"
        assert approver.approve(approver.proposal(proposal.id), "as planned").state == "approved"
        assert officer.order("order-7").order.state == "open"
        assert proposal.id in [each.id for each in approver.proposals().proposals]


@pytest.mark.parametrize("member", ["id", "act", "subject", "document", "certificate", "proposed_by"])
def test_an_approver_does_not_sign_what_the_ca_says_but_what_was_signed(ca: RunningCA, member: str) -> None:
    with office(ca, Role.SECURITY_OFFICER) as officer, office(ca, Role.APPROVER) as approver:
        order_id = f"order-8-{member}".replace("_", "-")
        proposal = officer.propose_act(CREATE, order_id, terms_of(order(order_id)), "batch 8")
        other = officer.propose_act(CREATE, f"{order_id}b", terms_of(order(f"{order_id}b")), "batch 9")
        rig = ca.files.folder.joinpath("rig-a.pem").read_text()
        lie = {"certificate": rig, "act": "order.close", "proposed_by": "security-officer:Somebody Else"}
        said = msgspec.structs.replace(proposal, **{member: lie.get(member) or getattr(other, member)})
        with pytest.raises(BirthmarkError):
            approver.approve(said, "it says so")
        assert approver.proposal(proposal.id).state == "open"


def test_the_ca_says_its_name_to_people(ca: RunningCA) -> None:
    for role in (Role.AUDITOR, Role.APPROVER, Role.LINE_LEAD):
        answer = ca.transport(role.value).request("GET", "/v1/authority")
        assert (answer.status, msgspec.json.decode(answer.body)) == (200, {"authority": AUTHORITY})


def test_what_was_signed_for_a_twin_is_refused_over_the_wire_and_stands_in_the_log(ca: RunningCA) -> None:
    before = len(rows(ca))
    with office(ca, Role.SECURITY_OFFICER) as officer:
        token = officer._credential.sign_proposal(TWIN, CREATE, "order-twin", terms_of(order("order-twin")), "batch 7")
        with pytest.raises(Refused) as refused:
            officer.propose(token)
    assert (refused.value.status, refused.value.finding) == (409, "ca.approval.authority")
    assert ("propose", "ca.approval.authority") in [(row["act"], row["finding"]) for row in rows(ca)[before:]]


def test_whoever_expects_another_ca_signs_nothing(ca: RunningCA) -> None:
    before = len(rows(ca))
    with office(ca, Role.SECURITY_OFFICER, TWIN) as officer, pytest.raises(DecodeError) as refused:
        officer.propose_act(CREATE, "order-twin", terms_of(order("order-twin")), "batch 7")
    assert refused.value.finding == "proposal.authority"
    assert len(rows(ca)) == before


def test_an_approver_signs_nothing_about_a_proposal_to_a_twin_that_the_ca_shows(ca: RunningCA) -> None:
    with office(ca, Role.SECURITY_OFFICER) as officer, office(ca, Role.APPROVER) as approver:
        proposal = officer.propose_act(CREATE, "order-lie", terms_of(order("order-lie")), "batch 8")
        token = officer._credential.sign_proposal(TWIN, CREATE, "order-lie", terms_of(order("order-lie")), "batch 8")
        said = msgspec.structs.replace(proposal, document=token, id=fingerprint(token.encode()))
        with pytest.raises(DecodeError) as refused:
            approver.approve(said, "it says so")
    assert refused.value.finding == "proposal.authority"


def test_a_key_of_another_certificate_is_no_credential(ca: RunningCA) -> None:
    folder = ca.files.folder
    with (
        pytest.raises(ConfigError, match="another certificate"),
        opened(folder / "auditor.pem", str(folder / "approver.p8"), folder / "passphrase", no_one),
    ):
        pass


def test_the_passphrase_is_asked_for_where_no_file_has_it(ca: RunningCA) -> None:
    folder, asked = ca.files.folder, list[str]()

    def ask(what: str) -> bytes:
        asked.append(what)
        return PASSPHRASE

    with opened(folder / "auditor.pem", str(folder / "auditor.p8"), None, ask) as lent:
        assert lent.certificate.subject.rfc4514_string().startswith("CN=auditor")
    assert asked == [f"passphrase of {folder / 'auditor.p8'}"]
    assert "key" not in repr(lent)


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:",
        "pkcs11:token=a",
        "pkcs11:token=a;object=b",
        "pkcs11:token=a;object=b;slot-id=1?module-path=/x",
        "pkcs11:token=a;token=b;object=c?module-path=/x",
    ],
)
def test_a_uri_that_names_no_key_is_refused(ca: RunningCA, uri: str) -> None:
    with (
        pytest.raises(ConfigError, match="not the name of a key"),
        opened(ca.files.folder / "auditor.pem", uri, None, no_one),
    ):
        pass


def no_one(_: str) -> bytes:
    raise DecodeError("nobody is there")
