"""Random runs through a server before another one, and what all of their watchers were told.

Each prints its seed; JOBENGINE_TEST_SEED plays it again.
"""

from pathlib import Path

import pytest

from tests.engines.remote.chain import Chain
from tests.faults import processes
from tests.faults.random_rounds import roll_seed
from tests.faults.server import FaultyServer
from tests.history.check import problems
from tests.history.play import Play, Size
from tests.history.stage import TaskStage

FEW = Size(names=10, lives=3, watches_of_all=9, watches_of_each=4, restarts=1, settle_seconds=60)
MANY = Size(names=40, lives=5, watches_of_all=24, watches_of_each=6, restarts=4, settle_seconds=90)


@pytest.mark.engine("remote")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "size", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
)
async def test_a_history(tmp_path: Path, size: Size) -> None:
    far = FaultyServer(tmp_path / "state", "--max-running", "8")
    stage = TaskStage(
        Chain(far), tmp_path, wipe=lambda: processes.kill_all(tmp_path, far.state_dir)
    )
    async with Play(stage, roll_seed(), size) as run:
        history = await run.run()
        print(run)
    found = problems(history)
    assert not found, "\n".join(found)
