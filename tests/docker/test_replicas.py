"""Two servers on one daemon, in one namespace."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.docker.fixtures import Reachable
from tests.docker.place import Place, place_on
from tests.docker.story import DockerServer, DockerTask, waiting
from tests.faults.replicas import Pair, hand_over, share, two_replicas
from tests.faults.rolling import roll

pytestmark = [pytest.mark.engine("docker"), pytest.mark.timeout(60)]


@pytest.fixture
def place(dockerd: Reachable, tmp_path: Path) -> Iterator[Place]:
    with place_on(dockerd.host, tmp_path) as place:
        yield place


@pytest.fixture
async def replicas(place: Place) -> AsyncIterator[Pair]:
    async with two_replicas(lambda: DockerServer(place)) as pair:
        yield pair


@pytest.mark.parametrize("fault", ["terminate", "kill"])
async def test_watchers_go_on_at_the_other_one(
    place: Place, replicas: Pair, fault: Literal["terminate", "kill"]
) -> None:
    await hand_over(replicas, [waiting(f"job-{n}", place.directory) for n in range(3)], fault)


async def test_what_one_does_the_other_tells(place: Place, replicas: Pair) -> None:
    await share(replicas, DockerTask("forever", place.directory, "sleep 60 & wait"))


@pytest.mark.parametrize(
    "restarts", [4, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
)
async def test_rolling_restarts(place: Place, replicas: Pair, restarts: int) -> None:
    tasks = [waiting(f"job-{number}", place.directory) for number in range(4)]
    calls = await roll(replicas, tasks, restarts)
    print(f"{calls} calls over {restarts} restarts")
    assert calls > restarts
