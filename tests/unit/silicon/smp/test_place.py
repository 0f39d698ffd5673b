# SPDX-License-Identifier: Apache-2.0
"""Addresses of boards."""

from pathlib import Path

import pytest

from birthmark.core.errors import ConfigError
from birthmark.silicon.address import open_chip
from birthmark.silicon.errors import ChipAbsent
from birthmark.silicon.smp.place import Place, SerialPlace, UDPPlace, read_place

PLACES = {
    "serial=/dev/ttyACM0": SerialPlace("/dev/ttyACM0", 115_200),
    "serial=/dev/serial/by-id/usb-ACME_7-if00,baud=921600": SerialPlace("/dev/serial/by-id/usb-ACME_7-if00", 921_600),
    "udp=192.0.2.7:1337": UDPPlace("192.0.2.7", 1337),
    "udp=board-7.line.example:65535": UDPPlace("board-7.line.example", 65535),
    "udp=[2001:db8::7]:1337": UDPPlace("2001:db8::7", 1337),
}
WRONG = [
    "",
    "serial=",
    "serial=ttyACM0",
    "serial=/dev/ttyACM0,",
    "serial=/dev/ttyACM0,baud=0",
    "serial=/dev/ttyACM0,baud=fast",
    "serial=/dev/ttyACM0,parity=N",
    "udp=",
    "udp=192.0.2.7",
    "udp=192.0.2.7:0",
    "udp=192.0.2.7:65536",
    "udp=2001:db8::7:1337",
    "tcp=192.0.2.7:1337",
]


@pytest.mark.parametrize("text", PLACES)
def test_a_place_is_read(text: str) -> None:
    place: Place = PLACES[text]
    assert read_place(text) == place


@pytest.mark.parametrize("text", WRONG)
def test_a_text_that_names_no_place_is_refused_with_the_forms_that_do(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        open_chip(f"smp:{text}")
    assert "smp:udp=HOST:PORT" in refused.value.hint


def test_a_port_that_is_not_there_is_an_absent_chip(tmp_path: Path) -> None:
    with pytest.raises(ChipAbsent, match="no such port"):
        open_chip(f"smp:serial={tmp_path}/tty")


def test_a_file_that_is_no_port_is_an_absent_chip(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ChipAbsent, match="it is no port"):
        open_chip(f"smp:serial={tmp_path}/file")


def test_a_host_that_has_no_address_is_an_absent_chip() -> None:
    with pytest.raises(ChipAbsent):
        open_chip("smp:udp=no.such.host.invalid:1337")


def test_a_network_where_nobody_answers_is_an_absent_chip() -> None:
    with pytest.raises(ChipAbsent, match=r"nobody answers at 127\.0\.0\.1:9"):
        open_chip("smp:udp=127.0.0.1:9")
