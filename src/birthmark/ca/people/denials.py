# SPDX-License-Identifier: Apache-2.0
"""
Clients that may not come any more: an act of two persons, and another one that takes it back.

A lost card or a stolen rig is denied by its key, or by its holder's name when the holder shall not come back with
another key. Whoever is denied is nobody from then on, in every worker (`ca.notices`), and what they have signed
counts no more: an order of theirs issues nothing until two others override it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
from cryptography import x509

from birthmark.ca.demands import CONFLICT, MALFORMED, UNKNOWN
from birthmark.ca.errors import Refused
from birthmark.ca.notices import Notices
from birthmark.ca.people.approvals import APPROVERS, SECURITY_OFFICERS, Act, Asked
from birthmark.ca.people.roles import plain_name
from birthmark.ca.ports import Ledger, LedgerReader
from birthmark.core.audit import AuditRow
from birthmark.core.clients import ClientDenial, ClientKind, DeniedClient, read_client
from birthmark.core.errors import DecodeError
from birthmark.core.ledger_rows import Said, denied_client_row, said, said_gone
from birthmark.core.registry import ID_KP_CMC_RA, ID_KP_OFFICER
from birthmark.pki import names
from birthmark.pki.paths import key_digest

DENY, ALLOW = "client.deny", "client.allow"
LEAVES_KEPT: Final = 1_024
_TOLD: Final = {
    ClientKind.KEY: "its key",
    ClientKind.RIG: "a rig of that name",
    ClientKind.PERSON: "a person of that name",
}
"""What a denied client hears. Why is for the log."""


class DenyTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The terms of `client.deny`: the subject says it all."""


class AllowTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The terms of `client.allow`: since when the client is denied, so that no later denial is lifted with it."""

    since: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


def client_acts() -> tuple[Act, ...]:
    """Return the rows of the table of acts."""
    return (
        Act(DENY, DenyTerms, "", SECURITY_OFFICERS, APPROVERS, _ask_deny, _deny),
        Act(ALLOW, AllowTerms, "", SECURITY_OFFICERS, APPROVERS, _ask_allow, _allow),
    )


def denial_of(ledger: LedgerReader, client: DeniedClient) -> ClientDenial | None:
    """Return the denial of exactly this client, or None."""
    return next((each for each in ledger.client_denials() if each.client == client), None)


def since_text(denial: ClientDenial) -> str:
    """Return since when the client is denied, as a proposal to allow it says it."""
    return denial.since.isoformat(timespec="microseconds")


def doorkeeper(notices: Callable[[], Notices]) -> Callable[[x509.Certificate], str | None]:
    """Return what `TrustAnchors.why_denied` asks, by these notices; it raises what they raise."""

    def why_denied(leaf: x509.Certificate) -> str | None:
        denied = notices().denied
        if not denied:
            return None
        found = denied_among(clients_of(leaf), denied)
        return None if found is None else _TOLD[found.kind]

    return why_denied


@functools.lru_cache(LEAVES_KEPT)
def clients_of(leaf: x509.Certificate) -> tuple[DeniedClient, ...]:
    """
    Return under which names the certificate's holder could be denied; persons' as people read them.

    A device has only its key: units, chips and certificates have denials of their own. Raises what
    `pki.reading.UNREADABLE` lists.
    """
    key = DeniedClient(ClientKind.KEY, key_digest(leaf))
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        name = names.common_name_of(leaf.subject)
    except (x509.ExtensionNotFound, DecodeError):
        return (key,)
    rig = (DeniedClient(ClientKind.RIG, name),) if ID_KP_CMC_RA in purposes else ()
    person = (DeniedClient(ClientKind.PERSON, plain_name(name)),) if ID_KP_OFFICER in purposes else ()
    return (key, *rig, *person)


def denied_among(named: Sequence[DeniedClient], denied: frozenset[DeniedClient]) -> DeniedClient | None:
    """Return the first of a certificate's names (`clients_of`) that is denied, or None."""
    known = _folded(denied)
    return next((each for each in named if each in known), None)


@functools.lru_cache(1)
def _folded(denied: frozenset[DeniedClient]) -> frozenset[DeniedClient]:
    return frozenset(
        DeniedClient(each.kind, plain_name(each.name)) if each.kind is ClientKind.PERSON else each for each in denied
    )


def _ask_deny(ledger: Ledger, asked: Asked) -> None:
    _undenied(ledger, asked)


def _deny(ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
    """Deny the client. Refused: ca.client.*."""
    client = _undenied(ledger, asked)
    denial = ClientDenial(client=client, reason=asked.reason, since=asked.at)
    ledger.deny_client(denial)
    return [_row(asked, client, said("denied_client", denied_client_row(denial)))]


def _undenied(ledger: Ledger, asked: Asked) -> DeniedClient:
    client = _client(asked)
    denial = denial_of(ledger, client)
    if denial is not None:
        raise Refused(CONFLICT, "ca.client.denied", f"{client} is denied since {since_text(denial)}: {denial.reason}")
    return client


def _ask_allow(ledger: Ledger, asked: Asked) -> None:
    _denied(ledger, asked)


def _allow(ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
    """Take the denial back. Refused: ca.client.*."""
    client = _denied(ledger, asked)
    ledger.allow_client(client)
    return [_row(asked, client, said_gone("denied_client", str(client)))]


def _denied(ledger: Ledger, asked: Asked) -> DeniedClient:
    client = _client(asked)
    denial = denial_of(ledger, client)
    if denial is None:
        raise Refused(UNKNOWN, "ca.client.unknown", f"{client} is not denied in the ledger", hint="see ca client list")
    if since_text(denial) != asked.terms.since:
        reason = f"{client} is denied since {since_text(denial)}"
        raise Refused(CONFLICT, "ca.client.stale", reason, hint="look at it and sign again")
    return client


def _client(asked: Asked) -> DeniedClient:
    try:
        return read_client(asked.subject)
    except DecodeError as error:
        raise Refused(MALFORMED, "ca.client.malformed", error.message, hint=error.hint) from error


def _row(asked: Asked, client: DeniedClient, state: Said) -> AuditRow:
    return msgspec.structs.replace(asked.row(f"{client}: {asked.reason}"), state=state)
