"""Finds out how jobs and their attempts stand, by what Docker says when it is asked."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from engines.base import LogStream
from engines.docker.api import Api
from engines.docker.container import UNKNOWN_CODE, Attempt, Container, exit_of, read_container
from engines.docker.history import History
from engines.docker.jobs import DockerJob
from engines.docker.record import Claim, KeptJob, Labels
from engines.docker.settings import About
from engines.docker.survey import Findings, survey
from engines.errors import JobNotFound
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Key, Stop

DOUBT_SECONDS: Final = 12.0
"""How long a daemon may take to stop, by its default; then its 255 was a command's own."""

_INIT_CODES: Final = frozenset({126, 127})
_DOUBTFUL_CODES: Final = frozenset({137, UNKNOWN_CODE})
"""Killed, maybe for want of memory; and what Docker says where it doesn't know."""

_PODMAN_INIT_CODES: Final = frozenset({1})
_INIT_FAILED: Final = re.compile(
    rb"(?:\S+ )?(?:\[FATAL tini \(\d+\)\] |ERROR \(catatonit:\d+\): )"
    rb"((?:exec .* failed|failed to exec pid1): .*)\n"
)
"""What Docker's init and Podman's write when they can't start the command."""


_log = structlog.get_logger(__name__)


class Inspector:
    """Asks about the jobs of one connection. `now` is the daemon's clock."""

    def __init__(
        self, api: Api, labels: Labels, about: About, history: History, now: Callable[[], float]
    ) -> None:
        self._api = api
        self._labels = labels
        self._about = about
        self.history = history
        self._now = now

    async def see(self, container: str, key: Key) -> Container | None:
        """A container, None where it is gone."""
        found = await self._api.inspect(container)
        if found is None or self._labels.run(found["Config"].get("Labels"), found["Name"]) is None:
            return None
        return read_container(found, key)

    async def attempt(self, seen: Container, stop: Stop | None) -> Attempt:
        """The attempt that a container is, where `stop` was decided about its job."""
        told = self.history.exits.get(seen.id)
        if seen.attempt.end is None and told is not None:
            # Podman tells of an exit first, and shows it `running`, then `stopped`, for a while.
            seen = replace(seen, attempt=seen.attempt._replace(end=exit_of(told, self._now())))
        if seen.witness_needed and told is None and seen.id in self.history.doubtful:
            # A daemon that is being stopped says 255 too: believed only if it stays.
            await asyncio.sleep(DOUBT_SECONDS)
            told = UNKNOWN_CODE
        attempt = seen.settled(told, stop)
        end = attempt.end
        codes = _PODMAN_INIT_CODES if self._about.podman else _INIT_CODES
        if end is None or end.reason != facts.EXITED or end.code not in codes:
            return attempt
        if not (words := await self._init_failure(seen.id)):
            return attempt
        return attempt._replace(end=End(facts.START_FAILED, end.time, message=words))

    def plain_exit(self, container: str) -> int | None:
        """The exit code that Docker told, if it can mean one thing only."""
        code = self.history.exits.get(container)
        ambiguous = _PODMAN_INIT_CODES if self._about.podman else _INIT_CODES
        return None if code in ambiguous or code in _DOUBTFUL_CODES else code

    async def _init_failure(self, container: str) -> str:
        """Why init couldn't start the command, where that is all that the container wrote."""
        frames = self._api.logs(container, stdout=1, stderr=1, tail=2)
        async with contextlib.aclosing(frames):
            written = [frame async for frame in frames]
        if len(written) != 1 or written[0].stream != LogStream.STDERR:
            return ""
        failure = _INIT_FAILED.fullmatch(written[0].data)
        return failure[1].decode(errors="replace") if failure else ""

    def missing(self, key: Key, container: str, started: float, stop: Stop | None) -> Attempt:
        """An attempt whose container is gone: how it ended, if Docker told that in time."""
        code = self.history.exits.get(container)
        if code is not None:
            end = exit_of(code, self._now())
        else:
            message = f"the container of instance {key[0]} was removed by somebody else"
            end = End(facts.LOST, self._now(), message=message)
        if stop is not None:
            end = end._replace(reason=facts.STOPPED)
        return Attempt(*key, started, container, end=end)

    async def findings(self, uid: str) -> Findings:
        """What there is of a job: what was decided first, then its containers.

        So that of an attempt that was claimed the container is among them, if it still is.

        Raises:
            JobNotFound: the job is gone.
        """
        volumes = await self._api.volumes(uid)
        containers = await self._api.containers(uid)
        found = survey(self._labels, containers, volumes, self._now()).get(uid)
        if found is None or found.kept is None:
            raise JobNotFound(uid)
        return found

    async def job(self, kept: KeptJob, findings: Findings, *, own: bool) -> DockerJob:
        """The job as its containers and what was decided about it say."""
        containers = findings.containers
        ids = await asyncio.gather(*(self.see(listed.id, listed.key) for listed in containers))
        seen = {container.key: container for container in ids if container is not None}
        stop = findings.decision
        attempts: list[Attempt] = []
        unclaimed: dict[Key, str] = {}
        left: list[Key] = []
        for key in sorted(seen.keys() | findings.claims.keys()):
            container, claim = seen.get(key), findings.claims.get(key)
            if container is None:
                assert claim is not None  # noqa: S101  (the key is of one or the other)
                if claim in self.history.unsent:
                    await self._withdraw(kept, key, claim)
                else:
                    attempts.append(self.missing(key, claim.container, 0.0, stop))
            elif container.started or container.attempt.end is not None:
                attempts.append(await self.attempt(container, stop))
            elif claim is None:
                unclaimed[key] = container.id
            elif not own:
                left.append(key)
            elif (attempt := await self._resolve(kept, container, claim, stop)) is not None:
                attempts.append(attempt)
        job = DockerJob(kept, attempts, stop, own=own)
        job.deleted = findings.delete is not None
        job.unclaimed = unclaimed
        for key in left:
            job.leave(key)
        return job

    async def _resolve(
        self, kept: KeptJob, seen: Container, claim: Claim, stop: Stop | None
    ) -> Attempt | None:
        """What became of a container that is `created` and claimed, and that nobody starts.

        Its command may have run all the same, see History. It hasn't where the daemon has been up
        since it was claimed, or where the request to start it was never sent. Then the container
        is removed, so that a start that is still on its way finds nothing, and None says that
        the attempt may be started with a new one. Anything else is LOST.
        """
        name = self._labels.container(kept.intent, seen.key)
        _log.info("docker_start_in_doubt", job=kept.intent.name, container=seen.id)
        unsent = claim in self.history.unsent
        daemon_was_up = name in self.history.claimed and not self._about.podman
        if claim.container != seen.id or not (unsent or daemon_was_up):
            return self._lost(seen, "the Docker daemon went down as it started")
        async with self.history.destruction(seen.id) as destruction:
            if not await self._api.remove(seen.id):
                destruction.set()
        again = await self.see(seen.id, seen.key)
        if again is not None and (again.started or again.attempt.end is not None):
            return await self.attempt(again, stop)
        if again is not None:
            return self._lost(seen, "its container can't be removed")
        if seen.id in self.history.started:
            return self._lost(seen, "its container was started and removed at once")
        await self._withdraw(kept, seen.key, claim)
        return None

    async def _withdraw(self, kept: KeptJob, key: Key, claim: Claim) -> None:
        """Take back a claim on a container that never was started, and is gone."""
        await self._api.remove_volume(self._labels.container(kept.intent, key))
        self.history.unsent.discard(claim)

    def _lost(self, seen: Container, why: str) -> Attempt:
        message = f"instance {seen.key[0]} may have run or not: {why}"
        return seen.attempt._replace(end=End(facts.LOST, self._now(), message=message))
