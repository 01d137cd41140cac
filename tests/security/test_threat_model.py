"""SECURITY.md names a test for each attempt, and those tests are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_ROW = re.compile(r"^\| (.+) \| (.+) \| (tests/.+) \|$", re.MULTILINE)

ROWS = _ROW.findall((ROOT / "SECURITY.md").read_text())


def test_there_are_rows() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize(("attempt", "defence", "shown"), ROWS, ids=[row[0][:60] for row in ROWS])
def test_each_attempt_has_its_test(attempt: str, defence: str, shown: str) -> None:
    assert attempt
    assert defence
    for test in shown.split(", "):
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        names = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in names, test
