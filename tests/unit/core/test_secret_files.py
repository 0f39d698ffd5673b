# SPDX-License-Identifier: Apache-2.0
"""Files with secrets are read when nobody but their owner may read them."""

from pathlib import Path

import pytest

from birthmark.core.errors import ConfigError
from birthmark.core.secret_files import SECRET_MAX_BYTES, demand_private, read_secret


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"pin", b"pin"), (b"pin\n", b"pin"), (b"p n\r\n", b"p n"), (b"x" * SECRET_MAX_BYTES, b"x" * SECRET_MAX_BYTES)],
)
def test_a_secret_is_what_stands_before_the_line_end(tmp_path: Path, content: bytes, secret: bytes) -> None:
    assert read_secret(written(tmp_path / "pin", content)) == secret


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "pin", b"pin", mode)
    demand_private(path)
    assert read_secret(path) == b"pin"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601, 0o620])
def test_a_file_that_others_can_open_is_refused_with_its_mode(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "pin", b"pin", mode)
    for reading in (read_secret, demand_private):
        with pytest.raises(ConfigError, match=f"mode {mode:04o} lets others") as refused:
            reading(path)
        assert refused.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * (SECRET_MAX_BYTES + 1), b"x" * (SECRET_MAX_BYTES + 3)])
def test_an_empty_or_endless_secret_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError) as refused:
        read_secret(written(tmp_path / "pin", content))
    assert "xx" not in str(refused.value)


@pytest.mark.parametrize("name", ["missing", "", "nul\0"])
def test_what_is_no_readable_file_is_refused(tmp_path: Path, name: str) -> None:
    for reading in (read_secret, demand_private):
        with pytest.raises(ConfigError):
            reading(tmp_path / name)
