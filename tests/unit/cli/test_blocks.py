# SPDX-License-Identifier: Apache-2.0
"""What `birthmark ca audit` and `birthmark ca certificates` print fits a terminal of 80 columns."""

from birthmark.cli.blocks import WIDTH, certificate_block, decision_block
from support.ca_parts import CAParts

STRANGER = "unverified:CN=" + "x" * 200 + "\x1b[31m\n"


def lived() -> CAParts:
    parts = CAParts()
    certificate = parts.confirmed(parts.board())
    parts.administration.revoke(parts.issuance(certificate)["serial"], "stolen from the warehouse " * 8)
    return parts


def test_no_line_is_wider_than_a_terminal_and_nothing_is_left_out() -> None:
    parts = lived()
    for render, rows in (
        (decision_block, list(parts.administration.audit())),
        (certificate_block, list(parts.administration.certificates())),
    ):
        for row in rows:
            block = render(row)
            assert max(map(len, block.splitlines())) <= WIDTH == 80
            plain = " ".join(block.split())
            assert [value for value in row.values() if " ".join(value.split()) not in plain] == []


def test_a_decision_tells_when_about_what_and_how_it_ended_on_its_head_line() -> None:
    row = lived().last_audit()
    head, *others = decision_block(row).splitlines()
    assert head == f"{row['at']}  BM-000001  revoke  granted"
    assert others[0] == "  who         administrator"
    refused = decision_block(row | {"finding": "ca.8.quota"})
    assert refused.startswith(f"{row['at']}  BM-000001  revoke  refused: ca.8.quota\n")


def test_what_a_stranger_called_itself_cannot_move_the_terminal() -> None:
    block = decision_block(lived().last_audit() | {"who": STRANGER})
    assert max(map(len, block.splitlines())) <= WIDTH
    assert all(each.isprintable() for line in block.splitlines() for each in line)


def test_a_certificate_tells_unit_serial_and_state_on_its_head_line() -> None:
    parts = lived()
    (row,) = parts.administration.certificates()
    assert certificate_block(row).splitlines()[0] == f"BM-000001  {row['serial']}  revoked"
