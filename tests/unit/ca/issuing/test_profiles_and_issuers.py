# SPDX-License-Identifier: Apache-2.0
"""Profiles of every kind, several issuing keys, and devices that come to stronger keys and never back."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.demands import Terms
from birthmark.ca.errors import Refused
from birthmark.ca.issuing.attributes import AttributeDesk
from birthmark.ca.issuing.signers import Signers, Verifier
from birthmark.ca.service import CA
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Issuance
from birthmark.est import wishes
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.ear import ResultSigners, VerifierID, read_ear
from birthmark.evidence.result import appraise_result
from birthmark.evidence.verdict import require
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm
from birthmark.pki.authorities import make_signer, make_sub_ca
from birthmark.pki.cmw import Record, read_cmw_record
from birthmark.pki.crl import read_crl
from birthmark.pki.csr import build_csr, read_csr
from birthmark.pki.keys.software import generate
from birthmark.pki.names import request_subject
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.pki.profiles import KINDS, NO_WELL_DEFINED_END, AlgorithmPolicy
from support.ca_parts import LAST_ISSUE, NOT_DONE, ORDER, UNIT, Board, CAParts, Crash, FaultyStore, nonce_for, order

VERIFIER = Verifier(generate(KeyAlgorithm.P256), VerifierID("Acme Controls", "birthmark test"))
"""ECDSA draws random numbers: what is signed twice differs."""


def terms(name: str, *algorithms: KeyAlgorithm, kind: str = "device", issuer: str = "") -> Terms:
    policies = tuple(AlgorithmPolicy(each, LAST_ISSUE, 12_288) for each in algorithms or (KeyAlgorithm.P256,))
    return Terms(name, policies, 1825, kind=KINDS[kind], issuer=issuer)


class Next:
    """The authority of `parts` after its configuration has changed."""

    def __init__(self, parts: CAParts, *profiles: Terms) -> None:
        self.parts = parts
        self.issuing = make_sub_ca(parts.forge.root, "Next issuing CA", generate(KeyAlgorithm.MLDSA65), parts.clock())
        self.signers = Signers(parts.forge.issuing, {"next": self.issuing}, VERIFIER)
        self.policy = replace(parts.policy, terms={**parts.policy.terms, **{each.name: each for each in profiles}})
        self.desk = parts.status(self.signers)
        self.start()

    def start(self, store: object = None) -> None:
        store = store or self.parts.store
        self.parts.ca = CA(store, self.signers, self.policy, self.parts.clock)  # type: ignore[arg-type] # a store
        self.parts.attributes = AttributeDesk(self.parts.store, self.policy, self.parts.clock)

    def issuance(self, certificate: x509.Certificate) -> Issuance:
        with self.parts.store.reading() as ledger:
            found = ledger.issuance(f"{certificate.serial_number:x}")
        assert found is not None
        return found

    def listed(self, issuer: str) -> frozenset[int]:
        authority = self.signers.all()[issuer]
        return read_crl(self.desk.full_list(issuer).body, authority.certificate, self.parts.clock()).serials


def key_wanted(parts: CAParts, certificate: x509.Certificate | None, label: str | None = None) -> KeyAlgorithm:
    client = None if certificate is None else parts.device(certificate)
    wanted = wishes.read(parts.attributes.wanted(client, label)).key
    assert wanted is not None
    return wishes.algorithm_of(wanted)


def renewed(parts: CAParts, board: Board, current: x509.Certificate, algorithm: KeyAlgorithm) -> x509.Certificate:
    key = generate(algorithm)
    bundle = board.chip.bundle(board.chip.attest(key.public_key(), nonce_for(parts, current)))
    san = current.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    csr = build_csr(key, current.subject, bundle, san)
    return x509.load_der_x509_certificate(parts.ca.renew(parts.device(current), csr))


def test_a_private_profile_publishes_a_result_and_keeps_the_evidence(parts: CAParts) -> None:
    after = Next(parts, terms("device-p256", kind="device-private"))
    board = parts.board()
    csr = board.csr(parts.nonce())
    certificate = parts.enrol(csr)
    bundle = read_csr(csr).bundle or b""
    record, token = read_cmw_record(certificate)
    assert record is Record.RESULT
    assert bundle not in certificate.public_bytes(Encoding.DER)
    known = after.issuance(certificate)
    assert (known.evidence, known.result, known.kind) == (bundle, token, "device-private")
    signer = make_signer(parts.operations, "verifier", VERIFIER.key.public_key(), parts.clock())
    signers, endorsements = ResultSigners.of([signer]), after.policy.endorsements
    result = read_ear(token, signers)
    assert result.evidence_sha256 == fingerprint(bundle)
    assert result.policy_sha256 == endorsements.digest
    assert result.verifier == VERIFIER.name
    said = require(appraise_result(token, known.spki, signers, endorsements, parts.clock()))
    assert said.chip == require(appraise(bundle, known.spki, endorsements, parts.clock())).chip


def test_a_result_that_was_promised_is_the_one_that_is_signed_later(parts: CAParts) -> None:
    """Whatever the verifier would say by then: the intent decides every byte."""
    after = Next(parts, terms("device-p256", kind="device-private"))
    csr = parts.board().csr(parts.nonce())
    after.start(FaultyStore(parts.store, [None, NOT_DONE]))
    with pytest.raises(Crash):
        parts.enrol(csr)
    with parts.store.reading() as ledger:
        (intended,) = ledger.issuances()
    parts.clock.forward(seconds=10)
    after.policy = replace(after.policy, terms=parts.policy.terms)
    after.start()
    certificate = parts.enrol(csr)
    assert read_cmw_record(certificate) == (Record.RESULT, intended.result)
    assert f"{certificate.serial_number:x}" == intended.serial


def test_a_private_device_renews_with_a_result_about_its_new_key(parts: CAParts) -> None:
    after = Next(parts, terms("device-p256", kind="device-private"))
    board = parts.board()
    certificate = renewed(parts, board, parts.confirmed(board), KeyAlgorithm.P256)
    record, token = read_cmw_record(certificate)
    known = after.issuance(certificate)
    assert record is Record.RESULT
    assert token == known.result
    assert fingerprint(known.evidence).encode() not in token


def test_an_idevid_has_no_end_and_its_life_in_the_ledger_has_none(parts: CAParts) -> None:
    after = Next(parts, terms("device-p256", kind="idevid"))
    certificate = parts.born(parts.board())
    assert certificate.not_valid_after_utc == NO_WELL_DEFINED_END
    known = after.issuance(certificate)
    assert NO_WELL_DEFINED_END - known.expires_at < timedelta(days=1)
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_each_profile_s_issuer_signs_and_lists_its_own_certificates(parts: CAParts) -> None:
    after = Next(parts, terms("device-next", issuer="next"))
    parts.put_order(order("order-next", profile="device-next"))
    first = parts.born(parts.board())
    second = parts.born(parts.board("BM-000002"), label="order-next")
    trust = TrustAnchors((parts.forge.root.certificate,), (parts.forge.issuing.certificate, after.issuing.certificate))
    for certificate, issuer in ((first, parts.forge.issuing), (second, after.issuing)):
        path = validate_path(certificate, (), trust, parts.clock(), Purpose.CLIENT)
        assert path[1] == issuer.certificate
    for certificate in (first, second):
        parts.administration.revoke(f"{certificate.serial_number:x}", "test")
    parts.clock.forward(seconds=2)
    assert after.listed("") == {first.serial_number}
    assert after.listed("next") == {second.serial_number}
    with pytest.raises(Refused) as refused:
        after.desk.full_list("other")
    assert (refused.value.status, refused.value.finding) == (404, "ca.issuer.unknown")


def test_a_certificate_of_an_earlier_release_is_the_first_issuer_s(parts: CAParts) -> None:
    after = Next(parts)
    certificate = parts.born(parts.board())
    with parts.store.writing() as ledger:
        ledger._db.write("UPDATE life SET issuer = ''")  # type: ignore[attr-defined]
    parts.administration.revoke(f"{certificate.serial_number:x}", "test")
    parts.clock.forward(seconds=2)
    assert after.listed("") == {certificate.serial_number}
    assert after.listed("next") == frozenset()


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_fleet_is_asked_for_and_gets_the_key_that_its_profile_names_now(
    parts: CAParts, algorithm: KeyAlgorithm
) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    assert key_wanted(parts, current) is KeyAlgorithm.P256
    after = Next(parts, terms("device-p256", algorithm, issuer="next"))
    assert key_wanted(parts, current) is algorithm
    assert key_wanted(parts, None, ORDER) is algorithm
    certificate = renewed(parts, board, current, algorithm)
    assert key_algorithm(certificate.public_key()) is algorithm
    certificate.verify_directly_issued_by(after.issuing.certificate)


def test_a_device_goes_on_connecting_with_the_key_that_can_beside_one_that_cannot(parts: CAParts) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    Next(parts, terms("device-p256", KeyAlgorithm.MLDSA65, issuer="next"))
    first = renewed(parts, board, current, KeyAlgorithm.MLDSA65)
    parts.clock.forward(days=30)
    assert parts.states() == ["confirmed", "confirmed"]
    second = renewed(parts, board, current, KeyAlgorithm.MLDSA65)
    assert first != second
    assert parts.states() == ["confirmed", "superseded", "confirmed"]


def test_a_key_that_can_connect_ends_the_one_before_it_as_ever(parts: CAParts) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    Next(parts, terms("device-p256", KeyAlgorithm.P384, issuer="next"))
    renewed(parts, board, current, KeyAlgorithm.P384)
    parts.clock.forward(days=30)
    assert parts.states() == ["superseded", "confirmed"]


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        (KeyAlgorithm.MLDSA65, KeyAlgorithm.P256),
        (KeyAlgorithm.MLDSA65, KeyAlgorithm.P384),
        (KeyAlgorithm.MLDSA65, KeyAlgorithm.ED25519),
        (KeyAlgorithm.MLDSA65, KeyAlgorithm.MLDSA44),
        (KeyAlgorithm.P384, KeyAlgorithm.P256),
        (KeyAlgorithm.P384, KeyAlgorithm.MLDSA44),
    ],
)
def test_a_renewal_for_a_weaker_key_than_the_device_holds_is_refused(
    parts: CAParts, held: KeyAlgorithm, asked: KeyAlgorithm
) -> None:
    """Over either of its certificates, although the profile lists both types."""
    board = parts.board()
    current = parts.confirmed(board)
    Next(parts, terms("device-p256", held, asked, KeyAlgorithm.P256))
    stronger = renewed(parts, board, current, held)
    for shown in (current, stronger):
        with pytest.raises(Refused) as refused:
            renewed(parts, board, shown, asked)
        assert (refused.value.status, refused.value.finding) == (403, "ca.re.weaker")
    assert parts.last_audit()["finding"] == "ca.re.weaker"


def test_a_device_is_asked_for_nothing_weaker_than_it_holds(parts: CAParts) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    Next(parts, terms("device-p256", KeyAlgorithm.P384))
    stronger = renewed(parts, board, current, KeyAlgorithm.P384)
    Next(parts, terms("device-p256", KeyAlgorithm.P256, KeyAlgorithm.MLDSA65))
    assert key_wanted(parts, stronger) is KeyAlgorithm.MLDSA65
    assert key_wanted(parts, None, ORDER) is KeyAlgorithm.P256


def test_a_request_for_a_kind_without_its_verifier_is_refused(parts: CAParts) -> None:
    """Wiring does not let it come to that."""
    after = Next(parts, terms("device-p256", kind="device-private"))
    after.signers = Signers(parts.forge.issuing)
    after.start()
    with pytest.raises(Refused) as refused:
        parts.enrol(build_csr(*_request(parts)))
    assert refused.value.finding == "ca.9.profile"


def _request(parts: CAParts) -> tuple[object, x509.Name, bytes]:
    board = parts.board()
    bundle = board.chip.bundle(board.chip.attest(board.key.public_key(), parts.nonce()))
    return board.key, request_subject(UNIT), bundle
