"""Starts one attempt: has its image, makes its container, claims that, and starts it once."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Generator
from typing import Any, Final

import structlog

from engines.docker import record
from engines.docker.api import CONFLICT, NOT_FOUND, Api
from engines.docker.container import Attempt
from engines.docker.daemon import Refused
from engines.docker.inspector import Inspector
from engines.docker.jobs import DockerJob
from engines.docker.manifest import make_body
from engines.docker.pulls import PullFailed, Pulls, Tell
from engines.docker.record import Claim, Labels
from engines.docker.secrets import Secrets
from engines.docker.settings import About, Settings
from engines.errors import EngineUnavailable, InvalidSpec
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Key
from jobengine.v1 import job_pb2

_log = structlog.get_logger(__name__)

MIN_STARTS: Final = 4
MAX_STARTS: Final = 16


class Launcher:
    """Of the jobs of one connection. `now` is the daemon's clock."""

    def __init__(
        self,
        api: Api,
        labels: Labels,
        settings: Settings,
        about: About,
        inspector: Inspector,
        now: Callable[[], float],
    ) -> None:
        self._api = api
        self._labels = labels
        self._settings = settings
        self._about = about
        self._inspector = inspector
        self._unsent = inspector.history.unsent
        self._server = secrets.token_hex(8)
        self._now = now
        self._pulls = Pulls(api)
        self._starts = asyncio.Semaphore(starts_at_once(about.processors))
        self._secrets = Secrets(settings.secrets)

    async def launch(self, job: DockerJob, key: Key, tell: Tell) -> Attempt | None:
        """The attempt as it is once it was started, or failed to start.

        None if another server starts it, or the job has to end. A container is started by the
        one that claimed it, and by that one once: what became of a start whose answer was lost is
        for the Inspector to find out.

        Raises:
            PullFailed: its image can't be had.
            EngineError: the daemon is away, or what it did can't be told; look again.
        """
        try:
            container = job.unclaimed.pop(key, None) or await self._create(job, key, tell)
        except (Refused, InvalidSpec) as refusal:
            words = refusal.words if isinstance(refusal, Refused) else str(refusal)
            return self._failed(key, words)
        if container is None:
            return None
        with _among(job.starting):
            async with self._starts:
                return await self._claim_and_start(job, key, container)

    async def _claim_and_start(self, job: DockerJob, key: Key, container: str) -> Attempt | None:
        claim = Claim(container, self._server)
        name = self._labels.container(job.intent, key)
        self._unsent.add(claim)
        said = await self._api.put_volume(name, self._labels.of_claim(job.intent, key, claim))
        if record.read_claim(said) != (key, claim):
            self._unsent.discard(claim)
            return None
        if job.stopping:
            await self._api.remove(container)
            await self._api.remove_volume(name)
            self._unsent.discard(claim)
            return None
        return await self._start(job, key, claim)

    async def _start(self, job: DockerJob, key: Key, claim: Claim) -> Attempt:
        container = claim.container
        refusal: Refused | None = None
        where = {"job": job.intent.name, "attempt": f"{key[0]}.{key[1]}", "container": container}
        _log.info("docker_container_starts", **where)
        try:
            await self._api.start(claim, self._unsent)
        except Refused as error:
            refusal = error
        seen = await self._inspector.see(container, key)
        if seen is None:
            raise EngineUnavailable("a container is gone that was about to be started")
        if not seen.started and seen.attempt.end is None:
            return self._failed(key, refusal.words if refusal else "it doesn't start")
        return await self._inspector.attempt(seen, job.stop)

    async def _create(self, job: DockerJob, key: Key, tell: Tell) -> str | None:
        """Make the attempt's container, or find the one that another server has made."""
        spec = job.spec
        if spec.image_pull_policy == job_pb2.IMAGE_PULL_POLICY_ALWAYS:
            await self._pull(job, tell)
        name = self._labels.container(job.intent, key)
        body = self._body(job, key)
        with _among(job.starting):
            try:
                return await self._api.create(name, body)
            except Refused as refusal:
                if refusal.status == CONFLICT or "in use" in refusal.words:
                    found = await self._api.inspect(name)
                    return None if found is None else str(found["Id"])
                if refusal.status != NOT_FOUND or await self._api.has_image(spec.image):
                    raise
        if spec.image_pull_policy == job_pb2.IMAGE_PULL_POLICY_NEVER:
            raise PullFailed(f"image {spec.image} isn't there, and it is never to be pulled")
        await self._pull(job, tell)
        with _among(job.starting):
            return await self._api.create(name, body)

    async def _pull(self, job: DockerJob, tell: Tell) -> None:
        spec = job.spec
        with _among(job.pulling):
            auth = self._secrets.registry(spec)
            await self._pulls.pull(spec.image, spec.image_pull_secret, auth, tell)

    def _body(self, job: DockerJob, key: Key) -> dict[str, Any]:
        env = self._secrets.env(job.spec)
        return make_body(job.kept, key, env, self._labels, self._settings, self._about)

    def _failed(self, key: Key, words: str) -> Attempt:
        return Attempt(*key, 0.0, "", end=End(facts.START_FAILED, self._now(), message=words))


def starts_at_once(processors: int) -> int:
    """How many containers are being started at any time, on a daemon with so many processors.

    More would hardly be started sooner, and each is in doubt when the daemon goes down.
    """
    return min(max(processors, MIN_STARTS), MAX_STARTS)


@contextlib.contextmanager
def _among(tasks: set[asyncio.Task[Any]]) -> Generator[None]:
    """Count the current task among these for a while."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  (there is one in any coroutine)
    tasks.add(task)
    try:
        yield
    finally:
        tasks.discard(task)
