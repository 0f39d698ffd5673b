# SPDX-License-Identifier: Apache-2.0
"""The operations CA certifies people, rigs and servers: by policy, from requests, with an entry in the log."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.ca import operations
from birthmark.ca.demands import Client, demand_rig
from birthmark.ca.operations.file import (
    VALIDITY_MAX_DAYS,
    FileKey,
    Holder,
    OperationsFile,
    PolicySection,
    load_operations,
)
from birthmark.ca.operations.issuing import CredentialDesk
from birthmark.ca.operations.requests import RENEWABLE_FOR, Wanted
from birthmark.ca.people.roles import demand_officer
from birthmark.ca.wiring import open_ca
from birthmark.core.clients import ClientDenial, ClientKind, DeniedClient
from birthmark.core.errors import BirthmarkError, ConfigError
from birthmark.core.ids import fingerprint
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.core.roles import Role
from birthmark.pki import authorities
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey
from birthmark.pki.authorities import Authority, make_sub_ca
from birthmark.pki.csr import build_csr
from birthmark.pki.keys.pkcs11 import Token
from birthmark.pki.keys.software import generate, save_encrypted
from birthmark.pki.paths import Purpose, key_digest, validate_path
from birthmark.testing.forge import ORGANIZATION, new_key
from support import softhsm
from support.ca_parts import CAParts
from support.ca_process import PASSPHRASE, CAFiles, running_ca
from support.labs import birthmark
from support.openssl import made_by_openssl
from support.tls_files import pem

REFERENCE = Path(__file__).parents[4] / "docs/reference/credentials.md"
SOFTWARE = 'key = { kind = "software", file = "operations.key", passphrase_files = ["part-1", "part-2"] }'
POLICIES = """
[[policy]]
name = "people"
holders = ["security-officer", "approver", "auditor", "line-lead"]
validity_days = 397

[[policy]]
name = "plant"
holders = ["rig", "follower"]
names = "rig-[a-z]|cloud"
validity_days = 90

