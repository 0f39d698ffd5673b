# SPDX-License-Identifier: Apache-2.0
"""What the rotation refuses to install, and what it does when the cloud says no or is away."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hashes import SHA256

from birthmark.core.errors import BirthmarkError
from birthmark.device.errors import CertificateRejected, RefusedByCloud
from birthmark.device.identities import active_identity, other_slot
from birthmark.device.rotation import Goal
from birthmark.est.errors import ESTClientRefused
from birthmark.net.errors import Unreachable
from birthmark.pki.authorities import Authority
from birthmark.pki.cmw import cmw_extension
from birthmark.silicon.port import SlotState
from birthmark.testing.forge import Forge, new_key
from support.cloud_parts import UNIT
from support.device_parts import Board, Power, PowerCut

Alter = Callable[[Board, x509.Certificate], x509.Certificate]


def again(
    board: Board, certificate: x509.Certificate, signer: Authority | None = None, **changes: object
) -> x509.Certificate:
    """Return the certificate with changes, signed by the issuing CA or by somebody else."""
    issuing = signer or board.parts.forge.issuing
    parts: dict[str, object] = {
        "issuer_name": certificate.issuer,
        "subject_name": certificate.subject,
        "public_key": certificate.public_key(),
        "serial_number": certificate.serial_number,
        "not_valid_before": certificate.not_valid_before_utc,
        "not_valid_after": certificate.not_valid_after_utc,
        "extensions": list(certificate.extensions),
    }
    builder = x509.CertificateBuilder(**{**parts, **changes})  # type: ignore[arg-type] # a table of any changes
    return builder.sign(issuing.key, hashes.SHA256())


def other_key(board: Board, certificate: x509.Certificate) -> x509.Certificate:
    return again(board, certificate, public_key=new_key().public_key())


def other_name(board: Board, certificate: x509.Certificate) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, "BM-000666")])
    return again(board, certificate, subject_name=name)


def no_san(board: Board, certificate: x509.Certificate) -> x509.Certificate:
    kept = [each for each in certificate.extensions if not isinstance(each.value, x509.SubjectAlternativeName)]
    return again(board, certificate, extensions=kept)


def no_evidence(board: Board, certificate: x509.Certificate) -> x509.Certificate:
    cmw = cmw_extension(b"").oid
    return again(board, certificate, extensions=[each for each in certificate.extensions if each.oid != cmw])


def other_evidence(board: Board, certificate: x509.Certificate) -> x509.Certificate:
    """Return it with evidence that an endorsed chip made, but not for this request."""
    cmw = cmw_extension(board.parts.forge.device(UNIT).bundle)
    kept = [each for each in certificate.extensions if each.oid != cmw.oid]
    return again(board, certificate, extensions=[*kept, x509.Extension(cmw.oid, critical=False, value=cmw)])


def older(board: Board, certificate: x509.Certificate) -> x509.Certificate:
    return again(board, certificate, not_valid_before=certificate.not_valid_before_utc - timedelta(days=1))


def expired(board: Board, certificate: x509.Certificate) -> x509.Certificate:
    return again(board, certificate, not_valid_after=board.parts.clock.now - timedelta(seconds=1))


def of_a_stranger(board: Board, certificate: x509.Certificate) -> x509.Certificate:
    return again(board, certificate, signer=Forge.at(board.parts.clock.now).issuing)


@pytest.mark.parametrize(
    ("alter", "finding"),
    [
        (other_key, "device.certificate.key"),
        (other_name, "device.certificate.names"),
        (no_san, "device.certificate.names"),
        (older, "device.certificate.older"),
        (expired, "device.certificate.expired"),
        (of_a_stranger, "device.certificate.unknown-issuer"),
        (no_evidence, "device.certificate.evidence"),
        (other_evidence, "evidence.key.mismatch"),
    ],
)
def test_a_certificate_that_was_not_asked_for_is_not_installed(board: Board, alter: Alter, finding: str) -> None:
    before = active_identity(board.chip(), UNIT)
    board.authority.alter = lambda certificate: alter(board, certificate)
    with pytest.raises(BirthmarkError) as caught:
        board.renewal().run(Goal.ROTATE)
    assert caught.value.finding == finding
    chip = board.chip()
    assert active_identity(chip, UNIT) == before
    assert chip.state(other_slot(before.slot)) is SlotState.KEYED, "the orphan is cleaned by the next run"
    assert board.renewal().run(Goal.SETTLE).identity == before
    assert board.chip().state(other_slot(before.slot)) is SlotState.EMPTY


def test_without_endorsements_the_evidence_must_be_the_bytes_that_were_sent(board: Board) -> None:
    board.endorsed = False
    board.authority.alter = lambda certificate: other_evidence(board, certificate)
    with pytest.raises(CertificateRejected) as caught:
        board.renewal().run(Goal.ROTATE)
    assert caught.value.finding == "device.certificate.evidence"


def test_a_cloud_that_is_away_leaves_the_new_certificate_waiting(board: Board) -> None:
    before = active_identity(board.chip(), UNIT)
    board.cloud_failure = Unreachable("the cloud is away")
    with pytest.raises(Unreachable):
        board.renewal().run(Goal.ROTATE)
    with board.agent() as agent:
        assert agent._settled() == before
    board.cloud_failure = None
    assert board.renewal().run(Goal.SETTLE).identity != before


def test_a_new_certificate_that_the_cloud_refuses_is_not_activated(board: Board) -> None:
    before = active_identity(board.chip(), UNIT)
    board.refuse_unless = before
    with pytest.raises(RefusedByCloud):
        board.renewal().run(Goal.ROTATE)
    assert active_identity(board.chip(), UNIT) == before
    assert board.renewal().run(Goal.SETTLE).identity == before
    assert board.chip().state(other_slot(before.slot)) is SlotState.EMPTY


def test_a_refused_leftover_is_kept_as_long_as_the_identity_in_use_is_refused_too(board: Board) -> None:
    before = active_identity(board.chip(), UNIT)
    board.cloud_failure = RefusedByCloud("everybody is refused", finding="cloud.revoked")
    for goal in (Goal.ROTATE, Goal.SETTLE, Goal.ROTATE):
        with pytest.raises(RefusedByCloud):
            board.renewal().run(goal)
    assert board.chip().state(other_slot(before.slot)) is SlotState.CERTIFIED
    board.cloud_failure = None
    assert board.renewal().run(Goal.SETTLE).identity != before


def test_a_clock_that_was_lost_destroys_no_identity(board: Board) -> None:
    power = Power()
    board.renewal(power).run(Goal.ROTATE)
    probe = power.calls.index("me")
    other = board.renewal(Power(cut_at=2 * probe + 2))
    before = active_identity(board.chip(), UNIT)
    with pytest.raises(PowerCut):
        other.run(Goal.ROTATE)
    now = board.parts.clock.now
    board.parts.clock.now = now.replace(year=1970)
    board.cloud_failure = Unreachable("no server is trusted in 1970")
    with pytest.raises(Unreachable):
        board.renewal().run(Goal.SETTLE)
    board.parts.clock.now, board.cloud_failure = now, None
    assert board.renewal().run(Goal.SETTLE).identity != before


def test_a_certificate_that_was_half_written_is_erased(board: Board) -> None:
    before = active_identity(board.chip(), UNIT)
    board.cloud_failure = Unreachable("the cloud is away")
    with pytest.raises(Unreachable):
        board.renewal().run(Goal.ROTATE)
    other = other_slot(before.slot)
    chip = board.chip()
    whole = chip.get_certificate(other)
    assert whole is not None
    chip.import_certificate(other, whole[:-1] + bytes([whole[-1] ^ 1]))
    board.cloud_failure = None
    assert board.renewal().run(Goal.SETTLE).identity == before
    assert board.chip().state(other) is SlotState.EMPTY


def test_after_a_rotation_the_ca_is_told_which_anchors_the_device_holds(board: Board) -> None:
    with board.agent() as agent:
        agent.rotate()
    assert board.authority.named == [
        frozenset(each.fingerprint(SHA256()).hex() for each in board.standards.trust.certs)
    ]


def test_a_ca_that_takes_no_anchors_undoes_no_rotation(board: Board) -> None:
    def refuse(_anchors: frozenset[str]) -> None:
        raise ESTClientRefused(404, "", "not found")

    board.authority.name_anchors = refuse  # type: ignore[method-assign] # a CA of an earlier release
    with board.agent() as agent:
        report = agent.rotate()
    assert report.in_use == report.new_fingerprint
