"""A job of the fake engine: its pretended runs and what they write."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Literal, cast

from google.protobuf.duration_pb2 import Duration

from engines.base import Job, LogChunk, LogQuery, LogStream, Reason, State, Status
from engines.errors import InvalidToken
from engines.memory.knobs import Knobs
from jobengine.v1.job_pb2 import JobSpec

_LOST = frozenset({Reason.NODE_LOST, Reason.UNKNOWN})
"""Why a job is LOST, not FAILED."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that an instance wrote."""

    data: bytes
    stream: LogStream
    attempt: int
    write_time: float


class _FailedForGood(Exception):
    """An instance failed, and the job has no retries left."""

    def __init__(self, exit_code: int | None, signal: int) -> None:
        super().__init__(exit_code, signal)
        self.exit_code = exit_code
        self.signal = signal


class FakeJob:
    """One job; `publish` is called with each new state of it."""

    def __init__(
        self, job: Job, spec: JobSpec, knobs: Knobs, publish: Callable[[Job], None]
    ) -> None:
        self.job = job
        self.spec = spec
        self.knobs = knobs
        self._publish = publish
        self._lines: dict[int, list[_Line]] = {}
        self._finished: set[int] = set()
        self._news = asyncio.Event()

    @property
    def status(self) -> Status:
        """The status now."""
        return self.job.status

    async def run(self) -> None:
        """Pretend to run the job to its end, its timeouts included."""
        try:
            async with asyncio.timeout(self.span("start_timeout")):
                await asyncio.sleep(self.knobs.pending_for)
        except TimeoutError:
            self.end(State.FAILED, Reason.START_TIMEOUT, message="it did not start in time")
            return
        try:
            async with asyncio.timeout(self.span("timeout")):
                await self._run_instances()
        except TimeoutError:
            self.end(State.FAILED, Reason.DEADLINE_EXCEEDED, message="its timeout ran out")

    def end(
        self,
        state: State,
        reason: Reason,
        *,
        exit_code: int | None = None,
        signal: int = 0,
        message: str = "",
    ) -> None:
        """Make the status terminal."""
        self._set(
            replace(
                self.status,
                active=None,
                state=state,
                reason=reason,
                exit_code=exit_code,
                signal=signal,
                message=message,
                end_time=time.time(),
            )
        )
        self._tell()

    def span(
        self, field: Literal["start_timeout", "timeout", "ttl_after_finished"]
    ) -> float | None:
        """A Duration of the spec in seconds, None where it is unset."""
        if not self.spec.HasField(field):
            return None
        duration: Duration = getattr(self.spec, field)
        return duration.ToTimedelta().total_seconds()

    async def read_logs(self, query: LogQuery) -> AsyncGenerator[LogChunk]:
        """As `Engine.read_logs`; a chunk is a line."""
        position = self._first_line(query)
        while True:
            news = self._news
            for line in self._lines.get(query.instance, [])[position:]:
                position += 1
                if query.stream in {LogStream.BOTH, line.stream}:
                    yield LogChunk(
                        line.data,
                        line.stream,
                        cursor=f"{self.job.uid}/{query.instance}/{position}",
                        write_time=line.write_time,
                        attempt=line.attempt,
                    )
            if news is not self._news:
                continue
            if not query.follow or self.status.state.terminal or query.instance in self._finished:
                return
            await news.wait()

    def _first_line(self, query: LogQuery) -> int:
        lines = self._lines.get(query.instance, [])
        if query.cursor:
            prefix, _, position = query.cursor.rpartition("/")
            if prefix != f"{self.job.uid}/{query.instance}" or not position.isdecimal():
                raise InvalidToken("cursor")
            return int(position)
        if query.tail_lines is None:
            return 0
        matching = [i for i, x in enumerate(lines) if query.stream in {LogStream.BOTH, x.stream}]
        return [*matching, len(lines)][-1 - min(query.tail_lines, len(matching))]

    async def _run_instances(self) -> None:
        waiting = deque(range(max(1, self.spec.completions)))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(1, self.spec.parallelism)):
                    group.create_task(self._run_in_turn(waiting))
        except* _FailedForGood as failures:
            first = cast("_FailedForGood", failures.exceptions[0])
            usual = Reason.SIGNALLED if first.signal else Reason.NON_ZERO_EXIT
            reason = self.knobs.reason or usual
            state = State.LOST if reason in _LOST else State.FAILED
            self.end(state, reason, exit_code=first.exit_code, signal=first.signal)
        else:
            self.end(State.SUCCEEDED, Reason.COMPLETED, exit_code=0)

    async def _run_in_turn(self, waiting: deque[int]) -> None:
        while waiting:
            instance = waiting.popleft()
            attempt = 0
            while failure := await self._run_once(instance, attempt):
                if self.status.retries >= self.spec.max_retries:
                    raise failure
                self._set(replace(self.status, retries=self.status.retries + 1))
                attempt += 1
            self._finished.add(instance)
            self._tell()

    async def _run_once(self, instance: int, attempt: int) -> _FailedForGood | None:
        before = self.status
        self._set(
            replace(
                before,
                state=State.RUNNING,
                active=(before.active or 0) + 1,
                start_time=before.start_time or time.time(),
            )
        )
        output = self.knobs.output
        for line in output:
            self._write(instance, attempt, line)
            await asyncio.sleep(self.knobs.run_for / len(output))
        if not output:
            await asyncio.sleep(self.knobs.run_for)
        after = self.status
        exit_code, signal = self.knobs.exit_of(after.failed or 0)
        active = (after.active or 0) - 1 or None
        if exit_code == 0:
            self._set(replace(after, active=active, succeed=(after.succeed or 0) + 1))
            return None
        self._set(replace(after, active=active, failed=(after.failed or 0) + 1))
        return _FailedForGood(exit_code, signal)

    def _write(self, instance: int, attempt: int, text: str) -> None:
        stream = LogStream.STDERR if text.startswith("!") else LogStream.STDOUT
        text = text.removeprefix("!").replace("$JOB_COMPLETION_INDEX", str(instance))
        line = _Line(text.encode() + b"\n", stream, attempt, time.time())
        self._lines.setdefault(instance, []).append(line)
        self._tell()

    def _set(self, status: Status) -> None:
        if self.status.state.terminal:
            return  # a run that ends just as the job is stopped; nothing may be told after Removed
        self.job = replace(self.job, status=status)
        self._publish(self.job)

    def _tell(self) -> None:
        """Wake the readers of the output."""
        self._news.set()
        self._news = asyncio.Event()
