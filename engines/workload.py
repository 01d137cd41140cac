"""What the conformance suite runs, and how it watches that."""

import abc
import asyncio
import contextlib
import math
import shlex
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from uuid import uuid4

from engines.base import Changed, Contact, Engine, Event, Job, Removed, Snapshot, State, Status
from jobengine.v1.job_pb2 import JobSpec

SHOWN_EVENTS = 5
"""Of what a watch has told, so many events are shown where it hasn't told enough."""


class Workload(abc.ABC):
    """Specs that make an engine do what the methods' names say.

    The suite changes what they return. Those that aren't abstract are asked for only where
    the engine has the capability that they say.
    """

    @abc.abstractmethod
    def succeeds(self) -> JobSpec:
        """Ends soon, well."""

    @abc.abstractmethod
    def fails(self, exit_code: int) -> JobSpec:
        """Ends soon with this exit code."""

    @abc.abstractmethod
    def lasts(self, seconds: float) -> JobSpec:
        """Ends well after so long, unless it is stopped."""

    def dies_of(self, signal: int) -> JobSpec:
        """Ends soon by this signal. Where the suite says `tells_exit_codes`."""
        raise NotImplementedError

    def fails_first(self, times: int) -> JobSpec:
        """Fails so many runs, the next one succeeds. Capability.RETRIES."""
        raise NotImplementedError

    def prints(self, stdout: Sequence[str], stderr: Sequence[str] = ()) -> JobSpec:
        """Writes these lines and ends well. Capability.LOGS."""
        raise NotImplementedError

    def prints_slowly(self, lines: Sequence[str]) -> JobSpec:
        """Writes these lines to stdout over about a second, ends well. Capability.LOGS."""
        raise NotImplementedError

    def prints_and_fails(self, line: str) -> JobSpec:
        """Writes this line to stdout, then fails. Capability.RETRIES and LOGS."""
        raise NotImplementedError

    def prints_index(self) -> JobSpec:
        """Writes $JOB_COMPLETION_INDEX and ends well. Capability.INSTANCES and LOGS."""
        raise NotImplementedError

    def fills(self, memory_bytes: int) -> JobSpec:
        """Takes so much memory, or fails soon because it doesn't get that. MEMORY_LIMIT."""
        raise NotImplementedError

    async def never_starts(self, engine: Engine) -> JobSpec:
        """Stays PENDING as long as it may. Capability.START_TIMEOUT."""
        raise NotImplementedError


class ShellWorkload(Workload):
    """For engines that run `/bin/sh`, with an image where they need one.

    `directory` is one that all instances see; it keeps what retried runs count.
    """

    def __init__(self, directory: Path, *, image: str = "") -> None:
        self._directory = directory
        self._image = image

    def succeeds(self) -> JobSpec:
        """As in Workload."""
        return self._shell("true")

    def fails(self, exit_code: int) -> JobSpec:
        """As in Workload."""
        return self._shell(f"exit {exit_code}")

    def lasts(self, seconds: float) -> JobSpec:
        """As in Workload."""
        return self._shell(f"exec sleep {seconds}")

    def dies_of(self, signal: int) -> JobSpec:
        """As in Workload."""
        return self._shell(f"kill -{signal} $$")

    def fails_first(self, times: int) -> JobSpec:
        """As in Workload."""
        runs = shlex.quote(str(self._directory / f"runs-{uuid4().hex}"))
        return self._shell(f"echo run >> {runs}; test $(wc -l < {runs}) -gt {times}")

    def prints(self, stdout: Sequence[str], stderr: Sequence[str] = ()) -> JobSpec:
        """As in Workload."""
        return self._shell(f"{_echo(stdout)}\n{{ {_echo(stderr)}\n}} >&2")

    def prints_slowly(self, lines: Sequence[str]) -> JobSpec:
        """As in Workload."""
        pause = f"sleep {1 / max(1, len(lines)):.3f}"
        return self._shell("\n".join(f"{_echo([line])}\n{pause}" for line in lines))

    def prints_and_fails(self, line: str) -> JobSpec:
        """As in Workload."""
        return self._shell(f"{_echo([line])}\nexit 1")

    def prints_index(self) -> JobSpec:
        """As in Workload."""
        return self._shell("echo $JOB_COMPLETION_INDEX")

    def fills(self, memory_bytes: int) -> JobSpec:
        """As in Workload."""
        # Tail keeps the one line that it is told.
        return self._shell(f"head -c {memory_bytes} /dev/zero | tail -n 1 >/dev/null")

    def _shell(self, script: str) -> JobSpec:
        return JobSpec(image=self._image, command=["/bin/sh", "-c"], args=[script])


