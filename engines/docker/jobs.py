"""A job of the Docker engine that isn't over."""

import asyncio
from collections.abc import Iterable
from typing import Any

from engines.docker.container import Attempt
from engines.docker.record import KeptJob
from engines.lifecycle.active import ActiveJob
from engines.lifecycle.facts import Key, Stop
from jobengine.v1.job_pb2 import JobSpec


class DockerJob(ActiveJob[Attempt]):
    """What is known of the job, and what is under way about it.

    `own` says whether this server starts its containers; of a job that another one accepted it
    does so only if that one doesn't. `unclaimed` are containers that wait to be claimed,
    `launching` what is being started from here, `missed` what of it was heard of meanwhile.
    """

    def __init__(
        self,
        kept: KeptJob,
        attempts: Iterable[Attempt] = (),
        stop: Stop | None = None,
        *,
        own: bool = True,
    ) -> None:
        super().__init__(kept.intent, attempts, stop)
        self.kept = kept
        self.own = own
        self.ending = False
        self.failures = 0
        self.unclaimed: dict[Key, str] = {}
        self.launching: set[Key] = set()
        self.missed: set[Key] = set()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.pulling: set[asyncio.Task[Any]] = set()
        self.starting: set[asyncio.Task[Any]] = set()

    @property
    def spec(self) -> JobSpec:
        """The spec."""
        return self.kept.spec
