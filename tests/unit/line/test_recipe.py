# SPDX-License-Identifier: Apache-2.0
"""The recipe: what it says, and what is refused in it."""

from pathlib import Path

import pytest

from birthmark.core.errors import ConfigError
from birthmark.core.ids import fingerprint
from birthmark.line.recipe import load_recipe
from birthmark.line.retries import DEFAULT_RETRIES, RetryRule, Tries
from birthmark.silicon.port import Algorithm

TEXT = 'product = "Controller"\norder = "order-1"\n'
FULL = """chip_model = "m1"
algorithm = "P-384"
failures = 1
[[retry]]
finding = "chip.absent"
times = 2
pause_s = 0.5
"""


def written(folder: Path, more: str = "", text: str = TEXT) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text + more)
    return path


def test_a_short_recipe_has_safe_defaults_and_its_digest(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path))
    assert (recipe.product, recipe.order, recipe.takt_s) == ("Controller", "order-1", 2.0)
    assert (recipe.failures, recipe.interruptions, recipe.retries) == (3, 5, DEFAULT_RETRIES)
    assert (recipe.chip_model, recipe.algorithm) == (None, None)
    assert recipe.sha256 == fingerprint(TEXT.encode())


def test_a_full_recipe_is_read_as_it_stands(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, FULL))
    assert (recipe.chip_model, recipe.algorithm, recipe.failures) == ("m1", Algorithm.P384, 1)
    assert recipe.retries == (RetryRule("chip.absent", 2, 0.5),)


@pytest.mark.parametrize(
    "more",
    [
        "colour = 1",
        "takt_s = 0",
        "takt_s = nan",
        "failures = 0",
        "interruptions = -1",
        'algorithm = "RSA"',
        '[[retry]]\nfinding = "line.possession"',
        '[[retry]]\nfinding = "chip"',
        '[[retry]]\nfinding = "chip.absent"\ntimes = 11',
        '[[retry]]\nfinding = "chip.absent"\npause_s = -1.0',
        '[[retry]]\nfinding = "chip.absent"\npause_s = inf',
        "[[retry]]\ntimes = 1",
    ],
)
def test_what_no_rig_should_follow_is_refused(tmp_path: Path, more: str) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.toml"):
        load_recipe(written(tmp_path, more))


def test_an_order_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Not An Order"):
        load_recipe(written(tmp_path, text='product = "Controller"\norder = "Not An Order"\n'))


def test_each_rule_is_used_up_for_itself() -> None:
    tries = Tries((RetryRule("chip.communication", 2, 0.5), RetryRule("chip.absent", 1)))
    told = [tries.pause_s(each) for each in ("chip.communication", "chip.absent", "chip.communication.crc")]
    assert told == [0.5, 0.0, 0.5]
    assert [tries.pause_s(each) for each in ("chip.communication", "chip.absent", "chip.refused")] == [None] * 3
