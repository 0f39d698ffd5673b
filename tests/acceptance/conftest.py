# SPDX-License-Identifier: Apache-2.0
"""The acceptance tests run the real programs against a real lab."""

from collections.abc import Iterator

import pytest

from birthmark.testing.lab.record import Lab
from support.labs import running_lab


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab"), boards=2) as lab:
        yield lab


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for all tests of a module that leave it as they found it."""
    with running_lab(tmp_path_factory.mktemp("lab"), boards=2) as lab:
        yield lab