[[policy]]
name = "servers"
holders = ["server"]
names = "localhost|127[.]0[.]0[.]1|[a-z-]+[.]example"
validity_days = 397
"""
OLGA = Wanted(Holder.SECURITY_OFFICER, ("Olga Officer",))
RIG = Wanted(Holder.RIG, ("rig-a",))


def request(key: SigningKey, **names: str) -> bytes:
    oids = {"cn": x509.NameOID.COMMON_NAME, "ou": x509.NameOID.ORGANIZATIONAL_UNIT_NAME}
    return build_csr(key, x509.Name([x509.NameAttribute(oids[name], value) for name, value in names.items()]), None)


@pytest.fixture
def desk(parts: CAParts, tmp_path: Path) -> CredentialDesk:
    path = tmp_path / "operations.toml"
    path.write_text(f'certificate = "operations.pem"\n{SOFTWARE}\n{POLICIES}')
    return CredentialDesk(load_operations(path), parts.operations, parts.store, parts.clock)


@contextmanager
def refused(finding: str) -> Iterator[None]:
    with pytest.raises(BirthmarkError) as refusal:
        yield
    assert refusal.value.finding == finding


@pytest.mark.parametrize("holder", [each for each in Holder if each not in (Holder.RIG, Holder.SERVER)])
def test_a_person_and_a_follower_are_who_the_ca_takes_them_for(
    parts: CAParts, desk: CredentialDesk, holder: Holder
) -> None:
    name, policy = ("cloud", "plant") if holder is Holder.FOLLOWER else ("Olga Officer", "people")
    made = desk.issue(Wanted(holder, (name,)), request(new_key(), cn=name), policy, None)
    officer = demand_officer(Client(made.certificate, ()), parts.policy.trust, parts.clock())
    assert (officer.name, officer.role) == (name, Role(holder.value))


def test_a_rig_is_one_and_its_orders_are_told(parts: CAParts, desk: CredentialDesk) -> None:
    made = desk.issue(RIG, request(new_key()), "plant", None)
    assert demand_rig(Client(made.certificate, ()), parts.policy.trust, parts.clock()).name == "rig-a"
    assert made.orders == ("order-1",)
    assert desk.issue(Wanted(Holder.RIG, ("rig-q",)), request(new_key()), "plant", None).orders == ()


def test_a_server_has_all_of_its_names(parts: CAParts, desk: CredentialDesk) -> None:
    wanted = Wanted(Holder.SERVER, ("ca.example", "127.0.0.1"))
    made = desk.issue(wanted, request(new_key(), cn="ca.example"), "servers", None).certificate
    validate_path(made, (), parts.policy.trust, parts.clock(), Purpose.SERVER)
    san = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in san] == ["ca.example", "127.0.0.1"]


def test_what_is_issued_stands_in_the_log_before_it_is_handed_out(parts: CAParts, desk: CredentialDesk) -> None:
    made = desk.issue(OLGA, request(new_key()), "people", 30)
    row = parts.last_audit()
    assert (row["act"], row["who"]) == ("credential.issue", "administrator")
    assert row["about"] == fingerprint(made.certificate.public_bytes(Encoding.DER))
    assert row["detail"].startswith("security-officer Olga Officer by policy people until ")
    assert row["detail"].endswith(f"key:{key_digest(made.certificate)}")
    assert list(parts.administration.check()) == []
    parts.store.close()
    with refused("store.unavailable"):
        desk.issue(OLGA, request(new_key()), "people", None)


def test_without_a_ledger_the_entry_is_what_is_returned(desk: CredentialDesk) -> None:
    made = replace(desk, store=None).issue(RIG, request(new_key()), "plant", None)
    assert (made.row.act, made.orders) == ("credential.issue", ())


@pytest.mark.parametrize(
    ("wanted", "policy", "days", "finding"),
    [
        (OLGA, "plant", None, "ca.credential.policy"),
        (OLGA, "nobody's", None, "ca.credential.policy"),
        (Wanted(Holder.RIG, ("rig-1",)), "plant", None, "ca.credential.policy"),
        (Wanted(Holder.SERVER, ("ca.example", "evil.org")), "servers", None, "ca.credential.policy"),
        (Wanted(Holder.SERVER, ("CA.example",)), "servers", None, "ca.credential.name"),
        (Wanted(Holder.SERVER, ("*.example",)), "servers", None, "ca.credential.name"),
        (Wanted(Holder.APPROVER, (" Anton",)), "people", None, "ca.credential.name"),
        (Wanted(Holder.APPROVER, ("Anton\u200bA",)), "people", None, "ca.credential.name"),
        (Wanted(Holder.APPROVER, ("x" * 65,)), "people", None, "ca.credential.name"),
        (OLGA, "people", 398, "ca.credential.validity"),
        (RIG, "plant", 91, "ca.credential.validity"),
    ],
)
def test_what_no_policy_allows_is_not_issued(
    parts: CAParts, desk: CredentialDesk, wanted: Wanted, policy: str, days: int | None, finding: str
) -> None:
    before = parts.last_audit()
    with refused(finding):
        desk.issue(wanted, request(new_key()), policy, days)
    assert parts.last_audit() == before


@pytest.mark.parametrize(
    ("made", "finding"),
    [
        (request(generate(KeyAlgorithm.P384)), "ca.credential.key"),
        (request(generate(KeyAlgorithm.ED25519)), "ca.credential.key"),
        (request(new_key(), cn="Anton Approver"), "ca.credential.subject"),
        (request(new_key(), cn="Olga Officer", ou="approver"), "ca.credential.subject"),
        (request(new_key())[:-1] + b"\x00", "csr.possession"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "csr.malformed"),
        (b"no request", "csr.malformed"),
    ],
    ids=["P-384", "Ed25519", "another's", "another role", "not signed", "no PEM", "no DER"],
)
def test_a_request_of_another_key_or_another_person_is_refused(desk: CredentialDesk, made: bytes, finding: str) -> None:
    with refused(finding):
        desk.issue(OLGA, made, "people", None)


def test_nothing_is_issued_beyond_the_life_of_the_operations_ca(parts: CAParts, desk: CredentialDesk) -> None:
    short = make_sub_ca(parts.forge.root, f"{ORGANIZATION} operations CA 2", new_key(), parts.clock(), days=60)
    late = replace(desk, authority=short)
    with refused("ca.credential.validity"):
        late.issue(OLGA, request(new_key()), "people", None)
    assert late.issue(OLGA, request(new_key()), "people", 59).certificate


@pytest.mark.parametrize("kind", list(ClientKind), ids=lambda kind: kind.value)
def test_who_is_denied_gets_no_certificate(parts: CAParts, desk: CredentialDesk, kind: ClientKind) -> None:
    key = new_key()
    names = {ClientKind.KEY: fingerprint(_spki(key)), ClientKind.RIG: "rig-a", ClientKind.PERSON: "olga OFFICER"}
    with parts.store.writing() as ledger:
        ledger.deny_client(ClientDenial(client=DeniedClient(kind, names[kind]), reason="lost", since=parts.clock()))
    wanted, policy = (RIG, "plant") if kind is ClientKind.RIG else (OLGA, "people")
    with refused("ca.credential.denied"):
        desk.issue(wanted, request(key), policy, None)


# --- renewals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "policy"),
    [(OLGA, "people"), (RIG, "plant"), (Wanted(Holder.SERVER, ("ca.example", "127.0.0.1")), "servers")],
    ids=["person", "rig", "server"],
)
def test_a_renewal_is_for_the_same_holder_and_another_key(
    parts: CAParts, desk: CredentialDesk, wanted: Wanted, policy: str
) -> None:
    key = new_key()
    old = desk.issue(wanted, request(key), policy, None).certificate
    parts.clock.forward(days=80)
    with refused("ca.credential.same-key"):
        desk.renew(old, request(key), policy, None)
    made = desk.renew(old, request(new_key()), policy, None).certificate
    assert made.subject == old.subject
    assert made.public_key() != old.public_key()
    assert made.not_valid_after_utc - old.not_valid_after_utc == timedelta(days=80)
    assert parts.last_audit()["act"] == "credential.renew"


def test_what_ended_long_ago_or_is_not_ours_or_is_denied_is_not_renewed(parts: CAParts, desk: CredentialDesk) -> None:
    old = desk.issue(RIG, request(new_key()), "plant", 1).certificate
    parts.clock.forward(days=1 + RENEWABLE_FOR.days)
    desk.renew(old, request(new_key()), "plant", None)
    with parts.store.writing() as ledger:
        lost = DeniedClient(ClientKind.KEY, key_digest(old))
        ledger.deny_client(ClientDenial(client=lost, reason="stolen", since=parts.clock()))
    with refused("ca.credential.denied"):
        desk.renew(old, request(new_key()), "plant", None)
    parts.clock.forward(seconds=1)
    for other in (old, parts.forge.issuing.certificate):
        with refused("ca.credential.old"):
            desk.renew(other, request(new_key()), "plant", None)
    signer = authorities.make_signer(parts.operations, "a signer", new_key().public_key(), parts.clock())
    with refused("ca.credential.old"):
        desk.renew(signer, request(new_key()), "plant", None)


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# --- by command ------------------------------------------------------------------------------------------------


class Site:
    """A CA's files, and the folder of whoever has the operations CA."""

    def __init__(self, folder: Path) -> None:
        self.files = CAFiles(folder)
        self.folder = folder
        for name, part in (("part-1", PASSPHRASE[:8]), ("part-2", PASSPHRASE[8:])):
            folder.joinpath(name).write_bytes(part + b"\n")
            folder.joinpath(name).chmod(0o600)
        for made_otherwise in ("server", "rig-a", "rig-b"):
            folder.joinpath(f"{made_otherwise}.key").unlink()
        self.operations(self.files.operations, SOFTWARE)
        save_encrypted(folder / "operations.key", self.files.operations.key, PASSPHRASE)

    def operations(self, authority: Authority, key: str) -> None:
        self.folder.joinpath("operations.pem").write_bytes(pem(authority.certificate))
        text = f'certificate = "operations.pem"\nledger = "ca.toml"\n{key}\n{POLICIES}'
        self.folder.joinpath("operations.toml").write_text(text)

    def command(self, *arguments: str | Path) -> str:
        done = birthmark("ca", "credential", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def key(self, file: str, name: str, *how: str | Path) -> Path:
        """Make a key by command; return the path of its request."""
        csr = self.folder / f"{file}.csr"
        self.command("keygen", self.folder / f"{file}.key", "--request", csr, "--name", name, *how)
        return csr

    def plain(self, file: str, name: str | None = None) -> Path:
        return self.key(file, name or file, "--unsafe-plain")

    def certify(self, kind: str, name: str, csr: Path, policy: str, *who: str) -> str:
        out = self.folder / f"{name}.pem"
        options = ("--operations", self.folder / "operations.toml", "--policy", policy, "-o", out)
        return self.command(kind, csr, *who, *options)


def test_a_ca_works_with_people_rigs_and_servers_that_are_made_by_commands_alone(tmp_path: Path) -> None:
    site = Site(tmp_path)
    csr = site.plain("server", "localhost")
    site.certify("server", "server", csr, "servers", "--host", "localhost", "--host", "127.0.0.1")
    told = site.certify("rig", "rig-b", site.plain("rig-b"), "plant", "--name", "rig-b")
    assert "order        order-1" in told
    aida = site.key("aida", "Aida Auditor", "--passphrase-file", tmp_path / "passphrase")
    assert b"ENCRYPTED" in (tmp_path / "aida.key").read_bytes()
    site.certify("officer", "aida", aida, "people", "--role", "auditor", "--name", "Aida Auditor")
    with running_ca(site.files) as ca:
        board, est = site.files.board("BM-000001"), ca.est("rig-b")
        est.simpleenroll(board.csr(est.nonce(PKIX_EVIDENCE, "BM-000001").nonce))
        who = ("--certificate", tmp_path / "aida.pem", "--key", tmp_path / "aida.key")
        asked = ("--url", ca.url, "--trust", tmp_path / "root.pem", "--passphrase-file", tmp_path / "passphrase")
        assert birthmark("ca", "doctor", *asked, *who).returncode == 0
    with open_ca(site.files.config) as authority:
        said = [row["detail"].partition(" by ")[0] for row in authority.audit() if row["act"] == "credential.issue"]
    assert said == ["server localhost, 127.0.0.1", "rig rig-b", "auditor Aida Auditor"]


def test_openssl_takes_what_is_issued_and_its_request_is_taken(tmp_path: Path) -> None:
    site = Site(tmp_path)
    csr = ("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "rig-c.key")
    made_by_openssl(tmp_path, *csr, "-subj", "/O=Example/CN=rig-c", "-out", "rig-c.csr")
    site.certify("rig", "rig-c", tmp_path / "rig-c.csr", "plant", "--name", "rig-c")
    verify = ("verify", "-CAfile", "root.pem", "-untrusted", "operations.pem", "-x509_strict")
    assert made_by_openssl(tmp_path, *verify, "-purpose", "sslclient", "rig-c.pem") == b"rig-c.pem: OK\n"
    said = made_by_openssl(tmp_path, "x509", "-in", "rig-c.pem", "-noout", "-ext", "extendedKeyUsage").decode()
    assert "TLS Web Client Authentication, CMC Registration Authority" in said


def test_the_key_of_the_operations_ca_may_be_in_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path)
    hsm = softhsm.make_token(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.configuration))
    (tmp_path / "pin").write_bytes(softhsm.PIN)
    (tmp_path / "pin").chmod(0o600)
    with Token.open(softhsm.MODULE, softhsm.LABEL, softhsm.PIN) as token:
        key = token.generate("operations", KeyAlgorithm.P256)
        made = make_sub_ca(site.files.forge.root, f"{ORGANIZATION} operations CA 2", key, site.files.now)
        place = f'kind = "pkcs11", module = "{softhsm.MODULE}", token = "{softhsm.LABEL}", label = "operations"'
        site.operations(made, f'key = {{ {place}, pin_file = "pin" }}')
    site.certify("follower", "cloud", site.plain("cloud"), "plant", "--name", "cloud")
    certificate = x509.load_pem_x509_certificate((tmp_path / "cloud.pem").read_bytes())
    certificate.verify_directly_issued_by(made.certificate)


