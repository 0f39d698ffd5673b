# SPDX-License-Identifier: Apache-2.0
"""
The root of every error tree in the project.

BirthmarkError
├── DecodeError         bytes that are not what they claim to be
├── ConfigError         a file that a person wrote and that cannot be used
├── StoreError          a database that cannot be read or written now; the transaction did not happen
└── (one tree per package, each in its own errors.py)
"""


class BirthmarkError(Exception):
    """
    Something that a person can act on.

    The message says what happened and where, the hint what to do about it. The finding is the dotted id that
    logs, audits and machines use. None of the three ever holds a secret. A class has a hint for those of its errors
    that bring none of their own.
    """

    default_finding = "internal"
    default_hint = ""

    def __init__(self, message: str, *, hint: str = "", finding: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint
        self.finding = finding or self.default_finding

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class DecodeError(BirthmarkError):
    """Bytes that are malformed, not canonical, too long or too short. Decoders raise this and nothing else."""

    default_finding = "decode.malformed"


class ConfigError(BirthmarkError):
    """A configuration file with an unknown key, a missing value or a value out of range."""

    default_finding = "config.invalid"
    default_hint = "mend the file that says so"


class StoreError(BirthmarkError):
    """A store that cannot be read or written now: full disk, lock, damage. Its transaction did not happen."""

    default_finding = "store.unavailable"
    default_hint = "look at the disk and at the rights"
