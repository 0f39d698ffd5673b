# SPDX-License-Identifier: Apache-2.0
"""What the administrator does: revocation, denial, and the two listings. All of it is audited."""

import pytest

from birthmark.ca.errors import Refused
from birthmark.core.issuance import ChipID
from birthmark.pki.crl import read_crl
from support.ca_parts import ORDER, UNIT, CAParts


def acts(parts: CAParts) -> list[tuple[str, str]]:
    return [(row["who"], row["act"]) for row in parts.administration.audit()]


def test_every_change_is_audited(parts: CAParts) -> None:
    certificate = parts.born(parts.board())
    parts.administration.revoke(f"{certificate.serial_number:x}", "scrapped")
    parts.administration.deny_chip(ChipID("Smith", "0123456789ABCDEF"), "lost")
    administrator = [act for who, act in acts(parts) if who == "administrator"]
    assert administrator == ["revoke", "deny"]


def test_a_revocation_counts_from_now_and_says_why(parts: CAParts) -> None:
    certificate = parts.confirmed(parts.board())
    parts.administration.revoke(f"{certificate.serial_number:x}", "stolen from the van")
    row = parts.last_audit()
    assert (row["unit"], row["order"]) == (UNIT, ORDER)
    assert "stolen from the van" in row["detail"]
    crl = read_crl(parts.crl(), parts.forge.issuing.certificate, parts.clock())
    assert crl.serials == {certificate.serial_number}


def test_a_second_revocation_does_not_move_the_first(parts: CAParts) -> None:
    certificate = parts.confirmed(parts.board())
    parts.administration.revoke(f"{certificate.serial_number:x}", "stolen")
    first = parts.issuance(certificate)["dies"]
    parts.clock.forward(days=1)
    parts.administration.revoke(f"{certificate.serial_number:x}", "stolen, again")
    assert parts.issuance(certificate)["dies"] == first


@pytest.mark.parametrize("serial", ["", "40", "not hexadecimal", "0" * 200])
def test_an_unknown_serial_is_not_revoked(parts: CAParts, serial: str) -> None:
    with pytest.raises(Refused) as refused:
        parts.administration.revoke(serial, "why not")
    assert refused.value.finding == "ca.certificate.unknown"


def test_the_listing_says_what_became_of_each_certificate(parts: CAParts) -> None:
    board = parts.board()
    certificate = parts.confirmed(board)
    (row,) = parts.administration.certificates()
    assert row["serial"] == f"{certificate.serial_number:x}"
    assert (row["unit_serial"], row["chip_serial"], row["chip_model"]) == (UNIT, board.chip.serial, "optiga-trust-m")
    assert (row["state"], row["order"], row["dies"]) == ("confirmed", ORDER, "")
    assert row["issued"] == row["confirmed"] == "2026-11-23T12:00:00.000+00:00"
