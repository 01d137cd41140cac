"""Many random jobs while API server and server are killed, frozen and cut off at random."""

import time
from typing import TYPE_CHECKING

import pytest

from tests.clients.proxy import Proxy
from tests.cluster.api import Access
from tests.cluster.images import IMAGE
from tests.cluster.story import KubernetesStory, KubernetesTask, Place, kubeconfig_by_way_of
from tests.faults.random_rounds import RandomRound, roll_seed
from tests.faults.truth import Task

if TYPE_CHECKING:  # what it imports may be missing here
    from tests.cluster.cluster import Cluster

pytestmark = [pytest.mark.engine("kubernetes"), pytest.mark.timeout(180)]


class Strangers:
    """Jobs of somebody else, named and labelled much like ours."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._uids = [
            self._add("stranger-0", {"jobengine.dev/job": "stranger-0"}),
            self._add("stranger-1", {"app.kubernetes.io/managed-by": "jobengine"}),
            self._add(
                "stranger-2",
                {"app.kubernetes.io/managed-by": "jobengine", "jobengine.dev/job": "job-0"},
            ),
        ]

    def _add(self, name: str, labels: dict[str, str]) -> str:
        container = {"name": "job", "image": IMAGE, "command": ["true"]}
        template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
        spec = {"suspend": True, "template": template}
        job = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        return str(self._place.api.post(self._place.path("jobs"), job)["metadata"]["uid"])

    def check_and_remove(self) -> None:
        for number, uid in enumerate(self._uids):
            path = self._place.path("jobs", f"stranger-{number}")
            found = self._place.api.get(path)
            assert found["metadata"]["uid"] == uid
            assert found["metadata"]["generation"] == 1, found
            assert "annotations" not in found["metadata"], found
            self._place.api.delete(path, {"propagationPolicy": "Background"})


class Round(RandomRound[KubernetesStory]):
    """One story out of a seed, on a cluster whose API server is killed, frozen and cut off."""

    faults = (
        "kill the apiserver",
        "freeze the apiserver",
        "cut",
        "cut",
        "kill the server",
        "kill both",
    )
    pauses_seconds = (0, 0.1, 1)
    longest_seconds = 4.0
    start_seconds = 2.0

    def __init__(self, place: Place, cluster: "Cluster", proxy: Proxy, seed: int) -> None:
        # Its controllers go by what they last saw: one that hears late that an instance has
        # succeeded may run it again (KEP-5647), seen after the API server was killed.
        super().__init__(KubernetesStory(place, may_repeat=True), seed)
        self._directory = place.directory
        self._cluster = cluster
        self._proxy = proxy

    def new_task(self, name: str, body: str, options: dict[str, int]) -> KubernetesTask:
        return KubernetesTask(name, self._directory, body, options)

    async def remove(self, task: Task) -> None:
        await self.story.remove(task)

    def hurt(self, fault: str) -> None:
        server, cluster = self.story.server, self._cluster
        if fault == "cut":
            self._proxy.cut()
            return
        if fault == "freeze the apiserver":
            cluster.freeze("apiserver")
            try:
                # It has to hang for some time; there is nothing to wait for.
                time.sleep(self.roll.uniform(0.5, 8))
            finally:
                cluster.thaw("apiserver")
            return
        if fault != "kill the apiserver":
            server.kill()
        if fault != "kill the server":
            cluster.kill("apiserver")
            cluster.start_component("apiserver")
        if fault != "kill the apiserver":
            server.start()


async def run(place: Place, cluster: "Cluster", jobs: int) -> None:
    strangers = Strangers(place)
    with Proxy(Access.of(place.kubeconfig).server.removeprefix("https://")) as proxy:
        path = place.directory / "kubeconfig"
        place.kubeconfig = kubeconfig_by_way_of(proxy.address, place.kubeconfig, path)
        played = Round(place, cluster, proxy, roll_seed())
        await played.play(jobs)
        strangers.check_and_remove()
        place.until_gone()
    print(f"{jobs} jobs, faults: {played.harm}, run again: {played.story.repeated}")


async def test_a_few(hurt: "Cluster", hurt_place: Place) -> None:
    await run(hurt_place, hurt, 12)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_200_jobs(hurt: "Cluster", hurt_place: Place) -> None:
    await run(hurt_place, hurt, 200)
