# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime

import pytest

from birthmark.evidence.endorsements import Endorsements
from birthmark.testing.forge import Forge


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def forge(now: datetime) -> Forge:
    return Forge.at(now)


@pytest.fixture(scope="session")
def endorsements(forge: Forge) -> Endorsements:
    return forge.endorsements()
