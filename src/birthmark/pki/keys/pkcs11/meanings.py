# SPDX-License-Identifier: Apache-2.0
"""
What an answer of the token (CKR_*, PKCS#11 2.40 §4.6.1) means: what is broken, and which error a caller gets.

python-pkcs11 has an exception for each code and puts all others into its root. What is not in the table here means that
the module cannot be relied on any more: nobody knows what else such a code says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from birthmark.pki.errors import KeyMissing, KeyStoreError, MechanismMissing, PinRefused, TokenFailed, TokenMissing


class Remedy(IntEnum):
    """What helps, from the least to the most."""

    NOTHING_BROKEN = 0
    """The token works; it refuses this request."""
    RETRY = 1
    """The same session may be asked again."""
    SESSION = 2
    """This session is used up; another one will do."""
    LOGIN = 3
    """Every session and the login are gone, or the token was away."""
    MODULE = 4
    """The module's own state is in doubt: C_Finalize, C_Initialize."""
    FATAL = 5
    """The PIN is refused. It is never offered again: tokens lock."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is to be done, and what the caller gets if it is not done or does not help."""

    remedy: Remedy
    error: type[KeyStoreError]


def _table() -> Mapping[str, Meaning]:
    rows: tuple[tuple[Remedy, type[KeyStoreError], str], ...] = (
        (Remedy.NOTHING_BROKEN, KeyMissing, "NoSuchKey MultipleObjectsReturned"),
        (Remedy.NOTHING_BROKEN, MechanismMissing, "MechanismInvalid MechanismParamInvalid FunctionNotSupported"),
        (Remedy.NOTHING_BROKEN, MechanismMissing, "DomainParamsInvalid KeySizeRange"),
        (Remedy.NOTHING_BROKEN, KeyStoreError, "ArgumentsBad AttributeReadOnly AttributeSensitive DataInvalid"),
        (Remedy.NOTHING_BROKEN, KeyStoreError, "AttributeTypeInvalid AttributeValueInvalid DataLenRange"),
        (Remedy.NOTHING_BROKEN, KeyStoreError, "KeyTypeInconsistent SessionReadOnly TemplateIncomplete"),
        (Remedy.NOTHING_BROKEN, KeyStoreError, "TemplateInconsistent TokenWriteProtected FunctionRejected"),
        (Remedy.RETRY, TokenFailed, "FunctionCancelled HostMemory DeviceMemory"),
        (Remedy.SESSION, TokenFailed, "FunctionFailed KeyHandleInvalid ObjectHandleInvalid OperationActive"),
        (Remedy.SESSION, TokenFailed, "OperationNotInitialized SessionClosed SessionCount SessionHandleInvalid"),
        (Remedy.LOGIN, TokenFailed, "UserNotLoggedIn UserAlreadyLoggedIn DeviceRemoved KeyGone"),
        (Remedy.LOGIN, TokenMissing, "NoSuchToken MultipleTokensReturned TokenNotPresent TokenNotRecognised"),
        (Remedy.LOGIN, TokenMissing, "SlotIDInvalid"),
        (Remedy.MODULE, TokenFailed, "DeviceError GeneralError AnotherUserAlreadyLoggedIn"),
        (Remedy.FATAL, PinRefused, "PinIncorrect PinInvalid PinLenRange PinLocked PinExpired PinTooWeak"),
        (Remedy.FATAL, PinRefused, "UserPinNotInitialized"),
    )
    return MappingProxyType({name: Meaning(remedy, error) for remedy, error, names in rows for name in names.split()})


MEANINGS: Final = _table()
"""By the name of python-pkcs11's exception."""
UNKNOWN: Final = Meaning(Remedy.MODULE, TokenFailed)


class KeyGone(RuntimeError):
    """A key that was there is not there any more: the token has lost more than a key, or is another one."""


def meaning(error: RuntimeError) -> Meaning:
    """Return what an error of python-pkcs11 means."""
    return MEANINGS.get(type(error).__name__, UNKNOWN)


def explained(error: RuntimeError, where: str) -> KeyStoreError:
    """Return the error that a caller gets. python-pkcs11's texts hold names and codes only, never the PIN."""
    return meaning(error).error(f"{where}: {type(error).__name__} {error}".rstrip())
