# SPDX-License-Identifier: Apache-2.0
"""A scanner at the rig: lines of a pseudo-terminal, as a serial scanner would send them."""

import os
import pty
import queue
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from birthmark.line.station.reader import ScanDevice

WAIT_S = 20.0


class Heard:
    """What a reader says, in the order in which it says it."""

    def __init__(self) -> None:
        self.scans = queue.Queue[str]()
        self.troubles = queue.Queue[str]()

    def scan(self) -> str:
        return self.scans.get(timeout=WAIT_S)

    def trouble(self) -> str:
        return self.troubles.get(timeout=WAIT_S)


@contextmanager
def scanner(link: Path) -> Iterator[int]:
    """A scanner whose device is at `link` as long as the block runs; yields what it types into."""
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    link.symlink_to(os.ttyname(theirs))
    try:
        yield ours
    finally:
        link.unlink()
        os.close(theirs)
        os.close(ours)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_each_line_is_a_scan_whatever_ends_it(tmp_path: Path, heard: Heard) -> None:
    with scanner(tmp_path / "scanner") as wire:
        with ScanDevice(str(tmp_path / "scanner"), heard.scans.put, heard.troubles.put).reading():
            os.write(wire, b"BM-000001\r\nBM-00")
            os.write(wire, b"0002\rBM:OP:\xff\n\n\x02BM-000003\n")
            assert [heard.scan() for _ in range(4)] == ["BM-000001", "BM-000002", "BM:OP:\ufffd", "\x02BM-000003"]
        assert heard.troubles.empty()


def test_what_never_ends_is_cut_and_takes_no_room(tmp_path: Path, heard: Heard) -> None:
    device = ScanDevice(str(tmp_path / "scanner"), heard.scans.put, heard.troubles.put)
    with scanner(tmp_path / "scanner") as wire, device.reading():
        for _ in range(20):
            os.write(wire, b"x" * 1000)
        os.write(wire, b"\nBM-000001\n")
        assert len(heard.scan()) < 3000
        assert heard.scan() == "BM-000001"


def test_a_scanner_that_is_pulled_out_is_told_and_found_again(tmp_path: Path, heard: Heard) -> None:
    link = tmp_path / "scanner"
    with ScanDevice(str(link), heard.scans.put, heard.troubles.put).reading():
        assert "No such file" in heard.trouble()
        with scanner(link) as wire:
            assert heard.trouble() == ""
            os.write(wire, b"BM-000001\n")
            assert heard.scan() == "BM-000001"
        assert str(link) in heard.trouble()
        with scanner(link) as wire:
            os.write(wire, b"BM-000002\n")
            assert heard.scan() == "BM-000002"


def test_a_scan_that_goes_wrong_is_not_the_end_of_the_scanner(
    tmp_path: Path, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def take(typed: str) -> None:
        heard.scans.put(typed)
        if typed == "boom":
            raise RuntimeError(typed)

    device = ScanDevice(str(tmp_path / "scanner"), take, heard.troubles.put)
    with scanner(tmp_path / "scanner") as wire, device.reading():
        os.write(wire, b"boom\nBM-000001\n")
        assert (heard.scan(), heard.scan()) == ("boom", "BM-000001")
    assert "nobody foresaw" in caplog.text
