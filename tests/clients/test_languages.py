"""The cases of scenarios.json, by the clients in other languages: each plays them in its own tests.

JOBENGINE_REQUIRE_CLIENTS names those that must be tested, with commas between.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.clients.stage import Stages, load_cases

CLIENTS: Final = Path(__file__).resolve().parents[2] / "clients"
TOOLS: Final = {
    "go": ("go",),
    "typescript": ("node", "npm"),
    "java": ("javac", "mvn"),
}
SUITE_SECONDS: Final = 900.0

pytestmark = [pytest.mark.engine("local"), pytest.mark.timeout(SUITE_SECONDS + 60)]


@dataclass(frozen=True, slots=True)
class Suite:
    """How a client's tests went."""

    code: int
    output: str
    results: Mapping[str, str]
    """By case: what went wrong, or nothing."""


@pytest.fixture(scope="module", params=TOOLS)
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A client's own tests, run once against the stages of this process."""
    language: str = request.param
    if missing := [tool for tool in TOOLS[language] if shutil.which(tool) is None]:
        problem = f"{language}: no {', '.join(missing)} here; see tests/clients/install"
        if language in os.environ.get("JOBENGINE_REQUIRE_CLIENTS", "").split(","):
            pytest.fail(problem)
        pytest.skip(problem)
    stages = Stages(tmp_path_factory.mktemp(language))
    with stages.serving() as url:
        done = subprocess.run(
            ["make", "-C", CLIENTS / language, "test"],
            env={**os.environ, "JOBENGINE_STAGE": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SUITE_SECONDS,
        )
    return Suite(done.returncode, done.stdout, stages.results)


def test_suite(suite: Suite) -> None:
    """All of its tests, those that need no server too."""
    assert suite.code == 0, suite.output


@pytest.mark.parametrize("name", [case["name"] for case in load_cases()])
def test_case(suite: Suite, name: str) -> None:
    assert name in suite.results, f"it wasn't played:\n{suite.output[-3000:]}"
    assert not suite.results[name]
