# SPDX-License-Identifier: Apache-2.0
"""One issuing authority per test."""

import pytest

from support.ca_parts import CAParts


@pytest.fixture
def parts() -> CAParts:
    return CAParts()
