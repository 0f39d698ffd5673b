# SPDX-License-Identifier: Apache-2.0
"""Third-party programs are the judges here."""

from collections.abc import Iterator

import pytest

from birthmark.testing.lab.record import Lab
from support.ca_process import CAFiles, RunningCA, running_ca
from support.labs import running_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab"), boards=3) as lab:
        yield lab


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    """One CA process for a module, over mutual TLS."""
    with running_ca(CAFiles(tmp_path_factory.mktemp("ca"))) as running:
        yield running
