# SPDX-License-Identifier: Apache-2.0
"""Where a board's MCU is spoken to, as it stands in an address."""

import re
from dataclasses import dataclass

from birthmark.core.errors import ConfigError

DEFAULT_BAUD = 115_200
FORMS = "smp:serial=/dev/ttyACM0, smp:serial=/dev/ttyACM0,baud=921600 or smp:udp=HOST:PORT"
_SERIAL = re.compile(r"serial=(?P<path>/[^,]+)(?:,baud=(?P<baud>[1-9][0-9]{2,6}))?")
_UDP = re.compile(r"udp=(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[1-9][0-9]{0,4})")
_PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class SerialPlace:
    """A serial line."""

    path: str
    baud: int = DEFAULT_BAUD

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class UDPPlace:
    """A socket on the network."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Place = SerialPlace | UDPPlace


def read_place(text: str) -> Place:
    """
    Return the place that the rest of an address names, behind `smp:`.

    Raises:
        ConfigError: it names none.

    """
    if serial := _SERIAL.fullmatch(text):
        return SerialPlace(serial["path"], int(serial["baud"] or DEFAULT_BAUD))
    udp = _UDP.fullmatch(text)
    if udp and int(udp["port"]) <= _PORT_MAX:
        return UDPPlace(udp["ipv6"] or udp["host"], int(udp["port"]))
    raise ConfigError(f"smp:{text} is not the address of a board", hint=f"write {FORMS}")
