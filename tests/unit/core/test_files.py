# SPDX-License-Identifier: Apache-2.0
"""Files are there whole, or as they were."""

import errno
import os
from pathlib import Path

import pytest

from birthmark.core.config import FILE_MAX_BYTES, read_file
from birthmark.core.errors import ConfigError
from birthmark.core.files import PRIVATE_MODE, PUBLIC_MODE, write_whole


def test_a_file_is_written_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for content in (b"first", b"", b"third"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [PUBLIC_MODE, PRIVATE_MODE])
def test_a_file_has_its_mode_whatever_the_umask_and_the_file_before_it(tmp_path: Path, umask: int, mode: int) -> None:
    path, earlier = tmp_path / "unit.bundle", os.umask(umask)
    try:
        for before in (None, 0o666, 0o600):
            if before is not None:
                path.chmod(before)
            write_whole(path, b"content", mode)
            assert path.stat().st_mode & 0o777 == mode
    finally:
        os.umask(earlier)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"content"


def test_a_device_is_written_to_and_stays_a_device() -> None:
    with pytest.raises(OSError, match="No space left") as full:
        write_whole(Path("/dev/full"), b"content")
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, "/dev/full")
    assert Path("/dev/full").is_char_device()


def test_a_failure_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        write_whole(tmp_path / "no" / "report.json", b"content")
    assert missing.value.filename == str(tmp_path / "no" / "report.json")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_too_large_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match=f"/dev/zero: more than {FILE_MAX_BYTES} bytes"):
        read_file(Path("/dev/zero"))


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="not the name of a file"):
        read_file(Path("a\0b"))
