# SPDX-License-Identifier: Apache-2.0
import subprocess
from pathlib import Path

import pytest

from support.swtpm import swtpm


def tool(tcti: str, *command: str) -> bytes:
    return subprocess.run([*command, "--tcti", tcti], check=True, capture_output=True).stdout


def primary_name(tcti: str, directory: Path) -> bytes:
    tool(tcti, "tpm2_createprimary", "-C", "e", "-G", "ecc256", "-c", str(directory / "primary.ctx"))
    tool(tcti, "tpm2_readpublic", "-c", str(directory / "primary.ctx"), "-n", str(directory / "name"))
    return (directory / "name").read_bytes()


def test_two_new_tpms_have_different_seeds(tmp_path: Path) -> None:
    with swtpm() as one, swtpm() as other:
        assert primary_name(one, tmp_path) != primary_name(other, tmp_path)


def test_a_tpm_on_the_same_state_is_the_same_tpm(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with swtpm(state) as first:
        before = primary_name(first, tmp_path)
    with swtpm(state) as again:
        assert primary_name(again, tmp_path) == before


def test_a_tpm_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not start: swtpm"), swtpm(tmp_path / "absent"):
        pass
