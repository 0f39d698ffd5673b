# SPDX-License-Identifier: Apache-2.0
"""What holds for every test."""

import pytest

from birthmark.pki.keys.pkcs11.module import openssl_error_sweeper


@pytest.fixture(autouse=True)
def no_errors_of_earlier_tests() -> None:
    """Empty the queue of OpenSSL errors: tests drive SoftHSM by python-pkcs11 itself too, and ssl would see them."""
    openssl_error_sweeper()()
