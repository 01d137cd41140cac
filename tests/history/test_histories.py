"""Random runs on real servers, and what all of their watchers were told.

Each prints its seed; JOBENGINE_TEST_SEED plays it again.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.history.check import problems
from tests.history.play import Play, Size
from tests.history.stage import FakeStage, LocalStage, Stage

FEW = Size(names=10, lives=3, watches_of_all=9, watches_of_each=4, restarts=1)
MANY = Size(names=40, lives=5, watches_of_all=24, watches_of_each=6, restarts=4, settle_seconds=90)


@pytest.fixture(
    params=[
        pytest.param(FakeStage, id="fake", marks=pytest.mark.engine("fake")),
        pytest.param(LocalStage, id="local", marks=pytest.mark.engine("local")),
    ]
)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    make: Callable[[Path], Stage] = request.param
    return make(tmp_path)


@pytest.mark.timeout(120)
async def test_a_few(stage: Stage) -> None:
    await play(stage, FEW)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_many(stage: Stage) -> None:
    await play(stage, MANY)


async def play(stage: Stage, size: Size) -> None:
    seed = int(os.environ.get("JOBENGINE_TEST_SEED") or random.randrange(1_000_000))
    print(f"JOBENGINE_TEST_SEED={seed}")
    async with Play(stage, seed, size) as run:
        history = await run.run()
        print(run)
    found = problems(history)
    assert not found, "\n".join(found)
