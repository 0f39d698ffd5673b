# SPDX-License-Identifier: Apache-2.0
"""What a policy may say beyond makers and models: deliveries, denials, certifications, calendars; and its digest."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.config import parse
from birthmark.core.errors import ConfigError
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.eligibility import ineligible
from birthmark.evidence.endorsements import Endorsements, EndorsementsFile, build, key_fingerprint
from birthmark.evidence.policy.calendars import shipped_calendars
from birthmark.evidence.verdict import AttestedKey, require
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import ChipName, make_ak_ca, make_ak_certificate
from birthmark.testing.forge import APDU, TPM, Chip, Forge, new_key, spki
from support.crooked import MENDED, Flaw, crooked, pem, straight_root

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FORGE = Forge.at(NOW)
MAKER = FORGE.maker
NONCE = bytes(range(32))
KEY = new_key().public_key()

BASE = f"""
[[maker]]
name = "{MAKER.name}"
trust = "maker.pem"

[[model]]
id = "{APDU.id}"
hw_type = "{APDU.hw_type.dotted_string}"
maker = "{MAKER.name}"
certification = "CC EAL6+"
statement_types = ["{APDU.statement_type.dotted_string}"]
"""
OTHER_MODEL = f"""
[[model]]
id = "{TPM.id}"
hw_type = "{TPM.hw_type.dotted_string}"
maker = "{MAKER.name}"
certification = "none"
statement_types = ["{TPM.statement_type.dotted_string}"]
"""


def policy(text: str, **files: bytes) -> Endorsements:
    content = {name.replace("_", "."): each for name, each in files.items()}
    return build(parse(EndorsementsFile, text, "endorsements.toml"), {"maker.pem": MAKER.trust_pem, **content})


def findings(chip: Chip, endorsements: Endorsements, at: datetime = NOW) -> list[str]:
    bundle = chip.bundle(chip.attest(KEY, NONCE))
    return [finding.id for finding in appraise(bundle, spki(KEY), endorsements, at).findings]


# --- deliveries


def delivery(content: bytes, *, model: str | None = None, file: str = "list.txt") -> str:
    of = f'model = "{model}"\n' if model else ""
    digest = hashlib.sha256(content).hexdigest()
    return f'\n[[delivery]]\nmaker = "{MAKER.name}"\n{of}file = "{file}"\nsha256 = "{digest}"\n'


def manifest(*chips: Chip) -> bytes:
    return b"# delivered 2026-10-01\n\n" + "".join(f"{chip.serial}\n" for chip in chips).encode()


@pytest.mark.parametrize("model", [None, APDU.id], ids=["of the maker", "of the model"])
def test_a_chip_that_is_on_no_delivery_manifest_is_refused(model: str | None) -> None:
    delivered, stray = MAKER.chip(), MAKER.chip()
    content = manifest(delivered)
    endorsements = policy(BASE + delivery(content, model=model), list_txt=content)
    assert findings(delivered, endorsements) == []
    assert findings(stray, endorsements) == ["evidence.chip.undelivered"]


def test_a_manifest_of_one_model_says_nothing_of_another() -> None:
    content = manifest(MAKER.chip())
    endorsements = policy(BASE + OTHER_MODEL + delivery(content, model=APDU.id), list_txt=content)
    assert findings(MAKER.chip(TPM), endorsements) == []


def test_a_chip_on_any_of_several_manifests_was_delivered() -> None:
    first, second = MAKER.chip(), MAKER.chip()
    contents = {"a.txt": manifest(first), "b.txt": manifest(second)}
    tables = delivery(contents["a.txt"], file="a.txt") + delivery(contents["b.txt"], model=APDU.id, file="b.txt")
    endorsements = policy(BASE + tables, a_txt=contents["a.txt"], b_txt=contents["b.txt"])
    assert [findings(chip, endorsements) for chip in (first, second)] == [[], []]
    assert findings(MAKER.chip(), endorsements) == ["evidence.chip.undelivered"]


def test_an_empty_manifest_means_that_nothing_was_delivered() -> None:
    endorsements = policy(BASE + delivery(b""), list_txt=b"")
    assert findings(MAKER.chip(), endorsements) == ["evidence.chip.undelivered"]


@pytest.mark.parametrize(
    ("content", "said", "problem"),
    [
        (b"0011223344556677\n", b"0011223344556678\n", "SHA-256"),
        (b"0011223344556677\n0011223344556677\n", None, "line 2: 0011223344556677 stands there twice"),
        (b"0011223344556677\nno serial!\n", None, "line 2: .*no serial!"),
        (b"\xff\n", None, "UTF-8"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_one_clear_error(content: bytes, said: bytes | None, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        policy(BASE + delivery(said or content), list_txt=content)


# --- denials


def test_a_denied_chip_is_refused_and_its_neighbour_is_not() -> None:
    denied, other = MAKER.chip(), MAKER.chip()
    table = f'\n[[denied_chip]]\nmaker = "{MAKER.name}"\nserial = "{denied.serial}"\nreason = "stolen"\n'
    endorsements = policy(BASE + table)
    assert findings(denied, endorsements) == ["evidence.chip.denied"]
    assert findings(other, endorsements) == []


def test_a_denied_ak_ca_is_refused_though_its_root_is_endorsed() -> None:
    second = make_ak_ca(MAKER.root, "second AK CA", new_key(), NOW)
    denying = f'denied_ak_cas = ["{key_fingerprint(MAKER.ak_ca.certificate)}"]\n' + BASE
    endorsements = policy(denying)
    assert findings(MAKER.chip(), endorsements) == ["evidence.ak.ca-denied"]
    ak, name = new_key(), ChipName("0011223344556677", APDU.hw_type)
    good = Chip(APDU, name.serial, make_ak_certificate(second, name, ak.public_key(), NOW), ak)
    bundle = good.bundle(good.attest(KEY, NONCE), second.certificate)
    assert require(appraise(bundle, spki(KEY), endorsements, NOW)).chip.serial == name.serial


def test_a_denied_ak_ca_stays_denied_under_another_certificate_for_its_key() -> None:
    again = make_ak_ca(MAKER.root, "another name", MAKER.ak_ca.key, NOW)
    endorsements = policy(f'denied_ak_cas = ["{key_fingerprint(again.certificate)}"]\n' + BASE)
    assert findings(MAKER.chip(), endorsements) == ["evidence.ak.ca-denied"]


def test_a_denied_root_takes_all_that_hangs_under_it() -> None:
    endorsements = policy(f'denied_ak_cas = ["{key_fingerprint(MAKER.root.certificate)}"]\n' + BASE)
    assert findings(MAKER.chip(), endorsements) == ["evidence.ak.ca-denied"]


# --- firmware


@pytest.mark.parametrize(
    ("minimum", "refused"),
    [("1.2", False), ("1.2.3", False), ("1.2.3.0", False), ("1.2.4", True), ("1.10", True), ("2", True)],
)
def test_firmware_below_the_minimum_is_refused(minimum: str, refused: bool) -> None:  # noqa: FBT001 a table's column
    chip = MAKER.chip()
    says = replace(chip.pkix_says(KEY, NONCE), firmware="1.2.3")
    endorsements = policy(BASE + f'minimum_firmware = "{minimum}"\n')
    verdict = appraise(chip.bundle(chip.state(says)), spki(KEY), endorsements, NOW)
    assert [finding.id for finding in verdict.findings] == (["evidence.firmware.minimum"] if refused else [])


def test_firmware_that_cannot_be_compared_is_not_known_to_be_new_enough() -> None:
    chip = MAKER.chip()
    says = replace(chip.pkix_says(KEY, NONCE), firmware="latest")
    verdict = appraise(chip.bundle(chip.state(says)), spki(KEY), policy(BASE + 'minimum_firmware = "1"\n'), NOW)
    assert [finding.id for finding in verdict.findings] == ["evidence.firmware.minimum"]


# --- certifications


def certification(
    *,
    name: str = "cc",
    scheme: str = "CC",
    level: str = "EAL6+",
    status: str = "valid",
    expires: str = "",
) -> str:
    end = f"expires = {expires}\n" if expires else ""
    return f"""
