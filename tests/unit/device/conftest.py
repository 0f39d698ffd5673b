# SPDX-License-Identifier: Apache-2.0
"""Boards in this process, around one forge per session."""

from collections.abc import Callable, Iterator

import pytest

from birthmark.testing.forge import Forge
from support.cloud_parts import NOW, CloudParts
from support.device_parts import Board


@pytest.fixture(scope="session")
def forge() -> Forge:
    return Forge.at(NOW)


@pytest.fixture
def make_board(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> Iterator[Callable[[], Board]]:
    made: list[CloudParts] = []

    def make() -> Board:
        folder = tmp_path_factory.mktemp("board")
        made.append(CloudParts(folder, forge=forge))
        made[-1].feed.pull()
        return Board(folder, made[-1])

    yield make
    for parts in made:
        parts.registry.close()


@pytest.fixture
def board(make_board: Callable[[], Board]) -> Board:
    return make_board()
