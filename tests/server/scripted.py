"""An engine that tells the mirror exactly what a test wants it to tell."""

import asyncio
from collections.abc import AsyncIterator

from engines.base import Capability, Engine, Event, Job, Status
from engines.errors import JobNotFound
from jobengine.v1.job_pb2 import JobSpec


class ScriptedEngine(Engine):
    """Yields the events, and raises the exceptions, that are put into `script`."""

    name = "scripted"
    capabilities = frozenset({Capability.COMMANDS})

    def __init__(self) -> None:
        self.script: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.watches = 0

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        return Job(name, uid=f"uid-of-{name}", spec=spec, request_id=request_id)

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        return None

    async def read_job(self, name: str) -> Job:
        raise JobNotFound(name)

    async def read_status(self, job: Job) -> Status:
        raise JobNotFound(job.name)

    async def watch(self) -> AsyncIterator[Event]:
        self.watches += 1
        while True:
            event = await self.script.get()
            if isinstance(event, Exception):
                raise event
            yield event
