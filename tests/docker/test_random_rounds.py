"""Many random jobs while daemon and server are killed, stopped and frozen at random."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docker.place import IMAGE, Place, place_on
from tests.docker.story import DockerStory, DockerTask, until_gone
from tests.faults.random_rounds import RandomRound, roll_seed

if TYPE_CHECKING:
    from tests.docker.daemons import Dockerd

pytestmark = pytest.mark.engine("docker")


@pytest.fixture(params=["plain", "live-restore"])
def daemon(request: pytest.FixtureRequest, make_dockerd: "Callable[..., Dockerd]") -> "Dockerd":
    daemon = make_dockerd(*(("--live-restore",) if request.param == "live-restore" else ()))
    daemon.start()
    return daemon


@pytest.fixture
def place(daemon: "Dockerd", tmp_path: Path) -> Iterator[Place]:
    with place_on(daemon.host, tmp_path) as place:
        yield place


class Stranger:
    """A container and a volume of somebody else, named much like ours."""

    def __init__(self, place: Place) -> None:
        self._client = place.client()
        labels = {"jobengine.dev/job": "job-0"}
        volume = self._client.create_volume(f"jobengine.{place.namespace}.stranger", labels=labels)
        name = f"jobengine.{place.namespace}.stranger.0.0"
        container = self._client.create_container(IMAGE, ["true"], name=name, labels=labels)
        self._volume, self._container = volume["Name"], container["Id"]

    def check_and_remove(self) -> None:
        assert self._client.inspect_container(self._container)["State"]["Status"] == "created"
        self._client.inspect_volume(self._volume)
        self._client.remove_container(self._container)
        self._client.remove_volume(self._volume)
        self._client.close()


class Round(RandomRound[DockerStory]):
    """One story out of a seed, on a daemon that is killed, stopped and frozen."""

    faults = (
        "kill the daemon",
        "stop the daemon",
        "freeze the daemon",
        "kill the server",
        "kill both",
    )

    def __init__(self, place: Place, daemon: "Dockerd", seed: int) -> None:
        super().__init__(DockerStory(place, may_lose=True), seed)
        self._directory = place.directory
        self._daemon = daemon

    def new_task(self, name: str, body: str, options: dict[str, int]) -> DockerTask:
        return DockerTask(name, self._directory, body, options)

    def hurt(self, fault: str) -> None:
        server = self.story.server
        match fault:
            case "kill the daemon":
                self._daemon.kill()
                self._daemon.start()
            case "stop the daemon":
                self._daemon.restart()
            case "freeze the daemon":
                self._daemon.freeze()
                try:
                    # It has to hang for some time; there is nothing to wait for.
                    time.sleep(self.roll.uniform(0.5, 8))
                finally:
                    self._daemon.thaw()
            case "kill the server":
                server.kill()
                server.start()
            case _:
                server.kill()
                self._daemon.kill()
                self._daemon.start()
                server.start()


async def run(place: Place, daemon: "Dockerd", jobs: int) -> None:
    stranger = Stranger(place)
    played = Round(place, daemon, roll_seed())
    await played.play(jobs)
    until_gone(place)
    stranger.check_and_remove()
    print(f"{jobs} jobs, faults: {played.harm}, lost: {played.story.lost}")


@pytest.mark.timeout(200)
async def test_a_few(place: Place, daemon: "Dockerd") -> None:
    await run(place, daemon, 16)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_200_jobs(place: Place, daemon: "Dockerd") -> None:
    await run(place, daemon, 200)
