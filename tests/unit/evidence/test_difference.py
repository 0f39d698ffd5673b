# SPDX-License-Identifier: Apache-2.0
"""What a change of policy would do to a fleet of many makers' chips, counted by cause."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.core.config import parse
from birthmark.core.issuance import ChipID, Issuance
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.changes import Change, Kind, changes
from birthmark.evidence.difference import EXAMPLES_MAX, Effect, Outcome, difference
from birthmark.evidence.endorsements import Endorsements, EndorsementsFile, build, key_fingerprint
from birthmark.evidence.verdict import require
from birthmark.testing.forge import APDU, TPM, ChipMaker, Device, Forge

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FORGE = Forge.at(NOW)
OTHER = ChipMaker.at(NOW, "Jones")


def fleet() -> tuple[Device, ...]:
    apdu = tuple(FORGE.device(f"BM-{number:06}") for number in range(6))
    tpm = tuple(FORGE.device(f"BM-{number:06}", model=TPM) for number in range(100, 102))
    return (*apdu, *tpm, FORGE.device("BM-000200", curve=ec.SECP384R1()))


FLEET = fleet()
P256 = [device.unit for device in FLEET[:8]]


def issuance(device: Device, **changed: object) -> Issuance:
    fields: dict[str, object] = {
        "serial": f"{device.certificate.serial_number:x}",
        "unit_serial": device.unit,
        "chip": ChipID(FORGE.maker.name, device.chip.serial),
        "chip_model": device.chip.model.id,
        "hw_type": device.chip.model.hw_type.dotted_string,
        "spki": device.spki,
        "evidence": device.bundle,
        "order": "order-1",
        "product": "Controller",
        "organization": "Forge",
        "profile": "device",
        "requested_by": "rig:rig-a",
        "intended_at": NOW,
        "validity_days": 1825,
    }
    return Issuance(**(fields | changed))  # type: ignore[arg-type] # a test names the field that it changes


LIVING = tuple(issuance(device) for device in FLEET)


def model(kind: str, more: str = "") -> str:
    which = APDU if kind == "apdu" else TPM
    return f"""
