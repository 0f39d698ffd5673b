# SPDX-License-Identifier: Apache-2.0
"""The firmware library must run on MicroPython: what it imports, and what its syntax may use."""

import ast
from pathlib import Path

import pytest

import birthmark_mcu

PACKAGE = Path(birthmark_mcu.__file__).parent
MODULES = sorted(PACKAGE.glob("**/*.py"))
ON_MICROPYTHON = {"binascii", "errno", "hashlib", "struct", "time"}


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_micropython_has(path: Path) -> None:
    names = imported(ast.parse(path.read_text()))
    assert {name for name in names if name.split(".")[0] != "birthmark_mcu"} <= ON_MICROPYTHON


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_uses_no_syntax_that_micropython_lacks(path: Path) -> None:
    lacking = (ast.Match, ast.TryStar, ast.AsyncFor, ast.AsyncWith)
    nodes = list(ast.walk(ast.parse(path.read_text())))
    assert not [node for node in nodes if isinstance(node, lacking)]
    assert not [node for node in nodes if isinstance(node, ast.arguments) and node.posonlyargs]
