"""Creates jobs and waits until they run, in turns with bare containers that the SDK starts."""

import contextlib
import time
from uuid import uuid4

import uvloop
from docker import APIClient

from benchmarks.docker_jobs import connect, keep, make_container
from benchmarks.loads import answer, arguments
from engines.docker.record import Labels
from jobengine import AsyncClient, JobSpec, JobState
from tests.docker.daemons import IMAGE

TURN = 5
SPEC = JobSpec(command=["sleep", "600"], image=IMAGE)


async def create(client: AsyncClient) -> tuple[float, float]:
    """The seconds until CreateJob has answered, and those until a watcher sees the job run."""
    began = time.perf_counter()
    job = await client.create_job(SPEC)
    accepted = time.perf_counter() - began
    async with contextlib.aclosing(client.watch_status(job.name)) as events:
        async for event in events:
            if event.status.state == JobState.JOB_STATE_RUNNING:
                break
        else:
            raise RuntimeError(f"the job {job.name} has ended")
    running = time.perf_counter() - began
    await client.delete_job(job.name, wait=True, grace_seconds=0)
    return accepted, running


def start(client: APIClient, labels: Labels) -> float:
    """The seconds that the SDK takes to create and start the container of such a job."""
    kept = keep(f"bare-{uuid4().hex}", SPEC)
    began = time.perf_counter()
    container = make_container(client, labels, kept)
    client.start(container)
    seconds = time.perf_counter() - began
    client.remove_container(container, v=True, force=True)
    return seconds


def keep_volume(client: APIClient, labels: Labels) -> float:
    """The seconds that the SDK takes to create the volume that such a job is."""
    kept = keep(f"bare-{uuid4().hex}", SPEC)
    name, said = labels.job_volume(kept.intent.name), labels.of_job(kept)
    began = time.perf_counter()
    client.create_volume(name, labels=said)
    seconds = time.perf_counter() - began
    client.remove_volume(name)
    return seconds


async def main(*, address: str, host: str, namespace: str, count: int) -> None:
    """Create so many of each. The namespace is for the bare ones, and no server's."""
    accepted: list[float] = []
    running: list[float] = []
    started: list[float] = []
    kept: list[float] = []
    labels = Labels(namespace)
    with contextlib.closing(connect(host)) as sdk:
        async with AsyncClient(address) as client:
            await create(client)
            start(sdk, labels)
            while len(started) < count:
                for _ in range(TURN):
                    seconds = await create(client)
                    accepted.append(seconds[0])
                    running.append(seconds[1])
                started += [start(sdk, labels) for _ in range(TURN)]
                kept += [keep_volume(sdk, labels) for _ in range(TURN)]
    answer(accepted=accepted, running=running, started=started, kept=kept)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
