# SPDX-License-Identifier: Apache-2.0
"""The administration's calls from where people sit: over mutual TLS with their own credential."""

import re
import ssl
from typing import Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.admin import types
from birthmark.ca.admin.credentials import Credential
from birthmark.ca.admin.ledger_types import (
    BundleView,
    DeniedClientList,
    HealthView,
    NewMove,
    UnitFileView,
    UnitView,
)
from birthmark.ca.demands import Client
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.life.units import Move
from birthmark.ca.people.roles import demand_officer
from birthmark.ca.transparency.bundle_format import BUNDLE_MAX_BYTES
from birthmark.core import jws
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.proposals import (
    PROPOSAL_TYP,
    ProposalDocument,
    RulingDocument,
    demand_authority,
    read_document,
)
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport, Response
from birthmark.pki.paths import read_trust
from birthmark.silicon.tls import use_chip_key

BUNDLE_WAIT_S = 120.0
"""For a bundle whose policy names large delivery manifests."""
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_T = TypeVar("_T")


class Office:
    """
    One person's connection to a running CA. What the CA refuses is raised with the CA's own finding.

    Whatever is signed here is signed for the CA of one name: that which the person expects, and which the CA says that
    it has. Without an expected name, `authority` is to be shown to the person before anything is signed.
    """

    def __init__(
        self, url: str, trust_pem: bytes, credential: Credential, clock: Clock, expected: str | None = None
    ) -> None:
        """
        Prepare; nothing is connected yet. `expected` is the name of the CA that it must be, None when any may be.

        Raises:
            ConfigError: the URL or the trust anchors cannot be used.

        """
        self._url, self._trust_pem = url, trust_pem
        self._credential = credential
        self._clock = clock
        self._expected = expected
        self._named: str | None = None
        self._trust = read_trust(trust_pem, "the trust anchors")
        self._transport = HTTPTransport(url, credential_context(trust_pem, credential))

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def authority(self) -> str:
        """
        Return the name of the CA, as it says it. It is asked once. Raises as `propose`.

        Raises:
            DecodeError: proposal.authority, it is not the one that is expected.

        """
        if self._named is None:
            told = self._call("GET", "/v1/authority", None, types.AuthorityView).authority
            if self._expected not in (None, told):
                reason = f"the CA at this address is {told}, not {self._expected}"
                raise DecodeError(reason, hint="nothing was signed", finding="proposal.authority")
            self._named = told
        return self._named

    def propose(self, token: str) -> types.ProposalView:
        """Hand in a signed proposal. Raises Refused, NotNow, NetError."""
        return self._call("POST", "/v1/proposals", types.NewProposal(document=token), types.ProposalView)

    def propose_act(self, act: str, subject: str, terms: msgspec.Struct, reason: str) -> types.ProposalView:
        """Sign a proposal to this CA and hand it in. Raises as `authority`."""
        return self.propose(self._credential.sign_proposal(self.authority(), act, subject, terms, reason))

    def proposals(self) -> types.ProposalList:
        """Return the latest proposals. Raises as `propose`."""
        return self._call("GET", "/v1/proposals", None, types.ProposalList)

    def proposal(self, proposal_id: str) -> types.ProposalView:
        """Return one proposal. Raises as `propose`."""
        return self._call("GET", f"/v1/proposals/{_segment(proposal_id)}", None, types.ProposalView)

    def approve(self, proposal: types.ProposalView, reason: str) -> types.ProposalView:
        """Sign that the act shall happen, and have it done. Raises DecodeError as `read`, and as `propose`."""
        self.read(proposal)
        return self._rule(proposal, "approved", reason)

    def rule(self, proposal_id: str, token: str) -> types.ProposalView:
        """Hand in a signed ruling. Raises as `propose`."""
        path = f"/v1/proposals/{_segment(proposal_id)}/decision"
        return self._call("POST", path, types.NewRuling(document=token), types.ProposalView)

    def reject(self, proposal: types.ProposalView, reason: str) -> types.ProposalView:
        """Sign that the act shall not happen. Raises as `authority`."""
        return self._rule(proposal, "rejected", reason)

    def read(self, proposal: types.ProposalView) -> ProposalDocument:
        """
        Return what a proposal really says: what an officer whom we trust has signed, not what the CA says about it.

        Raises:
            DecodeError: the id is not the document's, the document is not signed by the certificate beside it, or it
                was signed for another CA.
            Refused: ca.1.officer, the certificate is not one of an officer under our trust.

        """
        if fingerprint(proposal.document.encode("ascii", "replace")) != proposal.id:
            raise DecodeError("the proposal's id is not its document's", finding="proposal.mismatch")
        try:
            certificate = x509.load_pem_x509_certificate(proposal.certificate.encode())
        except ValueError as error:
            raise DecodeError("the proposer's certificate cannot be read", finding="proposal.malformed") from error
        officer = demand_officer(Client(certificate, ()), self._trust, self._clock())
        document = read_document(jws.verify(proposal.document, PROPOSAL_TYP, certificate))
        said = proposal.act, proposal.subject, proposal.proposed_by
        if said != (document.act, document.subject, officer.holder):
            raise DecodeError("the proposal is called what it is not", finding="proposal.mismatch")
        demand_authority(document, self.authority())
        return document

    def health(self) -> HealthView:
        """Return whether the CA could issue now, and what it found. Raises as `propose`."""
        return self._call("GET", "/v1/health/details", None, HealthView)

    def orders(self) -> types.OrderList:
        """Return every order. Raises as `propose`."""
        return self._call("GET", "/v1/orders", None, types.OrderList)

    def order(self, order_id: str) -> types.OrderEntryView:
        """Return an order with its account. Raises as `propose`."""
        return self._call("GET", f"/v1/orders/{_segment(order_id)}", None, types.OrderEntryView)

    def denied_clients(self) -> DeniedClientList:
        """Return which clients two persons have denied. Raises as `propose`."""
        return self._call("GET", "/v1/denied-clients", None, DeniedClientList)

    def unit(self, unit_serial: str) -> UnitFileView:
        """Return how a unit stands, and its certificates. Raises as `propose`."""
        return self._call("GET", f"/v1/units/{_segment(unit_serial)}", None, UnitFileView)

    def move(self, unit_serial: str, move: Move, reason: str) -> UnitView:
        """Say something of a unit; return how it stands then. Raises as `propose`."""
        path = f"/v1/units/{_segment(unit_serial)}/{move.value}"
        return self._call("POST", path, NewMove(reason=reason), UnitView)

    def scrap(self, order_id: str, unit_serial: str, reason: str) -> types.OrderEntryView:
        """Scrap a unit; return the order's account afterwards. Raises as `propose`."""
        path = f"/v1/orders/{_segment(order_id)}/units/{_segment(unit_serial)}/scrap"
        return self._call("POST", path, types.NewScrap(reason=reason), types.OrderEntryView)

    def bundle(self, serial: str, reason: str, *, evidence: bool = False) -> bytes:
        """
        Return the audit bundle of a unit, with the evidence that its certificates do not carry if asked for.

        Raises as `propose`.
        """
        query = urlencode({"reason": reason, "evidence": "true" if evidence else "false"})
        context = credential_context(self._trust_pem, self._credential)
        transport = HTTPTransport(self._url, context, BUNDLE_WAIT_S, response_max_bytes=2 * BUNDLE_MAX_BYTES)
        try:
            answer = transport.request("GET", f"/v1/units/{_segment(serial)}/bundle?{query}", {}, b"")
        finally:
            transport.close()
        return _told(answer, BundleView).bundle

    def _rule(
        self, proposal: types.ProposalView, ruling: Literal["approved", "rejected"], reason: str
    ) -> types.ProposalView:
        document = RulingDocument(
            authority=self.authority(), proposal=proposal.id, act=proposal.act, ruling=ruling, reason=reason
        )
        return self.rule(proposal.id, self._credential.sign_ruling(document))

    def _call(self, method: str, path: str, body: msgspec.Struct | None, told: type[_T]) -> _T:
        sent = b"" if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"content-type": "application/json"}
        return _told(self._transport.request(method, path, headers, sent), told)