def _echo(lines: Sequence[str]) -> str:
    return "\n".join(f"printf '%s\\n' {shlex.quote(line)}" for line in lines) or ":"


class Watched:
    """All that a watch has told since it began."""

    def __init__(self, engine: Engine, deadline_seconds: float) -> None:
        self.events: list[Event] = []
        self._deadline_seconds = deadline_seconds
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._follow(engine))

    async def close(self) -> None:
        """End the watch."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, engine: Engine) -> None:
        try:
            async for event in engine.watch():
                self.events.append(event)
                self._news.set()
        finally:
            self._news.set()

    def statuses(self, uid: str) -> list[Status]:
        """What was told of a job, in order, repeats left out."""
        told: list[Status] = []
        for event in self.events:
            match event:
                case Snapshot(jobs=jobs):
                    told += [job.status for job in jobs if job.uid == uid]
                case Changed(job=job) if job.uid == uid:
                    told.append(job.status)
                case Removed(uid=removed, status=status) if removed == uid and status is not None:
                    told += [status] if status.state.terminal else []
                case Changed() | Removed() | Contact():
                    pass
        return [status for i, status in enumerate(told) if i == 0 or status != told[i - 1]]

    def removed(self, uid: str, since: float = math.inf) -> bool:
        """Whether the job is gone, by a watch that tells all there is, since that moment."""
        for event in self.events:
            match event:
                case Removed(uid=removed) if removed == uid:
                    return True
                case Snapshot(jobs=jobs, began=began) if began >= since:
                    if not any(job.uid == uid for job in jobs):
                        return True
                case Snapshot() | Changed() | Removed() | Contact():
                    pass
        return False

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds; fail at the deadline, or when the watch has ended."""
        try:
            async with asyncio.timeout(self._deadline_seconds):
                while not condition():
                    if self._task.done():
                        self._task.result()
                        raise AssertionError(f"the watch ended before {what}")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"not {what} within {self._deadline_seconds:g} s; last heard: "
                f"{self.events[-SHOWN_EVENTS:]}"
            ) from None

    async def reaches(self, job: Job, state: State) -> Status:
        """Wait until the job is in this state, or was."""
        await self.until(
            lambda: any(status.state is state for status in self.statuses(job.uid)),
            f"{job.name} {state.name}",
        )
        return next(status for status in self.statuses(job.uid) if status.state is state)

    async def end_of(self, job: Job) -> Status:
        """Wait for the job's terminal status."""
        await self.until(
            lambda: any(status.state.terminal for status in self.statuses(job.uid)),
            f"the end of {job.name}",
        )
        return next(status for status in self.statuses(job.uid) if status.state.terminal)

    async def removal_of(self, job: Job) -> None:
        """Wait until the job is gone."""
        began = time.monotonic()
        await self.until(lambda: self.removed(job.uid, began), f"the removal of {job.name}")


@contextlib.asynccontextmanager
async def watching(engine: Engine, deadline_seconds: float) -> AsyncGenerator[Watched]:
    """Watch the engine, from its first Snapshot on."""
    watched = Watched(engine, deadline_seconds)
    try:
        await watched.until(lambda: bool(watched.events), "a first event")
        yield watched
    finally:
        await watched.close()
