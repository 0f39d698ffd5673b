# SPDX-License-Identifier: Apache-2.0
"""Third-party programs are the judges here."""

from collections.abc import Iterator

import pytest

from birthmark.testing.lab.record import Lab
from support.labs import running_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab"), boards=3) as lab:
        yield lab
