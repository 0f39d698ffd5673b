# SPDX-License-Identifier: Apache-2.0
"""Where a chip is, as one line of configuration."""

from pathlib import Path

from birthmark.core.errors import ConfigError
from birthmark.silicon.apdu.driver import APDUChip
from birthmark.silicon.bus.i2c import SimulatedI2C
from birthmark.silicon.port import SecureElement
from birthmark.silicon.smp.place import read_place

_SIMULATED = "apdu:unix="
_TPM_SOFTWARE = "tpm:swtpm:"
_TPM_DEVICE = "tpm:device:"
_BOARD = "smp:"
_FORMS = (
    "apdu:unix=/path/to/socket, tpm:swtpm:path=/path/to/socket, tpm:device:/dev/tpmrm0, "
    "smp:serial=/dev/ttyACM0[,baud=115200] or smp:udp=HOST:PORT"
)


def open_chip(address: str) -> SecureElement:
    """
    Return the chip at an address.

        apdu:unix=/path/to/socket        an APDU chip on a simulated bus
        tpm:swtpm:path=/path/to/socket   a software TPM
        tpm:device:/dev/tpmrm0           a TPM behind the kernel's resource manager
        smp:serial=/dev/ttyACM0          a chip behind its board's MCU on a serial line; also with ,baud=921600
        smp:udp=192.0.2.7:1337           the same on the network

    Raises:
        ConfigError: not an address.
        ChipAbsent: nothing is there.

    """
    check_address(address)
    if address.startswith(_SIMULATED):
        return APDUChip(SimulatedI2C(Path(address.removeprefix(_SIMULATED))))
    if address.startswith(_BOARD):
        return _open_board(address.removeprefix(_BOARD))
    return _open_tpm(address.removeprefix("tpm:"))


def check_address(address: str) -> None:
    """Raise ConfigError when this is not the address of a chip. Nothing is opened, so nothing need be there."""
    if address.startswith(_BOARD):
        read_place(address.removeprefix(_BOARD))
    elif not any(address.startswith(form) and address != form for form in (_SIMULATED, _TPM_SOFTWARE, _TPM_DEVICE)):
        raise ConfigError(f"{address[:64]!r} is not the address of a chip", hint=f"write {_FORMS}")


def _open_tpm(tcti: str) -> SecureElement:
    # The TPM stack is an optional dependency: a host without one can still use APDU chips.
    from birthmark.silicon.tpm2.chip import TPM2Chip  # noqa: PLC0415 loaded only where a TPM is configured

    return TPM2Chip(tcti)


def _open_board(text: str) -> SecureElement:
    place = read_place(text)
    try:
        from birthmark.silicon.smp.driver import SMPChip  # noqa: PLC0415 needs the extra `smp`
    except ImportError as error:
        raise ConfigError(f"smp:{text} cannot be opened: {error}", hint="install birthmark[smp]") from error
    return SMPChip(place)