[[certification]]
id = "{name}"
scheme = "{scheme}"
certificate = "BSI-DSZ-CC-0000"
product = "a chip"
level = "{level}"
status = "{status}"
{end}looked_up = 2026-11-01
source = "https://example.org/certificates"
"""


def attested(endorsements: Endorsements, key: ec.EllipticCurvePublicKey = KEY) -> AttestedKey:
    chip = MAKER.chip()
    return require(appraise(chip.bundle(chip.attest(key, NONCE)), spki(key), endorsements, NOW))


def eligible(endorsements: Endorsements, at: datetime = NOW, key: ec.EllipticCurvePublicKey = KEY) -> list[str]:
    return [finding.id for finding in ineligible(attested(endorsements, key), "device", endorsements, at)]


HAS_CC = BASE + 'certifications = ["cc"]\n'
DEMANDS_CC = '\n[[profile]]\nname = "device"\nminimum = { "CC" = "EAL5" }\n'


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (HAS_CC + certification() + DEMANDS_CC, None),
        (HAS_CC + certification(expires="2026-11-23") + DEMANDS_CC, None),
        (HAS_CC + certification(expires="2026-11-22") + DEMANDS_CC, "expired"),
        (HAS_CC + certification(status="historical") + DEMANDS_CC, "historical"),
        (HAS_CC + certification(status="historical") + DEMANDS_CC + "accept_historical = true\n", None),
        (HAS_CC + certification(level="EAL4+") + DEMANDS_CC, "level"),
        (HAS_CC + certification(level="EAL5") + DEMANDS_CC.replace("EAL5", "EAL5+"), "level"),
        (HAS_CC + certification(scheme="FIPS 140-3", level="3") + DEMANDS_CC, "missing"),
        (BASE + DEMANDS_CC, "missing"),
        (BASE + DEMANDS_CC.replace('"device"', '"another"'), None),
        (HAS_CC + certification(status="historical"), None),
    ],
)
def test_a_profile_is_issued_only_to_chips_with_the_certification_that_it_demands(
    text: str, finding: str | None
) -> None:
    expected = [f"evidence.certification.{finding}"] if finding else []
    assert eligible(policy(text)) == expected


def test_of_several_certifications_one_is_enough() -> None:
    both = BASE + 'certifications = ["cc", "fips"]\n' + certification(status="revoked")
    fips = certification(name="fips", scheme="FIPS 140-3", level="2")
    demand = '\n[[profile]]\nname = "device"\nminimum = { "CC" = "EAL5", "FIPS 140-3" = "%s" }\n'
    assert eligible(policy(both + fips + demand % "2")) == []
    assert eligible(policy(both + fips + demand % "3")) == ["evidence.certification.level"]


def test_a_model_whose_every_certification_is_revoked_is_refused_by_everyone() -> None:
    assert findings(MAKER.chip(), policy(HAS_CC + certification(status="revoked"))) == [
        "evidence.certification.revoked"
    ]


def test_a_certification_that_expires_leaves_living_devices_alone() -> None:
    endorsements = policy(HAS_CC + certification(expires="2020-01-01") + DEMANDS_CC)
    assert findings(MAKER.chip(), endorsements) == []


# --- calendars


@pytest.mark.parametrize(
    ("profile", "algorithm", "day", "refused"),
    [
        ('calendars = ["nist-ir-8547"]', KeyAlgorithm.P256, date(2035, 12, 31), False),
        ('calendars = ["nist-ir-8547"]', KeyAlgorithm.P256, date(2036, 1, 1), True),
        ('calendars = ["nist-ir-8547"]\nmargin_days = 1825', KeyAlgorithm.P384, date(2031, 1, 1), False),
        ('calendars = ["nist-ir-8547"]\nmargin_days = 1825', KeyAlgorithm.P384, date(2031, 1, 2), True),
        ('calendars = ["nist-ir-8547"]', KeyAlgorithm.MLDSA65, date(2060, 1, 1), False),
        ('calendars = ["cnsa-2.0"]', KeyAlgorithm.P256, date(2026, 1, 1), True),
        ('calendars = ["cnsa-2.0"]', KeyAlgorithm.P384, date(2032, 12, 31), False),
        ('calendars = ["cnsa-2.0"]', KeyAlgorithm.MLDSA65, date(2026, 1, 1), True),
        ('calendars = ["cnsa-2.0"]', KeyAlgorithm.MLDSA87, date(2060, 1, 1), False),
        ('calendars = ["bsi-tr-02102"]', KeyAlgorithm.P256, date(2035, 12, 31), False),
        ('calendars = ["bsi-tr-02102", "cnsa-2.0"]', KeyAlgorithm.P384, date(2033, 1, 1), True),
        ("", KeyAlgorithm.P256, date(2060, 1, 1), False),
        (
            'algorithm = [{ name = "P-256", last_issue = 2027-06-30, source = "decision 12" }]',
            KeyAlgorithm.P256,
            date(2027, 7, 1),
            True,
        ),
    ],
)
def test_an_algorithm_is_issued_until_the_earliest_day_of_its_calendars(
    profile: str,
    algorithm: KeyAlgorithm,
    day: date,
    refused: bool,  # noqa: FBT001 a table's column
) -> None:
    terms = policy(BASE + f'\n[[profile]]\nname = "device"\n{profile}\n').terms("device")
    assert (terms.schedule.refusal(algorithm, day) is not None) == refused


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2035, 12, 31, 23, 59, tzinfo=UTC), []),
        (datetime(2036, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), []),
        (datetime(2036, 1, 1, tzinfo=UTC), ["evidence.algorithm.ended"]),
    ],
)
def test_days_are_those_of_utc(at: datetime, expected: list[str]) -> None:
    assert eligible(policy(BASE + '\n[[profile]]\nname = "device"\ncalendars = ["nist-ir-8547"]\n'), at) == expected


def test_the_key_that_was_attested_decides() -> None:
    endorsements = policy(BASE + '\n[[profile]]\nname = "device"\ncalendars = ["cnsa-2.0"]\n')
    assert eligible(endorsements) == ["evidence.algorithm.ended"]
    assert eligible(endorsements, key=new_key(ec.SECP384R1()).public_key()) == []


def test_the_reason_names_its_source() -> None:
    endorsements = policy(BASE + '\n[[profile]]\nname = "device"\ncalendars = ["cnsa-2.0"]\n')
    (finding,) = ineligible(attested(endorsements), "device", endorsements, NOW)
    assert "CNSA 2.0 (FAQ 2.1, December 2024)" in finding.detail


def test_a_key_that_nobody_certifies_is_none_for_a_calendar() -> None:
    endorsements = policy(BASE + '\n[[profile]]\nname = "device"\ncalendars = ["cnsa-2.0"]\n')
    (finding,) = ineligible(replace(attested(endorsements), spki=b"\x30\x00"), "device", endorsements, NOW)
    assert finding.id == "evidence.algorithm.unknown"


def test_the_shipped_calendars_name_their_sources_and_known_algorithms_alone() -> None:
    known = {algorithm.value for algorithm in KeyAlgorithm}
    assert [calendar.name for calendar in shipped_calendars()] == ["nist-ir-8547", "cnsa-2.0", "bsi-tr-02102"]
    for calendar in shipped_calendars():
        assert calendar.url.startswith("https://")
        assert {algorithm.name for algorithm in calendar.algorithm} <= known
        assert all(algorithm.source for algorithm in calendar.algorithm)


def test_a_policy_may_bring_a_calendar_of_its_own() -> None:
    own = """
