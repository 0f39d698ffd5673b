# SPDX-License-Identifier: Apache-2.0
"""
Who may do what, for every call in the table and every role; and what no call, role, method or body can do: make the
issuing key sign a key that no chip has attested. Both are made from the table: a new call is tried without being named.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.admin.calls import AdminRoute
from birthmark.ca.admin.routes import ROUTES
from birthmark.ca.config import CAConfig, load_config
from birthmark.ca.people.roles import PEOPLE
from birthmark.ca.wiring import configured_store, open_ca
from birthmark.cli.main import birthmark as program
from birthmark.core.audit import AuditRow, decode_row
from birthmark.core.errors import ConfigError
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.core.roles import Role
from birthmark.est.messages import Operation
from birthmark.net.transport import Response
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.forge import new_key
from support.ca_process import ORDER, CAFiles, RunningCA, running_ca
from support.offices import hire_all, identity_of

JSON = {"Content-Type": "application/json"}
UNIT = "BM-000077"
ROLES = tuple(Role)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    hire_all(files)
    with running_ca(files) as running:
        yield running


def call(ca: RunningCA, who: str | None, row: AdminRoute, body: bytes = b"") -> Response:
    path = re.sub(r"\{\w+\}", "none", row.path)
    query = "?reason=test" if row.query is not None and "reason" in row.query.__struct_fields__ else ""
    return ca.transport(who).request(row.method, path + query, JSON if body else {}, body)


def entries(ca: RunningCA) -> list[AuditRow]:
    with configured_store(load_config(ca.files.config), ca.files.folder) as store, store.reading() as ledger:
        return [decode_row(entry) for entry in ledger.entries(0, 100_000)]


def finding(answer: Response) -> str:
    return str(msgspec.json.decode(answer.body)["finding"])


RIGS_OWN = {"/v1/rigs/renewal", "/v1/rigs/units/{unit}", "/v1/rigs/units/{unit}/attempts"}
"""A rig's own certificate, and the units that it has in work."""


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.value)
@pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.method} {row.path}")
def test_a_call_is_for_its_roles_and_refused_to_all_others_in_the_log(
    ca: RunningCA, row: AdminRoute, role: Role
) -> None:
    before = len(entries(ca))
    answer = call(ca, identity_of(role), row, b"{}" if row.request else b"")
    if role in row.roles:
        # The rigs of this CA keep their units elsewhere, and no order that names one is called as this call says.
        assert answer.status in (200, 400, 404) or finding(answer) in {"ca.work.off", "ca.work.order"}
        return
    assert (answer.status, finding(answer)) == (403, "ca.1.role")
    written = [each for each in entries(ca)[before:] if each.finding == "ca.1.role"]
    assert [(each.act, each.who) for each in written] == [(row.name, holder(role))]


def holder(role: Role) -> str:
    return "machine:rig-a" if role is Role.MACHINE else f"{role.value}:{role.value.title()} Smith"


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.method} {row.path}")
def test_nobody_without_a_certificate_is_answered(ca: RunningCA, row: AdminRoute) -> None:
    answer = call(ca, None, row)
    assert (answer.status, finding(answer)) == (403, "ca.1.officer")


def test_every_role_has_something_to_do_and_none_has_everything() -> None:
    for role in PEOPLE | {Role.MACHINE}:
        assert 0 < sum(role in row.roles for row in ROUTES) < len(ROUTES)


def test_a_follower_has_nothing_to_do_with_the_administration() -> None:
    assert [row.path for row in ROUTES if Role.FOLLOWER in row.roles] == []


def test_what_changes_something_is_never_for_auditors_and_for_machines_only_where_it_is_their_own() -> None:
    changing = [row for row in ROUTES if row.method != "GET"]
    assert [row.path for row in changing if row.roles & {Role.AUDITOR, Role.FOLLOWER}] == []
    assert {row.path for row in changing if Role.MACHINE in row.roles} == RIGS_OWN


# --- nothing signs an unattested key -------------------------------------------------------------------------------


def bare_csr() -> bytes:
    """A good request for a key in software, without evidence: well formed, signed, and attested by nobody."""
    return build_csr(new_key(), request_subject(UNIT), None)


def borrowed_csr(ca: RunningCA) -> bytes:
    """A request for a key in software with the evidence of a chip, for a nonce of ours, about another key."""
    nonce = ca.est("rig-a").nonce(PKIX_EVIDENCE, UNIT).nonce
    board = ca.files.board(UNIT)
    bundle = board.chip.bundle(board.chip.attest(board.key.public_key(), nonce))
    return build_csr(new_key(), request_subject(UNIT), bundle)


