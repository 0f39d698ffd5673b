# SPDX-License-Identifier: Apache-2.0
"""
What the operations CA demands before it certifies a key. Pure: no key, no ledger, no clock.

The words of a certificate come from whoever issues it, checked by a policy; of the request, only the key counts. Where
the request has a name or a role of its own, it must be the same: two files that were mixed up show.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from birthmark.ca.operations.errors import CredentialRefused
from birthmark.ca.operations.file import Holder, OperationsFile, PolicySection
from birthmark.core.clients import read_client
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_KP_CMC_RA, ID_KP_OFFICER
from birthmark.pki import names
from birthmark.pki.algorithms import KeyAlgorithm, VerifyingKey, key_algorithm, verifying_key
from birthmark.pki.csr import CertificateRequest, read_csr, request_der
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.paths import issued_by
from birthmark.pki.reading import UNREADABLE

RENEWABLE_FOR: Final = timedelta(days=30)
"""How long after its end a certificate still says for whom the next one is."""
_HOST: Final = re.compile(r"(?=.{1,64}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """For whom a certificate shall be. `names` has one name; of a server, its hosts."""

    holder: Holder
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """The common name."""
        return self.names[0]

    def __str__(self) -> str:
        """Return it as the log says it."""
        return f"{self.holder.value} {', '.join(self.names)}"


def demand_wanted(wanted: Wanted) -> None:
    """Pass names that certificates can carry and people can read. Refused: ca.credential.name."""
    try:
        for name in wanted.names:
            if wanted.holder is Holder.SERVER:
                _demand_host(name)
            else:
                read_client(f"person:{name}")
    except DecodeError as error:
        raise CredentialRefused(f"{wanted}: {error.message}", finding="ca.credential.name") from error


def demand_policy(file: OperationsFile, policy: str, wanted: Wanted) -> PolicySection:
    """Return the policy, when it is for such a holder of such a name. Refused: ca.credential.policy."""
    found = next((each for each in file.policy if each.name == policy), None)
    if found is None:
        known = ", ".join(each.name for each in file.policy)
        raise CredentialRefused(f"there is no policy {policy!r}", hint=known, finding="ca.credential.policy")
    if wanted.holder not in found.holders:
        raise CredentialRefused(f"policy {policy} is not for a {wanted.holder.value}", finding="ca.credential.policy")
    wrong = [name for name in wanted.names if re.fullmatch(found.names, name) is None]
    if wrong:
        told = f"policy {policy} is for names like {found.names}, not {wrong[0]!r}"
        raise CredentialRefused(told, finding="ca.credential.policy")
    return found


def demand_days(policy: PolicySection, days: int | None, issuer: x509.Certificate, at: datetime) -> int:
    """Return for how many days: as wanted, at most as the policy says. Refused: ca.credential.validity."""
    chosen = policy.validity_days if days is None else days
    if not 1 <= chosen <= policy.validity_days:
        told = f"{chosen} days; policy {policy.name} allows {policy.validity_days}"
        raise CredentialRefused(told, finding="ca.credential.validity")
    if not issuer.not_valid_before_utc <= at <= issuer.not_valid_after_utc - timedelta(days=chosen):
        told = f"the operations CA's own certificate ends on {issuer.not_valid_after_utc.date()}"
        hint = "fewer days, or a new operations CA"
        raise CredentialRefused(told, hint=hint, finding="ca.credential.validity")
    return chosen


def demand_request(request: bytes, wanted: Wanted) -> VerifyingKey:
    """
    Return the key of a request (PEM or DER) whose holder has shown to hold it.

    Raises:
        DecodeError: csr.*. CredentialRefused: ca.credential.key, ca.credential.subject.

    """
    read = read_csr(request_der(request))
    try:
        key = verifying_key(read.key)
        algorithm = key_algorithm(key)
    except AlgorithmRefused as error:
        raise CredentialRefused(error.message, finding="ca.credential.key") from error
    if algorithm is not KeyAlgorithm.P256:
        told = f"a key of type {algorithm.value}; credentials are on P-256"
        raise CredentialRefused(told, hint="make another key", finding="ca.credential.key")
    _demand_same_names(read, wanted)
    return key


def demand_renewable(old: x509.Certificate, issuer: x509.Certificate, at: datetime) -> Wanted:
    """
    Return for whom a certificate of ours was: the next one is for the same.

    Raises:
        CredentialRefused: ca.credential.old, not one of this operations CA's, or ended long ago.

    """
    if not issued_by(old, issuer):
        told = f"{old.subject.rfc4514_string()} has no certificate of this operations CA"
        raise CredentialRefused(told, finding="ca.credential.old")
    if at > old.not_valid_after_utc + RENEWABLE_FOR:
        told = f"it ended on {old.not_valid_after_utc.date()}"
        raise CredentialRefused(told, hint="issue a new one", finding="ca.credential.old")
    try:
        return _holder_of(old)
    except (DecodeError, x509.ExtensionNotFound, *UNREADABLE) as error:
        raise CredentialRefused(f"it is no credential: {error}", finding="ca.credential.old") from error


def demand_new_key(key: VerifyingKey, old: x509.Certificate) -> None:
    """Pass a key that is not the old certificate's. Refused: ca.credential.same-key."""
    if key == old.public_key():
        raise CredentialRefused("a renewal is for a new key", hint="make one", finding="ca.credential.same-key")


def _holder_of(old: x509.Certificate) -> Wanted:
    purposes = old.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if ExtendedKeyUsageOID.SERVER_AUTH in purposes:
        san = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return Wanted(Holder.SERVER, tuple(str(entry.value) for entry in san))
    name = names.common_name_of(old.subject)
    if ID_KP_CMC_RA in purposes:
        return Wanted(Holder.RIG, (name,))
    if ID_KP_OFFICER in purposes:
        return Wanted(Holder(names.role_of(old.subject).value), (name,))
    raise DecodeError("it is for nothing that is issued here")


def _demand_same_names(request: CertificateRequest, wanted: Wanted) -> None:
    said = [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    roles = [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    others = [name for name in said if name not in wanted.names]
    others += [role for role in roles if role != wanted.holder.value]
    if others:
        told = f"the request is of {others[0][:64]!r}, the certificate would be for {wanted}"
        raise CredentialRefused(told, hint="name the request that belongs to it", finding="ca.credential.subject")


def _demand_host(name: str) -> None:
    try:
        ip_address(name)
    except ValueError as error:
        if _HOST.fullmatch(name) is None:
            raise DecodeError(f"{name[:64]!r} is neither a DNS name in lower case nor an IP address") from error
