# SPDX-License-Identifier: Apache-2.0
"""Certificates that the tests of the front share."""

from datetime import UTC, datetime

import pytest

from support.tls_files import TLSFiles


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> TLSFiles:
    return TLSFiles(tmp_path_factory.mktemp("tls"), datetime.now(UTC))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> TLSFiles:
    """Another organization's certificates."""
    return TLSFiles(tmp_path_factory.mktemp("strangers"), datetime.now(UTC), "Strangers")
