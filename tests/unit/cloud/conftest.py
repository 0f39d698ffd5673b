# SPDX-License-Identifier: Apache-2.0
"""One forge per session: making keys is slow, and a forge is immutable."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.testing.forge import Device, Forge
from support.cloud_parts import NOW, UNIT, CloudParts


@pytest.fixture(scope="session")
def forge() -> Forge:
    return Forge.at(NOW)


@pytest.fixture(scope="session")
def device(forge: Forge) -> Device:
    return forge.device(UNIT)


@pytest.fixture
def parts(tmp_path: Path, forge: Forge) -> Iterator[CloudParts]:
    made = CloudParts(tmp_path, forge=forge)
    yield made
    made.registry.close()
