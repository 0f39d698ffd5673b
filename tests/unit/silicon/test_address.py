# SPDX-License-Identifier: Apache-2.0
"""Addresses of chips in configuration files."""

from pathlib import Path

import pytest

from birthmark.core.errors import ConfigError
from birthmark.silicon.address import check_address, open_chip
from birthmark.silicon.errors import ChipAbsent
from birthmark.silicon.tpm2.chip import TPM2Chip

WRONG = [
    "",
    "apdu",
    "apdu:unix=",
    "apdu:i2c=/dev/i2c-1",
    "tpm:",
    "tpm:swtpm:",
    "tpm:device:",
    "tpm:mssim:",
    "/dev/tpmrm0",
]


@pytest.mark.parametrize("address", WRONG)
def test_a_text_that_is_no_address_is_refused_with_the_forms_that_are(address: str) -> None:
    with pytest.raises(ConfigError, match="apdu:unix=/path"):
        open_chip(address)
    with pytest.raises(ConfigError, match="apdu:unix=/path"):
        check_address(address)


@pytest.mark.parametrize("address", ["smp:serial=/dev/ttyNONE", "smp:udp=192.0.2.7:1337", "tpm:device:/dev/none"])
def test_an_address_is_looked_at_without_what_it_names(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", ["smp:", "smp:serial=ttyACM0", "smp:udp=192.0.2.7", "smp:udp=192.0.2.7:65536"])
def test_a_board_that_is_named_nowhere_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="smp:"):
        check_address(address)


def test_a_bus_that_nobody_serves_is_an_absent_chip(tmp_path: Path) -> None:
    with pytest.raises(ChipAbsent, match="no simulated bus"):
        open_chip(f"apdu:unix={tmp_path / 'bus'}")


@pytest.mark.parametrize("address", ["tpm:swtpm:path=/run/tpm/s", "tpm:device:/dev/tpmrm0"])
def test_the_address_of_a_tpm_opens_a_tpm(address: str) -> None:
    assert isinstance(open_chip(address), TPM2Chip)
