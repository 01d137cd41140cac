"""A state directory with local engines on it, one after another."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import psutil

from engines.base import Job, LogChunk, LogQuery, Status
from engines.local import LocalEngine
from engines.local.tree import UID_VARIABLE, alive
from engines.workload import Watched, watching
from jobengine.v1.job_pb2 import JobSpec

DEADLINE_SECONDS = 20.0


def shell(script: str, **fields: Any) -> JobSpec:
    return JobSpec(command=["/bin/sh", "-c", script], **fields)


class Server:
    """An engine at work, and what its watch has told."""

    def __init__(self, engine: LocalEngine, watched: Watched) -> None:
        self.engine = engine
        self.watched = watched

    async def run(self, spec: JobSpec, name: str = "job") -> Status:
        """Create a job and wait for its end."""
        return await self.watched.end_of(await self.engine.create_job(name, spec))

    async def output(self, name: str = "job", **query: Any) -> bytes:
        return b"".join([chunk.data for chunk in await self.chunks(name, **query)])

    async def chunks(self, name: str = "job", **query: Any) -> list[LogChunk]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return [chunk async for chunk in self.engine.read_logs(name, LogQuery(**query))]


class Place:
    """The directory, and files beside it through which tests and jobs meet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state_dir = path / "state"

    @contextlib.asynccontextmanager
    async def server(self, **settings: Any) -> AsyncGenerator[Server]:
        async with (
            LocalEngine(
                self.state_dir, **{"max_running": 4, "grace_seconds": 5.0} | settings
            ) as engine,
            watching(engine, DEADLINE_SECONDS) as watched,
        ):
            yield Server(engine, watched)

    def gate(self, name: str = "gate") -> "Gate":
        return Gate(self.path / name)

    def attempt_file(self, name: str = "job", attempt: str = "0.0") -> Path:
        return self.state_dir / "jobs" / name / attempt

    async def empty(self) -> None:
        """End and remove all jobs."""
        async with self.server(max_running=1) as server:
            for job in await server.engine.list_jobs():
                await server.engine.delete_job(job.name, grace_seconds=0)
                await server.watched.removal_of(job)


class Gate:
    """A FIFO: a job waits at it until the test opens it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.wait = f"read line < {path}"
        self.reach = f"echo reached > {path}"
        self._path = path

    async def open(self) -> None:
        """Let through the one that waits, once it is there."""
        await self._in_thread("w")

    async def reached(self) -> str:
        """Wait until somebody says that he is there."""
        return await self._in_thread("r")

    async def _in_thread(self, mode: str) -> str:
        def transfer() -> str:
            with self._path.open(mode) as file:
                return file.read() if mode == "r" else str(file.write("go\n"))

        async with asyncio.timeout(DEADLINE_SECONDS):
            return await asyncio.to_thread(transfer)


def processes_of(job: Job) -> list[psutil.Process]:
    """What runs of a job."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(UID_VARIABLE) == job.uid and alive(process):
                found.append(process)
    return found


async def gone(process: psutil.Process) -> None:
    """Wait until a process, which need not be ours, has ended."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while alive(process):
            await asyncio.sleep(0.01)  # nobody tells of the end of other people's children
