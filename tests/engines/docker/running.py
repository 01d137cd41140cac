"""A Docker engine at work in a place, and what its watch tells."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from engines.base import Engine, Job, LogChunk, LogQuery, State, Status
from engines.workload import Watched, watching
from jobengine.v1.job_pb2 import JobSpec, Mount
from tests.docker.place import Place
from tests.engines.docker.specs import shell

DEADLINE_SECONDS = 20.0


class Server:
    """An engine, and what its watch has told."""

    def __init__(self, engine: Engine, watched: Watched) -> None:
        self.engine = engine
        self.watched = watched

    async def run(self, spec: JobSpec, name: str = "job") -> Status:
        """Create a job and wait for its end."""
        return await self.watched.end_of(await self.engine.create_job(name, spec))

    async def running(self, spec: JobSpec, name: str = "job") -> Job:
        """Create a job and wait until it runs."""
        job = await self.engine.create_job(name, spec)
        await self.watched.reaches(job, State.RUNNING)
        return job

    async def output(self, name: str = "job", **query: Any) -> bytes:
        return b"".join([chunk.data for chunk in await self.chunks(name, **query)])

    async def chunks(self, name: str = "job", **query: Any) -> list[LogChunk]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return [chunk async for chunk in self.engine.read_logs(name, LogQuery(**query))]

    async def says(self, spec: JobSpec, name: str = "job") -> str:
        """Run a job that has to succeed; return what it wrote."""
        return (await self.says_bytes(spec, name)).decode()

    async def says_bytes(self, spec: JobSpec, name: str = "job") -> bytes:
        """The same, as it was written."""
        status = await self.run(spec, name)
        said = await self.output(name)
        assert status.state is State.SUCCEEDED, (status, said[:1000])
        return said

    async def waits(self, job: Job, words: str) -> None:
        """Wait until the job is said to wait for something, in these words."""
        await self.watched.until(
            lambda: any(words in each.message for each in self.watched.statuses(job.uid)),
            f"{job.name}: {words}",
        )


@contextlib.asynccontextmanager
async def serving(place: Place, **settings: Any) -> AsyncGenerator[Server]:
    """An engine in a place."""
    async with (
        place.engine(**settings) as engine,
        watching(engine, DEADLINE_SECONDS) as watched,
    ):
        yield Server(engine, watched)


def sharing(place: Place, script: str, **fields: Any) -> JobSpec:
    """A script that finds the place's directory under its own name."""
    spec = shell(script, **fields)
    spec.mounts.append(Mount(target=str(place.directory), host_path=str(place.directory)))
    return spec


async def until_file(path: Path, content: str = "") -> str:
    """Wait until a job has written a file, or this into it; nobody tells."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not path.exists() or content not in path.read_text():
            await asyncio.sleep(0.01)
    return path.read_text()


async def remove_ended(place: Place) -> None:
    """Remove the place's only container that has ended: a while after its end was told."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (ended := [each for each in place.containers() if each["State"] == "exited"]):
            await asyncio.sleep(0.01)
    with contextlib.closing(place.client()) as client:
        client.remove_container(ended[0]["Id"])