[[model]]
id = "{which.id}"
hw_type = "{which.hw_type.dotted_string}"
maker = "{FORGE.maker.name}"
certification = "as tested"
statement_types = ["{which.statement_type.dotted_string}"]
{more}
"""


MAKER = f'[[maker]]\nname = "{FORGE.maker.name}"\ntrust = "maker.pem"\n'
BOTH = MAKER + model("apdu") + model("tpm")


def policy(text: str, **files: bytes) -> Endorsements:
    named = {f"{name}.txt": content for name, content in files.items()}
    pems = {"maker.pem": FORGE.maker.trust_pem, "other.pem": OTHER.trust_pem}
    return build(parse(EndorsementsFile, text, "endorsements.toml"), {**pems, **named})


def effects(old: str, new: str, at: datetime = NOW, **files: bytes) -> tuple[Effect, ...]:
    return difference(policy(old, **files), policy(new, **files), LIVING, at).effects


def ak_of(device: Device) -> str:
    return require(appraise(device.bundle, device.spki, policy(BOTH), NOW)).ak_fingerprint


def test_a_policy_that_says_the_same_changes_nothing() -> None:
    found = difference(policy(BOTH), policy("# the same\n" + BOTH), LIVING, NOW)
    assert (found.changes, found.effects, found.losses, found.units) == ((), (), (), 9)
    assert found.old == found.new


DELIVERED = "".join(f"{device.chip.serial}\n" for device in FLEET if device.unit != "BM-000003").encode()
DELIVERY = f"""
[[delivery]]
maker = "{FORGE.maker.name}"
file = "list.txt"
sha256 = "{hashlib.sha256(DELIVERED).hexdigest()}"
"""
NOTHING_CERTIFIED = '\n[[profile]]\nname = "device"\nminimum = { "CC" = "EAL4" }\n'


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (
            MAKER + model("apdu", "withdrawn = 2026-11-23T00:00:00Z") + model("tpm"),
            [(Outcome.DARK, "evidence.model.withdrawn", APDU.id, 7)],
        ),
        (MAKER + model("apdu"), [(Outcome.DARK, "evidence.model.unknown", TPM.id, 2)]),
        (
            MAKER + model("apdu", 'minimum_firmware = "99.1"') + model("tpm"),
            [(Outcome.DARK, "evidence.firmware.minimum", f"{APDU.id} 1.0.0", 7)],
        ),
        (BOTH + DELIVERY, [(Outcome.DARK, "evidence.chip.undelivered", APDU.id, 1)]),
        (
            f'denied_ak_cas = ["{key_fingerprint(FORGE.maker.ak_ca.certificate)}"]\n' + BOTH,
            [(Outcome.DARK, "evidence.ak.ca-denied", "the key of certificate 'CN=Smith AK CA,O=Smith' is denied", 9)],
        ),
        (
            f'denied_aks = ["{ak_of(FLEET[2])}"]\n' + BOTH,
            [(Outcome.DARK, "evidence.ak.denied", f"AK {ak_of(FLEET[2])}", 1)],
        ),
        (
            BOTH.replace(FORGE.maker.name, OTHER.name).replace("maker.pem", "other.pem"),
            [(Outcome.DARK, "evidence.ak.unendorsed", FORGE.maker.name, 9)],
        ),
        (
            BOTH + '\n[[profile]]\nname = "device"\ncalendars = ["cnsa-2.0"]\n',
            [(Outcome.STUCK, "evidence.algorithm.ended", "P-256 under device", 8)],
        ),
        (
            BOTH + NOTHING_CERTIFIED,
            [
                (Outcome.STUCK, "evidence.certification.missing", APDU.id, 7),
                (Outcome.STUCK, "evidence.certification.missing", TPM.id, 2),
            ],
        ),
        (BOTH + NOTHING_CERTIFIED.replace('"device"', '"another"'), []),
    ],
    ids=["withdrawn", "gone", "firmware", "delivery", "ak-ca", "ak", "maker", "calendar", "certification", "other"],
)
def test_what_no_longer_passes_is_counted_by_cause(new: str, expected: list[tuple[Outcome, str, str, int]]) -> None:
    found = effects(BOTH, new, list=DELIVERED)
    assert [(effect.outcome, effect.finding, effect.subject, effect.units) for effect in found] == expected


def test_the_way_back_is_told_too() -> None:
    withdrawn = MAKER + model("apdu", "withdrawn = 2026-11-23T00:00:00Z") + model("tpm")
    (back,) = effects(withdrawn, BOTH)
    assert (back.outcome, back.finding, back.units) == (Outcome.BELIEVED, "evidence.model.withdrawn", 7)
    (renewable,) = effects(BOTH + '\n[[profile]]\nname = "device"\ncalendars = ["cnsa-2.0"]\n', BOTH)
    assert (renewable.outcome, renewable.units) == (Outcome.RENEWABLE, 8)
    assert not back.outcome.is_loss
    assert not renewable.outcome.is_loss


def test_what_was_refused_before_is_no_effect_of_the_change() -> None:
    gone = MAKER + model("apdu")
    assert effects(gone, gone + NOTHING_CERTIFIED)[0].subject == APDU.id
    assert len(effects(gone, gone + NOTHING_CERTIFIED)) == 1


def test_losses_come_first_and_the_larger_before_the_smaller() -> None:
    old = MAKER + model("apdu") + model("tpm", "withdrawn = 2026-11-23T00:00:00Z")
    new = f'denied_aks = ["{ak_of(FLEET[0])}"]\n' + BOTH + '\n[[profile]]\nname = "device"\ncalendars = ["cnsa-2.0"]\n'
    found = difference(policy(old), policy(new), LIVING, NOW)
    assert [(effect.outcome, effect.units) for effect in found.effects] == [
        (Outcome.DARK, 1),
        (Outcome.STUCK, 5),
        (Outcome.BELIEVED, 2),
    ]
    assert [effect.outcome for effect in found.losses] == [Outcome.DARK, Outcome.STUCK]


def test_a_unit_with_two_living_certificates_is_one_unit() -> None:
    twice = (*LIVING, issuance(FLEET[0], serial="77"))
    found = difference(policy(BOTH), policy(BOTH + NOTHING_CERTIFIED), twice, NOW)
    assert found.units == 9
    assert sum(effect.units for effect in found.effects) == 9


def test_examples_are_few_and_sorted() -> None:
    (effect,) = effects(BOTH, BOTH + '\n[[profile]]\nname = "device"\ncalendars = ["cnsa-2.0"]\n')
    assert effect.examples == tuple(P256[:EXAMPLES_MAX])


def test_certificates_are_taken_one_by_one() -> None:
    taken: list[str] = []

    def stream() -> object:
        for each in LIVING:
            taken.append(each.unit_serial)
            yield each

    difference(policy(BOTH), policy(BOTH), stream(), NOW)  # type: ignore[arg-type] # a generator without its type
    assert len(taken) == len(LIVING)


def test_the_moment_decides() -> None:
    later = MAKER + model("apdu", "withdrawn = 2027-01-01T00:00:00Z") + model("tpm")
    assert effects(BOTH, later) == ()
    assert effects(BOTH, later, NOW + timedelta(days=60))[0].finding == "evidence.model.withdrawn"


# --- what is written differently


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (MAKER + model("apdu"), [Change(Kind.REMOVED, "model", TPM.id)]),
        (
            MAKER + model("apdu", "withdrawn = 2027-01-01T00:00:00Z") + model("tpm"),
            [Change(Kind.CHANGED, "model", APDU.id, 'withdrawn: none -> "2027-01-01T00:00:00Z"')],
        ),
        (BOTH + '\n[[profile]]\nname = "device"\n', [Change(Kind.ADDED, "profile", "device")]),
        (f'denied_aks = ["{"0a" * 32}"]\n' + BOTH, [Change(Kind.ADDED, "denied_aks", "0a" * 32)]),
        (
            BOTH + f'\n[[denied_chip]]\nmaker = "{FORGE.maker.name}"\nserial = "AB12"\nreason = "lost"\n',
            [Change(Kind.ADDED, "denied_chip", f"{FORGE.maker.name} AB12")],
        ),
    ],
    ids=["removed", "changed", "profile", "list", "chip"],
)
def test_each_entry_that_differs_is_a_change(new: str, expected: list[Change]) -> None:
    assert list(changes(policy(BOTH), policy(new))) == expected


def test_the_certificates_in_a_trust_file_are_compared_one_by_one() -> None:
    other = f'[[maker]]\nname = "{OTHER.name}"\ntrust = "other.pem"\n'
    found = changes(policy(BOTH), policy(other + BOTH))
    assert [(change.kind, change.table) for change in found] == [
        (Kind.ADDED, "maker"),
        (Kind.ADDED, "anchor"),
        (Kind.ADDED, "intermediate"),
    ]
    assert "Jones root" in found[1].detail