[[calendar]]
name = "acme"
title = "Acme crypto policy 7"
url = "https://acme.example/crypto"
algorithm = [{ name = "P-256", last_use = 2026-11-22, source = "§3" }]

[[profile]]
name = "device"
calendars = ["acme"]
"""
    assert eligible(policy(BASE + own)) == ["evidence.algorithm.ended"]


# --- anchors


def chip_of(root_flaw: Flaw) -> tuple[Chip, bytes]:
    root = straight_root(NOW)
    ak_ca = make_ak_ca(root, "Crooked AK CA", new_key(), NOW)
    ak, name = new_key(), ChipName("0011223344556677", APDU.hw_type)
    chip = Chip(APDU, name.serial, make_ak_certificate(ak_ca, name, ak.public_key(), NOW), ak)
    return chip, pem(crooked(root, root_flaw)) + ak_ca.certificate.public_bytes(Encoding.PEM)


@pytest.mark.parametrize("flaw", MENDED, ids=lambda flaw: flaw.__name__)
def test_a_chip_under_a_root_that_is_not_canonical_is_endorsed_and_the_policy_says_so(flaw: Flaw) -> None:
    chip, trust = chip_of(flaw)
    endorsements = build(parse(EndorsementsFile, BASE, "endorsements.toml"), {"maker.pem": trust})
    assert findings(chip, endorsements) == []
    assert findings(chip, endorsements) == []  # and once more through the proven intermediate
    assert [notice.finding for notice in endorsements.notices] == ["pki.anchor.non-canonical"]


def test_a_ca_may_be_an_anchor_without_its_root() -> None:
    text = BASE.replace('trust = "maker.pem"', 'anchors = "anchors.pem"')
    endorsements = policy(text, anchors_pem=MAKER.ak_ca.certificate.public_bytes(Encoding.PEM))
    assert findings(MAKER.chip(), endorsements) == []
    assert endorsements.trust.certs == (MAKER.ak_ca.certificate,)


def test_the_roots_and_intermediates_of_all_tpm_makers_make_one_policy() -> None:
    vectors = Path(__file__).parents[2] / "vectors" / "tpm-roots"
    text = BASE.replace('trust = "maker.pem"', 'trust = "intermediates.pem"\nanchors = "roots.pem"')
    files = {f"{name}_pem": (vectors / f"{name}.pem").read_bytes() for name in ("roots", "intermediates")}
    endorsements = policy(text, **files)
    assert (len(endorsements.trust.certs), len(endorsements.trust.intermediates)) == (26 + 1, 143)
    assert sorted({notice.finding for notice in endorsements.notices}) == [
        "pki.anchor.non-canonical",
        "pki.anchor.respelled",
    ]
    assert findings(MAKER.chip(), endorsements) == ["evidence.ak.unendorsed"]


# --- the digest


def test_the_digest_is_of_the_meaning_and_not_of_the_spelling() -> None:
    spaced = "# reviewed by two\n" + BASE.replace(" = ", "   =   ")
    assert policy(spaced).digest == policy(BASE).digest
    assert len(policy(BASE).digest) == 64


def changed() -> Iterator[tuple[str, dict[str, bytes]]]:
    one, two = b"0011223344556677\n", b"0011223344556677\n0011223344556678\n"
    yield BASE + "withdrawn = 2030-01-01T00:00:00Z\n", {}
    yield BASE + OTHER_MODEL, {}
    yield BASE, {"maker.pem": MAKER.trust_pem + b"# a word more\n"}
    yield BASE + delivery(one), {"list.txt": one}
    yield BASE + delivery(two), {"list.txt": two}
    yield BASE + '\n[[profile]]\nname = "device"\n', {}
    yield BASE + '\n[[profile]]\nname = "device"\ncalendars = ["cnsa-2.0"]\n', {}


def test_every_change_of_the_policy_or_of_a_file_that_it_names_changes_the_digest() -> None:
    digests = [policy(BASE).digest]
    for text, content in changed():
        file = parse(EndorsementsFile, text, "endorsements.toml")
        digests.append(build(file, {"maker.pem": MAKER.trust_pem, **content}).digest)
    assert len(set(digests)) == len(digests)


# --- files that cannot be meant


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BASE.replace('trust = "maker.pem"', ""), "neither `trust` nor `anchors`"),
        (BASE + 'minimum_firmware = "new"\n', "numbers with dots"),
        (BASE + 'certifications = ["cc"]\n', "no certification 'cc'"),
        (BASE + certification(level="EAL8"), "not a level of CC"),
        (BASE + certification(scheme="FIPS 140-3", level="EAL4"), "not a level of FIPS 140-3"),
        (BASE + certification(scheme="ISO"), "scheme"),
        (BASE + certification(status="fine"), "status"),
        (BASE + certification() + certification(), "'cc' stands there twice"),
        (BASE + delivery(b"").replace(MAKER.name, "Nobody"), "not there"),
        (BASE + delivery(b"", model="unknown"), "not there"),
        (BASE + delivery(b"") + delivery(b""), "stands there twice"),
        (BASE + delivery(b"", file="gone.txt"), "no gone.txt"),
        (BASE + '\n[[denied_chip]]\nmaker = "Nobody"\nserial = "1"\nreason = "x"\n', "Nobody"),
        (BASE + '\n[[profile]]\nname = "device"\ncalendars = ["mayan"]\n', "no calendar 'mayan'"),
        (BASE + '\n[[profile]]\nname = "device"\n' * 2, "profile stands there twice"),
        (BASE + '\n[[profile]]\nname = "device"\nmargin_days = -1\n', "margin_days"),
        (BASE + '\n[[profile]]\nname = "device"\nminimum = { "CC" = "high" }\n', "not a level"),
        (
            BASE + '\n[[profile]]\nname = "d"\nalgorithm = [{ name = "RSA", last_issue = 2030-01-01, source = "x" }]\n',
            "no algorithm 'RSA'",
        ),
        (
            BASE + '\n[[calendar]]\nname = "cnsa-2.0"\ntitle = "x"\nurl = "x"\nalgorithm = []\n',
            "comes with the program",
        ),
        ('denied_ak_cas = ["00"]\n' + BASE, "denied_ak_cas"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_one_clear_error(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        policy(text, list_txt=b"")