def test_a_renewal_by_command_prints_its_entry(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.certify("rig", "rig-b", site.plain("rig-b"), "plant", "--name", "rig-b")
    old = ("--old", str(tmp_path / "rig-b.pem"))
    told = site.certify("renew", "next", site.plain("next", "rig-b"), "plant", *old, "--json")
    assert json.loads(told)["act"] == "credential.renew"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("operations.pem", "issuing.pem"), "the key is not the certificate's"),
        (("operations.pem", "trust.pem"), "3 certificates"),
        (("operations.pem", "server.pem"), "2 certificates"),
    ],
    ids=["another's", "several", "a chain"],
)
def test_a_certificate_that_is_not_the_operations_ca_s_is_named(
    tmp_path: Path, change: tuple[str, str], why: str
) -> None:
    site = Site(tmp_path)
    csr = site.plain("rig-b")
    tmp_path.joinpath(change[0]).write_bytes(tmp_path.joinpath(change[1]).read_bytes())
    options = ("--operations", tmp_path / "operations.toml", "--policy", "plant", "-o", tmp_path / "out.pem")
    done = birthmark("ca", "credential", "rig", csr, "--name", "rig-b", *options)
    assert (done.returncode, why in done.stderr, (tmp_path / "out.pem").exists()) == (3, True, False)


