"""One connection to the API server: what it tells of Jobs and pods, and whether it is there."""

import asyncio
import contextlib
from typing import Final

from engines.errors import EngineError, EngineUnavailable
from engines.kubernetes import record
from engines.kubernetes.api import Api
from engines.kubernetes.cluster import Cluster
from engines.kubernetes.controller import Controller
from engines.kubernetes.podless import Podless
from engines.kubernetes.reflector import Reflector
from engines.kubernetes.tracked import trim_job, trim_pod

PING_INTERVAL_SECONDS: Final = 3.0
PING_SECONDS: Final = 5.0
"""How long the API server may take for a sign of life."""


class ClusterSession:
    """From a connection's beginning until it is lost; see `engines.link.Session`."""

    def __init__(self, cluster: Cluster, api: Api) -> None:
        self.controller = Controller(api)
        self.in_sync = self.controller.in_sync
        self._api = api
        self._podless = Podless(api, self.controller.active, self.controller.evaluate)
        self._jobs = Reflector(cluster, api.jobs, record.SELECTOR, trim_job)
        self._pods = Reflector(cluster, api.pods, record.SELECTOR, trim_pod)

    async def run(self) -> None:
        """Follow Jobs and pods.

        Raises:
            EngineError: the API server is lost.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_jobs())
                group.create_task(self._follow_pods())
                group.create_task(self._podless.ask_for_ever())
                group.create_task(self._ping_for_ever())
        except* EngineError as errors:
            raise _first(errors) from None

    async def close(self, error: EngineError) -> None:
        """Leave the jobs as they are."""
        await self.controller.close(error)

    async def _follow_jobs(self) -> None:
        async with contextlib.aclosing(self._jobs.follow()) as events:
            async for event in events:
                self.controller.take_job(event)

    async def _follow_pods(self) -> None:
        async with contextlib.aclosing(self._pods.follow()) as events:
            async for event in events:
                self.controller.take_pod(event)

    async def _ping_for_ever(self) -> None:
        while True:
            await self._api.ping(PING_SECONDS)
            await asyncio.sleep(PING_INTERVAL_SECONDS)


def _first(errors: BaseExceptionGroup[EngineError]) -> EngineError:
    found = errors.exceptions[0]
    return found if isinstance(found, EngineError) else EngineUnavailable(str(found))
