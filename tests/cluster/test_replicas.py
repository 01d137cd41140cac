"""Two servers on one namespace of a cluster."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from tests.cluster.fixtures import Reachable
from tests.cluster.story import KubernetesServer, KubernetesTask, Place, waiting
from tests.faults.replicas import Pair, hand_over, share, two_replicas
from tests.faults.rolling import roll

pytestmark = [pytest.mark.engine("kubernetes"), pytest.mark.timeout(120)]


@pytest.fixture
def place(cluster: Reachable, kubernetes_namespace: str, tmp_path: Path) -> Place:
    return Place(cluster.kubeconfig, kubernetes_namespace, tmp_path)


@pytest.fixture
async def replicas(place: Place) -> AsyncIterator[Pair]:
    async with two_replicas(lambda: KubernetesServer(place)) as pair:
        yield pair


@pytest.mark.parametrize("fault", ["terminate", "kill"])
async def test_watchers_go_on_at_the_other_one(
    place: Place, replicas: Pair, fault: Literal["terminate", "kill"]
) -> None:
    await hand_over(replicas, [waiting(f"job-{n}", place.directory) for n in range(2)], fault)


async def test_what_one_does_the_other_tells(place: Place, replicas: Pair) -> None:
    await share(replicas, KubernetesTask("forever", place.directory, "sleep 60 & wait"))


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_rolling_restarts(place: Place, replicas: Pair) -> None:
    tasks = [waiting(f"job-{number}", place.directory) for number in range(3)]
    calls = await roll(replicas, tasks, 20)
    print(f"{calls} calls over 20 restarts")
    assert calls > 20