def certificates(ca: RunningCA) -> int:
    with open_ca(ca.files.config) as authority:
        return sum(bool(row["certificate_sha256"]) for row in authority.certificates())


EVERYBODY: list[str | None] = [None, *(identity_of(role) for role in Role), "rig-b"]


def bodies(ca: RunningCA) -> list[tuple[dict[str, str], bytes]]:
    """The request in every wrapping that a body of ours can have."""
    found: list[tuple[dict[str, str], bytes]] = []
    for csr in (bare_csr(), borrowed_csr(ca)):
        text = base64.b64encode(csr).decode()
        found.append(({"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}, text.encode()))
        found.append(({"Content-Type": "application/pkcs10"}, csr))
        said = ({"csr": text}, {"document": text}, {"reason": text[:400]}, {"document": f"{text[:9]}.a.b"})
        found += [(JSON, msgspec.json.encode(members)) for members in said]
    return found


def paths() -> list[str]:
    """Every path that is served: the administration's, EST's, and the CA's own."""
    administration = [re.sub(r"\{\w+\}", ORDER, row.path) for row in ROUTES]
    est = [f"/.well-known/est/{label}{operation.value}" for label in ("", f"{ORDER}/") for operation in Operation]
    return sorted({*administration, *est, "/v1/births", "/v1/certificates/00", "/v1/crl", "/v1/health"})


@pytest.mark.parametrize("path", paths())
def test_no_call_in_any_role_makes_a_certificate_for_an_unattested_key(ca: RunningCA, path: str) -> None:
    before = certificates(ca)
    sent = bodies(ca)
    for who in EVERYBODY:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            for headers, body in sent if method == "POST" else sent[:1]:
                answer = ca.transport(who).request(method, path, headers, body)
                assert b"BEGIN CERTIFICATE" not in answer.body
                assert answer.status < 500 or answer.status in (501, 503)
    assert certificates(ca) == before


def test_the_same_line_with_an_attested_key_gets_one(ca: RunningCA) -> None:
    """Otherwise the test above would prove nothing."""
    before, board = certificates(ca), ca.files.board("BM-000078")
    nonce = ca.est("rig-a").nonce(PKIX_EVIDENCE, board.unit).nonce
    certificate = ca.est("rig-a").simpleenroll(board.csr(nonce))
    assert certificate.public_bytes(Encoding.DER)
    assert certificates(ca) == before + 1


_SIGNING = re.compile(r"issu|sign|enrol|csr|force|unsafe|skip|insecure|allow|no-?verify|bypass|override", re.IGNORECASE)
_HARMLESS = {
    # What these words mean there is no signature of the issuing key under a device's certificate.
    "issuing_certificate": "the CA's own certificate",
    "issuing_key": "where the key is",
    "issuer": "more issuing CAs, each a certificate and where its key is",
}


def test_no_key_of_the_configuration_weakens_what_is_demanded(tmp_path: Path) -> None:
    """Each key is of a kind that names files, places and times; none says what may go unproven."""
    files = CAFiles(tmp_path)
    named = {field for field in CAConfig.__struct_fields__ if _SIGNING.search(field)}
    assert named == set(_HARMLESS)
    text = files.config.read_text()
    for wish in ("allow_unattested = true", "unsafe_skip_evidence = true", "evidence = false", "attestation = 'none'"):
        files.config.write_text(f"{wish}\n{text}")
        with pytest.raises(ConfigError):
            load_config(files.config)


def commands(command: click.Command, name: str = "birthmark") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for child, each in command.commands.items():
            yield from commands(each, f"{name} {child}")


_OTHER_KEYS = ("birthmark ca ceremony", "birthmark ca credential")
"""What signs with the roots' keys, and with the operations CA's: test_credentials tries it with the issuing key."""


def test_no_command_of_the_ca_takes_a_request_for_a_certificate() -> None:
    """The administrator's commands cannot sign: none takes a CSR or a public key, and none has a flag that forces."""
    found = [
        f"{name} {option}"
        for name, command in commands(program)
        if name.startswith("birthmark ca ") and not name.startswith(_OTHER_KEYS)
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if re.search(r"csr|public|spki|force|unsafe|skip|insecure|bypass", option, re.IGNORECASE)
    ]
    assert found == []
