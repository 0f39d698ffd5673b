# SPDX-License-Identifier: Apache-2.0
"""
The operations CA issues: to people, rigs, followers and servers, by policy, from a request that their key has signed.

Guaranteed where the CA's ledger is at hand: whoever is denied there gets no certificate, and a certificate is handed
out only after its entry is in the log. The operations CA never makes a private key of somebody else's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.life.lifecycle import ADMINISTRATOR
from birthmark.ca.operations.errors import CredentialRefused
from birthmark.ca.operations.file import Holder, OperationsFile
from birthmark.ca.operations.requests import (
    Wanted,
    demand_days,
    demand_new_key,
    demand_policy,
    demand_renewable,
    demand_request,
    demand_wanted,
)
from birthmark.ca.people.denials import clients_of, denied_among
from birthmark.ca.ports import CAStore
from birthmark.core.audit import AuditRow
from birthmark.core.clock import Clock
from birthmark.core.ids import fingerprint
from birthmark.core.roles import Role
from birthmark.pki import authorities
from birthmark.pki.algorithms import VerifyingKey
from birthmark.pki.authorities import Authority
from birthmark.pki.paths import key_digest

ISSUE, RENEW = "credential.issue", "credential.renew"
_Maker = Callable[[Authority, Wanted, VerifyingKey, datetime, int], x509.Certificate]


@dataclass(frozen=True, slots=True)
class Credential:
    """What was issued, and its log entry. `orders` are those that name a rig: what it may enrol under."""

    certificate: x509.Certificate
    row: AuditRow
    orders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CredentialDesk:
    """The operations CA with its policies; without a store, nothing is held against a ledger or written into one."""

    file: OperationsFile
    authority: Authority
    store: CAStore | None
    clock: Clock

    def issue(self, wanted: Wanted, request: bytes, policy: str, days: int | None) -> Credential:
        """
        Issue to whom we say, for the key of the request.

        Raises:
            CredentialRefused, DecodeError (csr.*): nothing was issued. KeyStoreError, StoreError.

        """
        at = self.clock()
        demand_wanted(wanted)
        return self._issued(wanted, demand_request(request, wanted), (ISSUE, policy, days), at)

    def renew(self, old: x509.Certificate, request: bytes, policy: str, days: int | None) -> Credential:
        """Issue to the holder of a certificate of ours, for another key. Raises as `issue`."""
        at = self.clock()
        wanted = demand_renewable(old, self.authority.certificate, at)
        key = demand_request(request, wanted)
        demand_new_key(key, old)
        self._demand_welcome(old)
        return self._issued(wanted, key, (RENEW, policy, days), at)

    def _issued(self, wanted: Wanted, key: VerifyingKey, how: tuple[str, str, int | None], at: datetime) -> Credential:
        act, policy, days = how
        chosen = demand_policy(self.file, policy, wanted)
        lives = demand_days(chosen, days, self.authority.certificate, at)
        made = _MAKERS[wanted.holder](self.authority, wanted, key, at.replace(microsecond=0), lives)
        self._demand_welcome(made)
        row = AuditRow(
            at=at,
            who=ADMINISTRATOR.holder,
            act=act,
            about=fingerprint(made.public_bytes(Encoding.DER)),
            detail=_detail(wanted, policy, made),
        )
        return Credential(made, row, self._recorded(row, wanted))

    def _demand_welcome(self, certificate: x509.Certificate) -> None:
        if self.store is None:
            return
        with self.store.reading() as ledger:
            denied = frozenset(each.client for each in ledger.client_denials())
        found = denied_among(clients_of(certificate), denied)
        if found is not None:
            hint = "birthmark ca client allow, by two persons"
            raise CredentialRefused(f"{found} is denied", hint=hint, finding="ca.credential.denied")

    def _recorded(self, row: AuditRow, wanted: Wanted) -> tuple[str, ...]:
        if self.store is None:
            return ()
        with self.store.writing() as ledger:
            ledger.append([row])
            orders = ledger.orders() if wanted.holder is Holder.RIG else ()
        return tuple(each.id for each in orders if wanted.name in each.rigs and each.closed_at is None)


def _detail(wanted: Wanted, policy: str, made: x509.Certificate) -> str:
    until = made.not_valid_after_utc.isoformat(timespec="seconds")
    return f"{wanted} by policy {policy} until {until}, key:{key_digest(made)}"


def _person(issuer: Authority, wanted: Wanted, key: VerifyingKey, at: datetime, days: int) -> x509.Certificate:
    return authorities.make_officer(issuer, wanted.name, Role(wanted.holder.value), key, at, days)


def _rig(issuer: Authority, wanted: Wanted, key: VerifyingKey, at: datetime, days: int) -> x509.Certificate:
    return authorities.make_rig(issuer, wanted.name, key, at, days)


def _server(issuer: Authority, wanted: Wanted, key: VerifyingKey, at: datetime, days: int) -> x509.Certificate:
    return authorities.make_tls_server(issuer, key, at, wanted.names, days)


_MAKERS: Final[Mapping[Holder, _Maker]] = MappingProxyType(
    {
        **dict.fromkeys(
            (Holder.SECURITY_OFFICER, Holder.APPROVER, Holder.AUDITOR, Holder.LINE_LEAD, Holder.FOLLOWER), _person
        ),
        Holder.RIG: _rig,
        Holder.SERVER: _server,
    }
)
