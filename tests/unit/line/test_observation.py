# SPDX-License-Identifier: Apache-2.0
"""What is decided from chip, certificate and the CA's word: no chip, no CA, no clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.line.errors import Contradiction
from birthmark.line.observation import Known, Plan, Rules, Seen, decide
from birthmark.line.ports import CertificateState
from birthmark.pki.authorities import make_sub_ca
from birthmark.pki.cmw import cmw_extension
from birthmark.pki.paths import TrustAnchors
from birthmark.silicon.port import SLOT_IDENTITY, ChipIdentity, SlotState
from birthmark.testing.forge import TPM, Device, Forge, new_key

MOMENT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
UNIT = "BM-000001"
FORGE = Forge.at(MOMENT)
DEVICE = FORGE.device(UNIT)
RULES = Rules(TrustAnchors((FORGE.root.certificate,)), (FORGE.issuing.certificate,), FORGE.endorsements())
NOTHING = Known(None, born_here=False)


def identity(device: Device = DEVICE) -> ChipIdentity:
    ak = device.chip.ak_certificate.public_bytes(Encoding.DER)
    return ChipIdentity(device.chip.model.id, device.chip.serial, "1.0.0", (ak,))


def seen(device: Device = DEVICE, *, chip: ChipIdentity | None = None) -> Seen:
    der = device.certificate.public_bytes(Encoding.DER)
    return Seen(chip or identity(device), SLOT_IDENTITY, SlotState.CERTIFIED, device.spki, der)


def known(
    state: str = "confirmed", *, unit: str = UNIT, chip: str = DEVICE.chip.serial, born_here: bool = False
) -> Known:
    return Known(CertificateState(unit, chip, state, "order-1"), born_here=born_here)


def finding(found: Seen, by_others: Known, at: datetime = MOMENT) -> str:
    with pytest.raises(Contradiction) as caught:
        decide(found, by_others, UNIT, RULES, at)
    return caught.value.finding


def with_certificate(cmw: bytes | None, forge: Forge = FORGE, device: Device = DEVICE) -> Seen:
    """Return the chip with another certificate of its own key."""
    certificate = forge.certify(UNIT, device.chip, device.key.public_key(), cmw)
    return seen(replace(device, certificate=certificate))


@pytest.mark.parametrize(("state", "plan"), [(SlotState.EMPTY, Plan.PERSONALISE), (SlotState.KEYED, Plan.RESUME)])
def test_a_chip_without_a_certificate_is_personalised_or_resumed(state: SlotState, plan: Plan) -> None:
    assert decide(Seen(identity(), SLOT_IDENTITY, state), NOTHING, UNIT, RULES, MOMENT) is plan


@pytest.mark.parametrize(
    ("by_others", "plan"),
    [
        (known("confirmed"), Plan.VERIFY),
        (known("issued"), Plan.FINISH),
        (known("issued", born_here=True), Plan.VERIFY),
    ],
)
def test_a_good_certificate_is_finished_or_only_verified(by_others: Known, plan: Plan) -> None:
    assert decide(seen(), by_others, UNIT, RULES, MOMENT) is plan


def test_a_tpm_is_judged_as_any_chip() -> None:
    device = FORGE.device(UNIT, model=TPM)
    assert decide(seen(device), known(chip=device.chip.serial), UNIT, RULES, MOMENT) is Plan.VERIFY


@pytest.mark.parametrize(
    ("by_others", "expected"),
    [
        (NOTHING, "line.certificate.unknown"),
        (known(unit="BM-000002"), "line.certificate.registered"),
        (known(chip="FFFFFFFF"), "line.certificate.registered"),
        (known("revoked"), "line.certificate.dead"),
        (known("superseded"), "line.certificate.dead"),
        (known("something new"), "line.certificate.dead"),
    ],
    ids=["unknown", "other-unit", "other-chip", "revoked", "superseded", "new-state"],
)
def test_what_the_ca_says_must_fit(by_others: Known, expected: str) -> None:
    assert finding(seen(), by_others) == expected


def test_a_birth_on_our_disk_does_not_outweigh_a_revocation() -> None:
    assert finding(seen(), known("revoked", born_here=True)) == "line.certificate.dead"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (replace(seen(), certificate=b""), "line.certificate.malformed"),
        (replace(seen(), certificate=seen().certificate + b"\x00"), "line.certificate.malformed"),
        (replace(seen(), spki=FORGE.device(UNIT).spki), "line.certificate.key"),
        (seen(FORGE.device("BM-000002")), "line.certificate.unit"),
        (seen(Forge.at(MOMENT).device(UNIT)), "pki.path.unknown-issuer"),
        (with_certificate(None), "cmw.missing"),
        (with_certificate(cmw_extension(FORGE.device(UNIT).bundle).value), "evidence.key.mismatch"),
        (with_certificate(cmw_extension(Forge.at(MOMENT).device(UNIT).bundle).value), "evidence.ak.unendorsed"),
        (seen(chip=identity(FORGE.device(UNIT))), "line.certificate.chip"),
    ],
    ids=["none", "trailing", "key", "unit", "issuer", "no-evidence", "evidence-key", "unendorsed", "chip"],
)
def test_whatever_does_not_fit_together_is_a_contradiction(found: Seen, expected: str) -> None:
    assert finding(found, known()) == expected


@pytest.mark.parametrize(("days", "expected"), [(6 * 365, "pki.path.expired"), (-1, "pki.path.not-yet-valid")])
def test_a_certificate_out_of_its_time_is_a_contradiction(days: int, expected: str) -> None:
    assert finding(seen(), known(), MOMENT + timedelta(days=days)) == expected


def test_a_certificate_of_another_ca_under_our_own_root_is_a_contradiction() -> None:
    operations = make_sub_ca(FORGE.root, "Forge operations CA", new_key(), MOMENT)
    stray = with_certificate(cmw_extension(DEVICE.bundle).value, replace(FORGE, issuing=operations))
    rules = replace(RULES, trust=TrustAnchors((FORGE.root.certificate,), (operations.certificate,)))
    with pytest.raises(Contradiction) as caught:
        decide(stray, known(), UNIT, rules, MOMENT)
    assert caught.value.finding == "line.certificate.issuer"
