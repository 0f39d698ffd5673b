# SPDX-License-Identifier: Apache-2.0
"""Each issuing CA says what of its own is revoked: lists, partitions, OCSP; at one desk, over one ledger."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from birthmark.ca.demands import Terms
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.issuing.signers import Signers
from birthmark.ca.life.lifecycle import ADMINISTRATOR, Lifecycle
from birthmark.ca.service import CA
from birthmark.ca.status.desk import SigningDesk, StatusIssuer, StatusTerms
from birthmark.ca.status.publishing import Signed, SigningBudget
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import make_sub_ca
from birthmark.pki.crl import Partition, RevocationList, read_crl
from birthmark.pki.errors import KeyStoreError
from birthmark.pki.keys.software import generate
from birthmark.pki.ocsp import CertID, CertStatus, ErrorStatus
from birthmark.pki.ocsp_verification import read_response
from birthmark.pki.profiles import AlgorithmPolicy
from support.ca_parts import LAST_ISSUE, CAParts, order
from support.ocsp_parts import responder_of

COUNT = 2
LATER = "BM-000002"


class Two:
    """An authority with two issuing CAs: a certificate of each, and the desk that speaks of both."""

    def __init__(self, parts: CAParts) -> None:
        self.parts = parts
        following = make_sub_ca(parts.forge.root, "Next issuing CA", generate(KeyAlgorithm.P384), parts.clock())
        self.signers = Signers(parts.forge.issuing, {"next": following})
        terms = Terms("device-next", (AlgorithmPolicy(KeyAlgorithm.P256, LAST_ISSUE),), 1825, issuer="next")
        parts.policy = replace(parts.policy, terms={**parts.policy.terms, terms.name: terms})
        parts.ca = CA(parts.store, self.signers, parts.policy, parts.clock)
        parts.put_order(order("order-next", profile=terms.name))
        self.certificates = {
            "": parts.confirmed(parts.board()),
            "next": parts.born(parts.board(LATER), label="order-next"),
        }
        self.issuers = {name: self.issuer(name) for name in self.certificates}
        self.desk = self.opened()

    def issuer(self, name: str) -> StatusIssuer:
        authority = self.signers.all()[name]
        return StatusIssuer(
            authority=authority,
            marks=self.signers.issued_by(name),
            list_name=f"crl:{name}",
            list_base=f"http://crl.example/{name}",
            responder=responder_of(authority, self.parts.clock()),
        )

    def opened(self, **changed: StatusIssuer) -> SigningDesk:
        terms = StatusTerms(
            partitions=COUNT,
            list_life=timedelta(hours=1),
            response_life=timedelta(hours=8),
            budget=SigningBudget.full(0.001, 3, self.parts.clock()),
        )
        return SigningDesk(
            self.parts.store, {**self.issuers, **changed}, terms, self.parts.policy.trust, self.parts.clock
        )

    def revoke_both(self) -> None:
        for certificate in self.certificates.values():
            serial = f"{certificate.serial_number:x}"
            Lifecycle(self.parts.store, self.parts.clock).revoke_certificate(ADMINISTRATOR, serial, "test")

    def read(self, name: str, signed: Signed | None, partition: Partition | None = None) -> RevocationList:
        assert signed is not None
        return read_crl(signed.body, self.certificate_of(name), self.parts.clock(), partition)

    def certificate_of(self, name: str) -> x509.Certificate:
        return self.signers.all()[name].certificate

    def asked(self, name: str) -> CertID:
        return CertID.of(self.certificate_of(name), self.certificates[name].serial_number)


@pytest.fixture
def two(parts: CAParts) -> Two:
    return Two(parts)


@pytest.mark.parametrize("name", ["", "next"])
def test_an_issuer_lists_what_it_issued_in_full_and_in_parts(two: Two, name: str) -> None:
    two.revoke_both()
    mine = {two.certificates[name].serial_number}
    assert two.read(name, two.desk.full_list(name)).serials == mine
    found: set[int] = set()
    for index in range(COUNT):
        partition = Partition(f"http://crl.example/{name}", COUNT, index)
        found |= two.read(name, two.desk.partition_list(COUNT, index, name), partition).serials
    assert found == mine


@pytest.mark.parametrize("name", ["", "next"])
def test_an_issuer_s_responder_speaks_of_its_certificates(two: Two, name: str) -> None:
    two.revoke_both()
    answer = two.desk.ocsp((two.asked(name),))
    assert isinstance(answer, Signed)
    serial = two.certificates[name].serial_number
    said = read_response(answer.body, two.certificate_of(name), serial, two.parts.clock())
    assert said.standing.status is CertStatus.REVOKED


def test_a_serial_of_another_issuer_is_unknown_to_this_one(two: Two) -> None:
    serial = two.certificates["next"].serial_number
    answer = two.desk.ocsp((CertID.of(two.certificate_of(""), serial),))
    assert isinstance(answer, Signed)
    said = read_response(answer.body, two.certificate_of(""), serial, two.parts.clock())
    assert said.standing.status is CertStatus.UNKNOWN


def test_nobody_answers_for_two_issuers_at_once_or_for_one_without_a_responder(two: Two) -> None:
    assert two.desk.ocsp((two.asked(""), two.asked("next"))) is ErrorStatus.UNAUTHORIZED
    silent = two.opened(next=replace(two.issuers["next"], responder=None))
    assert silent.ocsp((two.asked("next"),)) is ErrorStatus.UNAUTHORIZED
    assert isinstance(silent.ocsp((two.asked(""),)), Signed)


def test_responses_of_every_issuer_are_made_beforehand(two: Two) -> None:
    assert two.desk.presign() == 2


def test_a_responder_that_cannot_sign_keeps_no_other_from_it(two: Two) -> None:
    class Away:
        def public_key(self) -> object:
            return two.issuers["next"].responder.key.public_key()  # type: ignore[union-attr]

        def sign(self, *_: object) -> bytes:
            raise KeyStoreError("the token is away")

    responder = two.issuers["next"].responder
    assert responder is not None
    broken = replace(two.issuers["next"], responder=replace(responder, key=Away()))
    desk = two.opened(next=broken)
    with pytest.raises(NotNow):
        desk.presign()
    with two.parts.store.reading() as ledger:
        kept = {name for name in two.certificates if ledger.signed_status(f"ocsp:{two.asked(name).serial:x}")}
    assert kept == {""}


def test_an_issuer_that_there_is_not_has_no_list(two: Two) -> None:
    for ask in (lambda: two.desk.full_list("other"), lambda: two.desk.partition_list(COUNT, 0, "other")):
        with pytest.raises(Refused) as refused:
            ask()
        assert (refused.value.status, refused.value.finding) == (404, "ca.issuer.unknown")
