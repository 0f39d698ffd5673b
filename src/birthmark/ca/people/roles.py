# SPDX-License-Identifier: Apache-2.0
"""
Who a client of the administration is: a person with a role, or a machine. The only place where that is decided. Pure.

A person's certificate stands under the operations CA, has id-kp-officer among its extended key usages, a name (CN) and
exactly one role (OU). A follower's certificate looks the same, but no call that is for people is for it. A rig's
certificate (id-kp-cmcRA) has no OU: it is a machine, whatever it is called.
"""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.ca.demands import FORBIDDEN, Client, demand_rig, trusted
from birthmark.ca.errors import Refused
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_KP_CMC_RA, ID_KP_OFFICER
from birthmark.core.roles import Role
from birthmark.pki import names
from birthmark.pki.paths import Purpose, TrustAnchors

PEOPLE = frozenset(Role) - {Role.MACHINE, Role.FOLLOWER}
_INVISIBLE = frozenset({"Cc", "Cf"})
"""Unicode's general categories of control and format characters."""


@dataclass(frozen=True, slots=True)
class Officer:
    """Somebody, or a follower, whose certificate says name and role."""

    name: str
    role: Role
    certificate: x509.Certificate

    @property
    def holder(self) -> str:
        """The name that proposals and the log carry: role and name."""
        return f"{self.role.value}:{self.name}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in lower-case hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def demand_role(client: Client | None, wanted: Collection[Role], trust: TrustAnchors, at: datetime) -> Officer:
    """Return who the TLS client is, when it has one of these roles. Refused: ca.1.officer, ca.1.role."""
    officer = demand_officer(client, trust, at)
    demand_one_of(officer, wanted)
    return officer


def demand_one_of(officer: Officer, wanted: Collection[Role]) -> None:
    """Pass who has one of these roles. Refused: ca.1.role."""
    if officer.role not in wanted:
        allowed = ", ".join(sorted(role.value for role in wanted))
        raise Refused(FORBIDDEN, "ca.1.role", f"{officer.holder} may not do this: it is for {allowed}")


def demand_officer(client: Client | None, trust: TrustAnchors, at: datetime) -> Officer:
    """Return who the TLS client is. Refused: ca.1.officer."""
    claimed = () if client is None else _purposes(client.leaf)
    purpose = Purpose.OFFICER if ID_KP_OFFICER in claimed else Purpose.CLIENT
    certificate = trusted(client, trust, at, purpose, "ca.1.officer")
    purposes = _purposes(certificate)
    if ID_KP_CMC_RA in purposes and ID_KP_OFFICER not in purposes:
        return Officer(demand_rig(client, trust, at).name, Role.MACHINE, certificate)
    if ID_KP_OFFICER not in purposes or ID_KP_CMC_RA in purposes:
        raise Refused(FORBIDDEN, "ca.1.officer", "the TLS client's certificate is no officer's")
    return officer_of(certificate)


def officer_of(certificate: x509.Certificate) -> Officer:
    """Return the person in a certificate that has been validated. Refused: ca.1.officer."""
    try:
        role, name = names.role_of(certificate.subject), names.common_name_of(certificate.subject)
    except DecodeError as error:
        raise Refused(FORBIDDEN, "ca.1.officer", f"the certificate says no name and role: {error.message}") from error
    if role is Role.MACHINE or not name.strip():
        raise Refused(FORBIDDEN, "ca.1.officer", "the certificate is no person's")
    return Officer(name, role, certificate)


def demand_another_person(approver: Officer, proposer: x509.Certificate) -> None:
    """Pass who has another name, key and certificate than the proposer. Refused: ca.approval.same-person."""
    other = officer_of(proposer)
    if (
        plain_name(approver.name) == plain_name(other.name)
        or approver.fingerprint == other.fingerprint
        or _spki(approver.certificate) == _spki(proposer)
    ):
        raise Refused(FORBIDDEN, "ca.approval.same-person", f"{other.name} proposed this: another person decides on it")


def plain_name(name: str) -> str:
    """Return a name as people read it: without case, invisible characters, composition and the number of its spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", name).casefold())
    return " ".join("".join(each for each in folded if unicodedata.category(each) not in _INVISIBLE).split())


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _purposes(certificate: x509.Certificate) -> x509.ExtendedKeyUsage | tuple[x509.ObjectIdentifier, ...]:
    try:
        return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
