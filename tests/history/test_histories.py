"""Random runs on real servers, and what all of their watchers were told.

Each prints its seed; JOBENGINE_TEST_SEED plays it again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.random_rounds import roll_seed
from tests.history.check import problems
from tests.history.play import Play, Size
from tests.history.stage import FakeStage, Stage, TaskStage, local_stage

FEW = Size(names=10, lives=3, watches_of_all=9, watches_of_each=4, restarts=1)
MANY = Size(names=40, lives=5, watches_of_all=24, watches_of_each=6, restarts=4, settle_seconds=90)


def on(engine: str, *marks: pytest.MarkDecorator) -> Any:
    return pytest.param(engine, id=engine, marks=[pytest.mark.engine(engine), *marks])


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """The engine of that name; what it runs on is started only if it is wanted."""
    match request.param:
        case "fake":
            yield FakeStage(tmp_path)
        case "local":
            yield local_stage(tmp_path)
        case "docker":
            yield from docker_stage(request.getfixturevalue("dockerd").host, tmp_path)
        case _:
            cluster, namespace = map(request.getfixturevalue, ("cluster", "kubernetes_namespace"))
            yield kubernetes_stage(cluster.kubeconfig, namespace, tmp_path)


def docker_stage(host: str, directory: Path) -> Iterator[Stage]:
    from tests.docker.place import place_on
    from tests.docker.story import DockerServer, DockerTask

    with place_on(host, directory) as place:
        yield TaskStage(DockerServer(place), directory, DockerTask)


def kubernetes_stage(kubeconfig: Path, namespace: str, directory: Path) -> Stage:
    from tests.cluster.story import KubernetesServer, KubernetesTask, Place

    place = Place(kubeconfig, namespace, directory)
    return TaskStage(KubernetesServer(place), directory, KubernetesTask)


@pytest.mark.parametrize(
    "stage",
    [on("fake"), on("local"), on("docker", pytest.mark.slow), on("kubernetes", pytest.mark.slow)],
    indirect=True,
)
@pytest.mark.timeout(300)
async def test_a_few(stage: Stage) -> None:
    await play(stage, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [on("fake"), on("local"), on("docker")], indirect=True)
@pytest.mark.timeout(600)
async def test_many(stage: Stage) -> None:
    await play(stage, MANY)


async def play(stage: Stage, size: Size) -> None:
    async with Play(stage, roll_seed(), size) as run:
        history = await run.run()
        print(run)
    found = problems(history)
    assert not found, "\n".join(found)
