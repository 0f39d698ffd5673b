# SPDX-License-Identifier: Apache-2.0
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tpm2_pytss.constants import ESYS_TR

from birthmark.silicon.errors import ChipAbsent, ChipRefused
from birthmark.silicon.tpm2 import nvram
from birthmark.silicon.tpm2.connection import Connection
from birthmark.silicon.tpm2.layout import AK_CERTIFICATE_INDEX, AK_HANDLE
from birthmark.silicon.tpm2.provision import provision, read_ak_certificate
from birthmark.silicon.tpm2.structures import spki_of
from support.swtpm import swtpm
from support.tpm import ak_certificate

CLEAR = False


@pytest.fixture
def tcti() -> Iterator[str]:
    with swtpm() as tcti:
        yield tcti


def never(_spki: bytes) -> bytes:
    raise AssertionError("the TPM has its certificate")


def ak_spki(tcti: str) -> bytes:
    with closing(Connection(tcti)) as connection, connection.opened(AK_HANDLE) as ak:
        return spki_of(connection.public_area(ak))


def test_a_tpm_keeps_the_certificate_that_it_was_given(tcti: str) -> None:
    assert read_ak_certificate(tcti) is None
    certificate = provision(tcti, ak_certificate)
    assert read_ak_certificate(tcti) == certificate
    assert provision(tcti, never) == certificate


def test_standard_tools_read_the_certificate(tcti: str) -> None:
    certificate = provision(tcti, ak_certificate)
    command = ["tpm2_nvread", "--tcti", tcti, hex(AK_CERTIFICATE_INDEX)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == certificate


@pytest.mark.parametrize("hierarchy", [ESYS_TR.OWNER, ESYS_TR.PLATFORM])
def test_nobody_overwrites_it(tcti: str, hierarchy: ESYS_TR) -> None:
    provision(tcti, ak_certificate)
    with (
        closing(Connection(tcti)) as connection,
        connection.opened(AK_CERTIFICATE_INDEX) as index,
        pytest.raises(ChipRefused),
    ):
        connection.command("nv_write", index, b"other", auth_handle=hierarchy)


def test_the_owner_does_not_remove_it(tcti: str) -> None:
    certificate = provision(tcti, ak_certificate)
    with closing(Connection(tcti)) as connection, pytest.raises(ChipRefused):
        nvram.delete_object(connection, AK_CERTIFICATE_INDEX)
    assert read_ak_certificate(tcti) == certificate


def test_the_owners_clear_takes_the_key_and_provisioning_brings_the_same_one_back(tcti: str) -> None:
    certificate = provision(tcti, ak_certificate)
    before = ak_spki(tcti)
    with closing(Connection(tcti)) as connection:
        connection.command("clear", ESYS_TR.LOCKOUT)
        assert not connection.exists(AK_HANDLE)
    assert provision(tcti, never) == certificate
    assert ak_spki(tcti) == before


def test_a_certificate_that_was_not_locked_is_not_there_and_is_replaced(tcti: str) -> None:
    with closing(Connection(tcti)) as connection:
        index = nvram._define(connection, AK_CERTIFICATE_INDEX, nvram._MAKERS, 4, ESYS_TR.PLATFORM)
        connection.command("nv_write", index, b"half", auth_handle=ESYS_TR.PLATFORM)
    assert read_ak_certificate(tcti) is None
    certificate = provision(tcti, ak_certificate)
    assert read_ak_certificate(tcti) == certificate


def test_a_closed_platform_hierarchy_refuses_and_nothing_is_half_done(tcti: str) -> None:
    with closing(Connection(tcti)) as connection:
        connection.command("hierarchy_control", ESYS_TR.PLATFORM, ESYS_TR.PLATFORM, CLEAR)
    with pytest.raises(ChipRefused):
        provision(tcti, ak_certificate)
    assert read_ak_certificate(tcti) is None


def test_no_tpm_is_absent(tmp_path: Path) -> None:
    with pytest.raises(ChipAbsent):
        provision(f"swtpm:path={tmp_path}/s", ak_certificate)
