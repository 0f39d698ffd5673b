# SPDX-License-Identifier: Apache-2.0
"""The appraisal policy at the CA: what it refuses at issuance and renewal, and what a change of it would do."""

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.ca.errors import Refused
from birthmark.core.config import parse
from birthmark.evidence.difference import Outcome
from birthmark.evidence.endorsements import Endorsements, EndorsementsFile, build
from birthmark.testing.forge import APDU, Chip, new_key
from support.ca_parts import CAParts, order, renewed

UNCERTIFIED = '\n[[profile]]\nname = "device-p256"\nminimum = { "CC" = "EAL4" }\n'
NO_P256 = '\n[[profile]]\nname = "device-p256"\ncalendars = ["cnsa-2.0"]\n'


def endorsements(parts: CAParts, more: str = "", content: bytes = b"") -> Endorsements:
    text = f"""
[[maker]]
name = "{parts.forge.maker.name}"
trust = "maker.pem"

[[model]]
id = "{APDU.id}"
hw_type = "{APDU.hw_type.dotted_string}"
maker = "{parts.forge.maker.name}"
certification = "none"
statement_types = ["{APDU.statement_type.dotted_string}"]
{more}
"""
    file = parse(EndorsementsFile, text, "endorsements.toml")
    return build(file, {"maker.pem": parts.forge.maker.trust_pem, "list.txt": content})


def put_in_force(parts: CAParts, policy: Endorsements) -> None:
    parts.policy = replace(parts.policy, endorsements=policy)
    parts.ca = parts.service(parts.store)


def delivery(parts: CAParts, *chips: Chip) -> tuple[str, bytes]:
    content = "".join(f"{chip.serial}\n" for chip in chips).encode()
    digest = hashlib.sha256(content).hexdigest()
    maker = parts.forge.maker.name
    return f'\n[[delivery]]\nmaker = "{maker}"\nfile = "list.txt"\nsha256 = "{digest}"\n', content


def test_a_chip_that_its_maker_never_delivered_is_refused_and_audited(parts: CAParts) -> None:
    board, stray = parts.board(), parts.board("BM-000002")
    put_in_force(parts, endorsements(parts, *delivery(parts, board.chip)))
    assert parts.born(board)
    with pytest.raises(Refused) as refused:
        parts.born(stray)
    assert (refused.value.status, refused.value.finding) == (403, "evidence.chip.undelivered")
    assert parts.last_audit()["finding"] == "evidence.chip.undelivered"
    assert parts.units_taken() == 1


@pytest.mark.parametrize(
    ("terms", "finding"),
    [(UNCERTIFIED, "evidence.certification.missing"), (NO_P256, "evidence.algorithm.ended")],
    ids=["certification", "calendar"],
)
def test_a_profile_whose_terms_the_chip_or_its_key_misses_is_not_issued(
    parts: CAParts, terms: str, finding: str
) -> None:
    put_in_force(parts, endorsements(parts, terms))
    with pytest.raises(Refused) as refused:
        parts.born(parts.board())
    assert (refused.value.status, refused.value.finding) == (403, finding)
    assert parts.last_audit()["finding"] == finding
    assert parts.states() == []
    assert parts.units_taken() == 0


def test_a_profile_with_terms_is_issued_to_a_key_that_meets_them(parts: CAParts) -> None:
    put_in_force(parts, endorsements(parts, NO_P256.replace("device-p256", "device-p384")))
    parts.put_order(order(id="order-p384", profile="device-p384"))
    board = replace(parts.board(), key=new_key(ec.SECP384R1()))
    assert parts.enrol(board.csr(parts.nonce(label="order-p384")), label="order-p384")


def test_a_renewal_is_refused_once_the_calendar_has_ended_its_algorithm(parts: CAParts) -> None:
    board = parts.board()
    certificate = parts.confirmed(board)
    put_in_force(parts, endorsements(parts, NO_P256))
    with pytest.raises(Refused) as refused:
        renewed(parts, board, certificate, new_key())
    assert refused.value.finding == "evidence.algorithm.ended"
    assert parts.states() == ["confirmed"]


def test_a_request_that_was_granted_before_the_change_gets_its_certificate_again(parts: CAParts) -> None:
    csr = parts.board().csr(parts.nonce())
    certificate = parts.enrol(csr)
    put_in_force(parts, endorsements(parts, UNCERTIFIED))
    assert parts.enrol(csr) == certificate


def test_the_administrator_learns_what_a_change_would_do_to_the_living(parts: CAParts) -> None:
    boards = [parts.board(f"BM-00000{number}") for number in range(1, 4)]
    certificates = [parts.confirmed(board) for board in boards]
    parts.administration.revoke(f"{certificates[2].serial_number:x}", "lost")
    old, new = endorsements(parts), endorsements(parts, *delivery(parts, boards[0].chip))
    found = parts.administration.policy_difference(old, new)
    assert found.units == 2
    assert [(effect.outcome, effect.finding, effect.units, effect.examples) for effect in found.effects] == [
        (Outcome.DARK, "evidence.chip.undelivered", 1, (boards[1].unit,))
    ]
    assert parts.states() == ["confirmed", "confirmed", "revoked"]


def test_an_expired_certificate_is_not_of_the_living(parts: CAParts) -> None:
    board = parts.board()
    parts.confirmed(board)
    parts.clock.forward(days=1826)
    assert parts.administration.policy_difference(endorsements(parts), endorsements(parts, UNCERTIFIED)).units == 0
