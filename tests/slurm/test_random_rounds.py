"""Many random jobs while controller, slurmd and server are killed, stopped and frozen at random."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.random_rounds import RandomRound, roll_seed
from tests.faults.truth import Task
from tests.slurm.story import Place, SlurmStory, place_on

if TYPE_CHECKING:  # it can't be started everywhere
    from tests.slurm.cluster import SlurmCluster

pytestmark = pytest.mark.engine("slurm")


@pytest.fixture(params=["no accounting", "accounting"])
def cluster(
    request: pytest.FixtureRequest, make_slurm: "Callable[..., SlurmCluster]"
) -> "SlurmCluster":
    """A cluster of the test's own, whose controller forgets what has ended soon."""
    accounting = request.param == "accounting"
    cluster = make_slurm(nodes=2, accounting=accounting, conf={"MinJobAge": "10"})
    cluster.start()
    return cluster


class Stranger:
    """A job of somebody else, named much like ours."""

    def __init__(self, cluster: "SlurmCluster") -> None:
        self._cluster = cluster
        output = f"--output={cluster.directory}/stranger.out"
        submit = ("sbatch", "--parsable", "--hold", "--job-name=job-0", output, "--wrap=true")
        self._id = int(cluster.run(*submit))
        # Its record is on disk before anything is killed.
        cluster.restart("slurmctld")

    def check_and_remove(self) -> None:
        (found,) = [job for job in self._cluster.jobs() if job["job_id"] == self._id]
        assert (found["name"], found["job_state"]) == ("job-0", "PENDING")
        self._cluster.run("scancel", str(self._id))


class Round(RandomRound[SlurmStory]):
    """One story out of a seed, on a cluster whose daemons are killed, stopped and frozen."""

    faults = (
        "kill the controller",
        "stop the controller",
        "freeze the controller",
        "kill a slurmd",
        "kill the server",
        "kill both",
    )

    def __init__(self, place: Place, cluster: "SlurmCluster", seed: int) -> None:
        # A controller that is killed forgets what it has started a moment ago.
        super().__init__(SlurmStory(place, may_lose=True), seed)
        self._directory = place.directory
        self._cluster = cluster

    def new_task(self, name: str, body: str, options: dict[str, int]) -> Task:
        return Task(name, self._directory, body, options)

    def hurt(self, fault: str) -> None:
        server, cluster = self.story.server, self._cluster
        match fault:
            case "kill the controller":
                cluster.kill("slurmctld")
                cluster.start_component("slurmctld")
            case "stop the controller":
                cluster.restart("slurmctld")
            case "freeze the controller":
                cluster.freeze("slurmctld")
                try:
                    # It has to hang for some time; there is nothing to wait for.
                    time.sleep(self.roll.uniform(0.5, 8))
                finally:
                    cluster.thaw("slurmctld")
            case "kill a slurmd":
                node = self.roll.choice(cluster.nodes)
                cluster.kill(node)
                cluster.start_component(node)
            case "kill the server":
                server.kill()
                server.start()
            case _:
                server.kill()
                cluster.kill("slurmctld")
                cluster.start_component("slurmctld")
                server.start()


async def run(cluster: "SlurmCluster", directory: Path, jobs: int) -> None:
    with place_on(cluster, directory) as place:
        stranger = Stranger(cluster)
        played = Round(place, cluster, roll_seed())
        await played.play(jobs)
        stranger.check_and_remove()
        print(f"{jobs} jobs, faults: {played.harm}, lost: {played.story.lost}")


@pytest.mark.timeout(200)
async def test_a_few(cluster: "SlurmCluster", tmp_path: Path) -> None:
    await run(cluster, tmp_path, 12)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_200_jobs(cluster: "SlurmCluster", tmp_path: Path) -> None:
    await run(cluster, tmp_path, 200)
