# SPDX-License-Identifier: Apache-2.0
"""The people of a lab: one per role, each with a key of their own. They open its orders as people do: two for each."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.admin.credentials import Credential, opened
from birthmark.ca.admin.office import Office
from birthmark.ca.orders.acts import CREATE
from birthmark.ca.orders.documents import read_order
from birthmark.core.clock import system_clock
from birthmark.core.roles import Role
from birthmark.pki.authorities import make_officer
from birthmark.pki.keys import software
from birthmark.testing.lab.ceremony import offline_authority, write_secret
from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.files import LOG_ORIGIN

PEOPLE: Final = MappingProxyType(
    {
        Role.SECURITY_OFFICER: "Olga Officer",
        Role.APPROVER: "Anton Approver",
        Role.AUDITOR: "Aida Auditor",
        Role.LINE_LEAD: "Lena Lead",
    }
)
PASSPHRASE_FILE: Final = "officers.passphrase"  # noqa: S105 the name of a file


def hire_officers(home: Path, at: datetime) -> None:
    """Make everyone's key and certificate in `pki/`, the keys encrypted under the lab's one passphrase for people."""
    operations = offline_authority(home, "operations")
    passphrase = secrets.token_urlsafe(24).encode()
    write_secret(home / "pki" / PASSPHRASE_FILE, passphrase)
    for role, name in PEOPLE.items():
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = make_officer(operations, name, role, key.public_key(), at)
        pem = b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, operations.certificate))
        certificate_of(home, role).write_bytes(pem)
        software.save_encrypted(key_of(home, role), key, passphrase)


def certificate_of(home: Path, role: Role) -> Path:
    """Return where the certificate of the person with this role is."""
    return home / "pki" / f"{role.value}.pem"


def key_of(home: Path, role: Role) -> Path:
    """Return where the person's encrypted key is."""
    return home / "pki" / f"{role.value}.key"


@contextmanager
def credential_of(home: Path, role: Role) -> Iterator[Credential]:
    """Lend the credential of the person with this role."""
    passphrase_file = home / "pki" / PASSPHRASE_FILE
    with opened(certificate_of(home, role), str(key_of(home, role)), passphrase_file, _nobody) as lent:
        yield lent


@contextmanager
def office_of(home: Path, role: Role, ca_url: str) -> Iterator[Office]:
    """Connect the person with this role with the lab's CA."""
    with credential_of(home, role) as lent:
        office = Office(ca_url, (home / "pki/trust.pem").read_bytes(), lent, system_clock, LOG_ORIGIN)
        try:
            yield office
        finally:
            office.close()


def open_orders(home: Path, ca_url: str, orders: Sequence[Path]) -> None:
    """Have each order proposed by the security officer and approved by the approver, over the wire."""
    with (
        office_of(home, Role.SECURITY_OFFICER, ca_url) as officer,
        office_of(home, Role.APPROVER, ca_url) as approver,
    ):
        for path in orders:
            order_id, terms = read_order(path)
            proposal = officer.propose_act(CREATE, order_id, terms, "the lab's own order")
            approver.approve(proposal, "the lab approves of itself")


def _nobody(what: str) -> bytes:
    raise LabError(f"nobody is there to ask for the {what}")
