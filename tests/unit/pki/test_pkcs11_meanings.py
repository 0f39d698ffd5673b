# SPDX-License-Identifier: Apache-2.0
"""What each answer of a token means."""

import pkcs11
import pytest
from pkcs11 import exceptions

from birthmark.pki.errors import KeyStoreError, PinRefused, TokenFailed
from birthmark.pki.keys.pkcs11.connection import check_pin_flags
from birthmark.pki.keys.pkcs11.meanings import MEANINGS, UNKNOWN, KeyGone, Remedy, explained, meaning

RAISED = {
    name
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and issubclass(value, exceptions.PKCS11Error)
}


def test_every_name_of_the_table_is_one_that_can_be_raised() -> None:
    assert set(MEANINGS) <= RAISED | {KeyGone.__name__}


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (pkcs11.MechanismInvalid(), Remedy.NOTHING_BROKEN),
        (pkcs11.FunctionCancelled(), Remedy.RETRY),
        (pkcs11.SessionHandleInvalid(), Remedy.SESSION),
        (pkcs11.OperationActive(), Remedy.SESSION),
        (pkcs11.UserNotLoggedIn(), Remedy.LOGIN),
        (pkcs11.DeviceRemoved(), Remedy.LOGIN),
        (pkcs11.TokenNotPresent(), Remedy.LOGIN),
        (KeyGone("0 keys"), Remedy.LOGIN),
        (pkcs11.DeviceError(), Remedy.MODULE),
        (pkcs11.PKCS11Error("Initialisation error (not initialized)."), Remedy.MODULE),
        (pkcs11.PKCS11Error("Unmapped error code 0x80000001"), Remedy.MODULE),
        (NotImplementedError("a defect of python-pkcs11"), Remedy.MODULE),
        (pkcs11.PinIncorrect(), Remedy.FATAL),
        (pkcs11.PinLocked(), Remedy.FATAL),
        (pkcs11.PinExpired(), Remedy.FATAL),
    ],
    ids=lambda value: str(value) or type(value).__name__,
)
def test_an_answer_means_what_helps(error: RuntimeError, remedy: Remedy) -> None:
    assert meaning(error).remedy is remedy


@pytest.mark.parametrize("name", sorted(RAISED - {"PKCS11Error"}))
def test_every_answer_becomes_an_error_of_ours(name: str) -> None:
    error = getattr(exceptions, name)()
    assert isinstance(explained(error, "here"), KeyStoreError)
    assert explained(error, "here").message == f"here: {name}"


def test_a_refused_pin_is_fatal_and_nothing_else_is() -> None:
    fatal = {name for name, known in MEANINGS.items() if known.remedy is Remedy.FATAL}
    assert fatal == {name for name, known in MEANINGS.items() if known.error is PinRefused}
    assert all("Pin" in name for name in fatal)


def test_an_unknown_code_is_shown() -> None:
    said = explained(pkcs11.PKCS11Error("Unmapped error code 0x80000001"), "token 'x'")
    assert isinstance(said, TokenFailed)
    assert said.message == "token 'x': PKCS11Error Unmapped error code 0x80000001"
    assert UNKNOWN.remedy is Remedy.MODULE


@pytest.mark.parametrize(
    ("flag", "text"),
    [(pkcs11.TokenFlag.USER_PIN_LOCKED, "is locked"), (pkcs11.TokenFlag.USER_PIN_FINAL_TRY, "would lock the token")],
)
def test_a_pin_is_not_offered_where_that_could_lock_the_token(flag: pkcs11.TokenFlag, text: str) -> None:
    with pytest.raises(PinRefused, match=text):
        check_pin_flags(int(flag | pkcs11.TokenFlag.LOGIN_REQUIRED))


def test_a_pin_is_offered_to_a_token_in_order() -> None:
    check_pin_flags(int(pkcs11.TokenFlag.LOGIN_REQUIRED | pkcs11.TokenFlag.USER_PIN_COUNT_LOW))