def test_the_issuing_key_of_devices_certifies_nobody_else(tmp_path: Path) -> None:
    site = Site(tmp_path)
    place = 'key = { kind = "software", file = "issuing.key", passphrase_files = ["passphrase"] }'
    site.operations(site.files.forge.issuing, place)
    csr = site.plain("rig-b")
    options = ("--operations", tmp_path / "operations.toml", "--policy", "plant", "-o", tmp_path / "out.pem")
    done = birthmark("ca", "credential", "rig", csr, "--name", "rig-b", *options)
    assert (done.returncode, "is an issuing CA of devices" in done.stderr) == (3, True)


def test_a_key_is_never_overwritten_nor_made_under_a_weak_passphrase(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.plain("rig-b")
    before = (tmp_path / "rig-b.key").read_bytes()
    again = ("ca", "credential", "keygen", tmp_path / "rig-b.key", "--request", tmp_path / "x.csr", "--name", "rig-b")
    done = birthmark(*again, "--unsafe-plain")
    assert (done.returncode, "key.exists" in done.stderr, (tmp_path / "x.csr").exists()) == (6, True, False)
    assert (tmp_path / "rig-b.key").read_bytes() == before
    assert (tmp_path / "rig-b.key").stat().st_mode & 0o777 == 0o600
    weak = tmp_path / "weak"
    weak.write_text("swordfish")
    weak.chmod(0o600)
    short = ("ca", "credential", "keygen", tmp_path / "me.key", "--request", tmp_path / "me.csr", "--name", "me")
    assert birthmark(*short, "--passphrase-file", weak).returncode == 6
    assert not (tmp_path / "me.key").exists()


@pytest.mark.parametrize(
    "text",
    [
        POLICIES.replace("validity_days = 90", f"validity_days = {VALIDITY_MAX_DAYS + 1}"),
        POLICIES.replace('name = "plant"', 'name = "people"'),
        POLICIES.replace("rig-[a-z]|cloud", "rig-["),
        POLICIES.replace('"rig", "follower"', '"device"'),
        "",
    ],
    ids=["too long", "twice", "no expression", "no holder", "none"],
)
def test_a_policy_that_makes_no_sense_is_an_error_of_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "operations.toml"
    path.write_text(f'certificate = "operations.pem"\n{SOFTWARE}\n{text}')
    with pytest.raises(ConfigError):
        load_operations(path)


# --- its reference ---------------------------------------------------------------------------------------------


def test_the_reference_names_every_finding_and_every_key() -> None:
    sources = Path(operations.__path__[0]).rglob("*.py")
    findings = {found for path in sources for found in re.findall(r'"(ca\.credential\.[a-z-]+)"', path.read_text())}
    text = REFERENCE.read_text()
    named = set(re.findall(r"`(ca\.credential\.[a-z-]+)`", text))
    assert findings - {"ca.credential.refused"} == named
    words = set(re.findall(r"`\[*([a-z_]+)\]*`", text))
    assert {*OperationsFile.__struct_fields__, *PolicySection.__struct_fields__, *FileKey.__struct_fields__} <= words
    assert f"at most {VALIDITY_MAX_DAYS}" in text