def credential_context(trust_pem: bytes, credential: Credential) -> ssl.SSLContext:
    """Return the TLS client of a person whose key is used where it is. Raises ConfigError for the anchors."""
    context = client_context(trust_pem)
    chain = [each.public_bytes(Encoding.DER) for each in credential.chain]
    key = credential.key
    # The key is used where it is: in memory after it was decrypted, or in its token.
    use_chip_key(context, chain, lambda digest: key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
    return context


def _told(answer: Response, told: type[_T]) -> _T:
    try:
        if answer.status == 200:  # noqa: PLR2004 the one status of success
            return msgspec.json.decode(answer.body, type=told)
        refusal = msgspec.json.decode(answer.body, type=types.Refusal)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DecodeError(f"{answer.status}, and not the answer of a CA", finding="ca.answer") from error
    if answer.status == NotNow.status:
        wait_s = answer.headers.get("retry-after", "")
        raise NotNow(refusal.finding, refusal.message, retry_after_s=int(wait_s) if wait_s.isdecimal() else 1)
    raise Refused(answer.status, refusal.finding, refusal.message, hint=refusal.hint)


def _segment(text: str) -> str:
    """Return a text as one segment of a path."""
    return text if _PLAIN.fullmatch(text) and text.strip(".") else quote(text, safe="").replace(".", "%2E")
