# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong between the MCU and its secure element.

SecureElementError
├── LinkError           the way to the chip failed
│   ├── NoChip          nothing acknowledged the address at first contact
│   └── LinkFailed      retries did not mend the link; the chip's state is unknown until it is observed
└── Refused             the chip understood and answered with an error status; it did nothing
"""


class SecureElementError(Exception):
    """Root: the chip, or the way to it, failed or refused."""


class LinkError(SecureElementError):
    """The way to the chip failed."""


class NoChip(LinkError):
    """Nothing acknowledged the chip's address."""


class LinkFailed(LinkError):
    """NAK, CRC error or silence beyond the limits. Observe the chip's state before the next act."""


class Refused(SecureElementError):
    """The chip answered with the ISO 7816-4 status word `status` instead of 9000."""

    def __init__(self, status: int, doing: str) -> None:
        super().__init__(f"{doing}: the chip answered {status:04X}")
        self.status = status
