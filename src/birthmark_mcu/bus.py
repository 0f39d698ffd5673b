# SPDX-License-Identifier: Apache-2.0
"""The two bus calls that the library makes, in the shape of MicroPython's `machine.I2C`."""


class I2C:
    """
    What the link needs of a bus. `machine.I2C` has these calls; any object that has them will do.

    An address that nobody acknowledges is an OSError with errno EIO or ENODEV, as the MicroPython ports raise it.
    Any other errno says that the bus itself is broken.
    """

    def writeto(self, address: int, data: bytes) -> int:
        """Write all the data in one transfer. Raises OSError."""
        raise NotImplementedError

    def readfrom(self, address: int, count: int) -> bytes:
        """Return exactly `count` bytes read in one transfer. Raises OSError."""
        raise NotImplementedError

    def deinit(self) -> None:
        """Let go of the bus."""
        raise NotImplementedError
