"""Like `endings`, on Docker, beside when the daemon tells of the same ends itself."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterable
from typing import Any

import uvloop
from docker import APIClient

from benchmarks.docker_jobs import connect
from benchmarks.loads import answer, arguments
from benchmarks.loads.endings import hear
from engines.docker.container import read_time
from engines.docker.record import UID
from jobengine import AsyncClient, JobSpec
from tests.docker.daemons import IMAGE

EVENT_SECONDS = 10.0
NAME_LABEL = "jobengine.dev/job"


def listen(events: Iterable[dict[str, Any]], told: "queue.SimpleQueue[tuple[str, float]]") -> None:
    """Note when the daemon tells of which job's end."""
    for event in events:
        told.put((event["Actor"]["Attributes"].get(NAME_LABEL, ""), time.time()))


def time_of(told: "queue.SimpleQueue[tuple[str, float]]", name: str) -> float:
    """When the daemon has told of this one; earlier ones are passed over."""
    while True:
        ended, when = told.get(timeout=EVENT_SECONDS)
        if ended == name:
            return when


def finished_at(client: APIClient, uid: str) -> float:
    """When the daemon says that the container of a job has ended."""
    (found,) = client.containers(all=True, filters={"label": f"{UID}={uid}"})
    return read_time(client.inspect_container(found["Id"])["State"]["FinishedAt"])


async def main(*, address: str, host: str, count: int, job_seconds: float) -> None:
    """Run and watch so many jobs."""
    late: list[float] = []
    daemon_late: list[float] = []
    missed = 0
    told: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()
    with contextlib.closing(connect(host)) as sdk:
        stream = sdk.events(filters={"type": "container", "event": "die"}, decode=True)
        threading.Thread(target=listen, args=(stream, told), daemon=True).start()
        async with AsyncClient(address) as client:
            while len(late) < count:
                spec = JobSpec(command=["sleep", str(job_seconds)], image=IMAGE)
                job = await client.create_job(spec)
                heard = await hear(client, job.name)
                if heard is None:
                    missed += 1
                    assert missed <= count, "most jobs end before they are watched"
                else:
                    ended = finished_at(sdk, job.uid)
                    late.append(heard.time - ended)
                    daemon_late.append(time_of(told, job.name) - ended)
                await client.delete_job(job.name, wait=True)
    answer(seconds=late, daemon_seconds=daemon_late, missed=missed)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
