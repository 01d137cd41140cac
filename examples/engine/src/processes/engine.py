"""Runs commands as processes of this machine: the engine that docs/engines.md makes."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engines import (
    Capability,
    Changed,
    Engine,
    Event,
    FieldViolation,
    InvalidSpec,
    InvalidToken,
    Job,
    JobAlreadyExists,
    JobNotFound,
    LogChunk,
    LogQuery,
    LogStream,
    Reason,
    Removed,
    State,
    Status,
    UidMismatch,
    spec_hash,
)
from engines.backoff import Backoff
from engines.feed import Feed
from jobengine import JobSpec

GRACE_SECONDS = 10.0
"""How long a command that is told to end gets, where the caller doesn't say."""

CHUNK_BYTES = 64 * 1024
LOOK_SECONDS = 0.1
PAUSES = Backoff(first=0.1, longest=10.0)


@dataclass(eq=False)
class Run:
    """A job, and the process that it is while it runs."""

    job: Job
    spec: JobSpec
    attempt: int = 0
    process: asyncio.subprocess.Process | None = None
    stop: Reason = Reason.NONE
    over: asyncio.Event = field(default_factory=asyncio.Event)


def ended(code: int) -> dict[str, Any]:
    """What a process's exit code means."""
    if code == 0:
        return {"state": State.SUCCEEDED, "reason": Reason.COMPLETED, "succeed": 1, "exit_code": 0}
    if code < 0:
        return failed(Reason.SIGNALLED, signal=-code)
    return failed(Reason.NON_ZERO_EXIT, exit_code=code)


def failed(reason: Reason, **more: Any) -> dict[str, Any]:
    """The end of a job that didn't succeed."""
    return {"state": State.FAILED, "reason": reason, "failed": 1, **more}


def send(run: Run, number: int) -> None:
    """Send a signal to all that a job has started, unless it has ended."""
    if run.process is not None and run.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, number)


def position(cursor: str) -> tuple[int, int]:
    """The attempt and the byte after which a read goes on."""
    if (found := re.fullmatch(r"(\d{1,9})\.(\d{1,18})", cursor or "0.0")) is None:
        raise InvalidToken("cursor")
    return int(found[1]), int(found[2])


def read(path: Path, offset: int) -> bytes:
    """Some of a file; nothing where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""


def last_lines(path: Path, count: int) -> int:
    """Where the last lines of a file begin."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return sum(map(len, lines[: max(0, len(lines) - count)]))


class ProcessesEngine(Engine):
    """The contract is told by the docstrings of `engines.Engine`."""

    name = "processes"
    capabilities = frozenset(
        {
            Capability.COMMANDS,
            Capability.LIST,
            Capability.CANCEL,
            Capability.LOGS,
            Capability.RETRIES,
            Capability.MEMORY_LIMIT,
        }
    )
    poll_interval_seconds = 0.2

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.feed = Feed()
        self.directory = tempfile.TemporaryDirectory(prefix="processes-")

    async def __aexit__(self, *exc_info: object) -> None:
        # These jobs are children of the server, and end with it.
        for run in self.runs.values():
            self.end(run, Reason.CANCELLED, 0)
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        while (before := self.runs.get(name)) is not None:
            if before.stop is not Reason.DELETED:
                raise JobAlreadyExists(name)
            await before.over.wait()
        job = Job(
            name,
            Status(create_time=time.time()),
            uid=uuid.uuid4().hex,
            labels=dict(spec.labels),
            request_id=request_id,
            spec_hash=spec_hash(spec),
        )
        # Nothing was awaited since the name was looked up: nobody else can have taken it.
        run = self.runs[name] = Run(job, spec)
        self.show(run)
        self.spawn(run)
        return replace(job, spec=spec)

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        run = self.find(name, uid)
        if run.over.is_set():
            self.forget(run)
        else:
            self.end(run, Reason.DELETED, grace_seconds)

    async def read_job(self, name: str) -> Job:
        run = self.find(name)
        return replace(run.job, spec=run.spec)

    async def read_status(self, job: Job) -> Status:
        return self.find(job.name).job.status

    async def list_jobs(self) -> Sequence[Job]:
        return [run.job for run in self.runs.values()]

    def watch(self) -> AsyncIterator[Event]:
        return self.feed.watch(lambda: [run.job for run in self.runs.values()])

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        run = self.find(name, uid)
        if not run.over.is_set():
            self.end(run, Reason.CANCELLED, grace_seconds)
        return run.job.status

    async def read_logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        run = self.find(name)
        if query.stream is not LogStream.BOTH:
            message = "stdout and stderr are one here: leave it out"
            raise InvalidSpec([FieldViolation("stream", message)])
        attempt, offset = position(query.cursor)
        if query.tail_lines is not None:
            attempt = run.attempt
            offset = last_lines(self.output(run, attempt), query.tail_lines)
        while True:
            over = run.over.is_set()
            if data := read(self.output(run, attempt), offset):
                offset += len(data)
                cursor = f"{attempt}.{offset}"
                yield LogChunk(data, LogStream.BOTH, cursor, attempt=attempt)
            elif attempt < run.attempt:
                attempt, offset = attempt + 1, 0
            elif over or not query.follow:
                return
            else:
                await asyncio.sleep(LOOK_SECONDS)

    def find(self, name: str, uid: str = "") -> Run:
        """The job of that name, if it has that uid."""
        if (run := self.runs.get(name)) is None:
            raise JobNotFound(name)
        if uid and run.job.uid != uid:
            raise UidMismatch(name, uid, run.job.uid)
        return run

    def spawn(self, run: Run) -> None:
        """Run a job in the background, whatever becomes of the call that created it."""
        task = asyncio.create_task(self.run(run))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, run: Run) -> None:
        """From the start of a job to its end, in as many attempts as it may have."""
        outcome = await self.outcome(run)
        while outcome["state"] is State.FAILED and run.attempt < run.spec.max_retries:
            run.attempt += 1
            self.show(run, active=None, failed=run.attempt, retries=run.attempt)
            await asyncio.sleep(PAUSES.after(run.attempt))
            outcome = await self.outcome(run)
        failures = run.attempt + (outcome["state"] is State.FAILED)
        self.finish(run, outcome | {"failed": failures or None, "retries": run.attempt})

    async def outcome(self, run: Run) -> dict[str, Any]:
        """Run the command, and say how that ended."""
        result: dict[str, Any] = {}
        if run.stop is Reason.NONE:
            try:
                result = ended(await self.attempt(run))
            except OSError as error:
                result = failed(Reason.START_FAILED, message=str(error))
        if run.stop is not Reason.NONE:
            return {"state": State.CANCELLED, "reason": run.stop}
        return result

    async def attempt(self, run: Run) -> int:
        """Run the command; return its exit code, or minus the signal that ended it."""
        output = self.output(run, run.attempt)
        output.parent.mkdir(exist_ok=True)
        with output.open("wb") as file:
            run.process = await asyncio.create_subprocess_exec(
                *self.command(run.spec),
                cwd=run.spec.working_dir or None,
                env={"PATH": os.environ["PATH"], **run.spec.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # so that what it starts can be ended with it
            )
        self.started(run)
        return await run.process.wait()

    def output(self, run: Run, attempt: int) -> Path:
        """Where an attempt writes to."""
        return Path(self.directory.name, run.job.uid, str(attempt))

    def started(self, run: Run) -> None:
        """Note that the command runs; it may have been told to end meanwhile."""
        start_time = run.job.status.start_time or time.time()
        self.show(run, state=State.RUNNING, active=1, start_time=start_time)
        if run.stop is not Reason.NONE:
            send(run, signal.SIGKILL)

    def finish(self, run: Run, outcome: dict[str, Any]) -> None:
        """Note how a job ended."""
        self.show(run, active=None, end_time=time.time(), **outcome)
        run.over.set()
        if run.stop is Reason.DELETED:
            self.forget(run)

    def command(self, spec: JobSpec) -> Sequence[str]:
        """What is executed."""
        command = [*spec.command, *spec.args]
        if not spec.resources.memory_bytes:
            return command
        limit = str(spec.resources.memory_bytes // 1024)
        return ["/bin/sh", "-c", 'ulimit -v "$0" && exec "$@"', limit, *command]

    def end(self, run: Run, why: Reason, grace_seconds: float | None) -> None:
        """Have a job end: kindly at first, then by force."""
        if run.stop is not Reason.DELETED:  # that outlasts a cancellation
            run.stop = why
        send(run, signal.SIGTERM)
        grace = GRACE_SECONDS if grace_seconds is None else grace_seconds
        asyncio.get_running_loop().call_later(grace, send, run, signal.SIGKILL)

    def show(self, run: Run, **changes: Any) -> None:
        """Note how a job is doing, and tell."""
        run.job = replace(run.job, status=replace(run.job.status, **changes))
        self.feed.publish(Changed(run.job))

    def forget(self, run: Run) -> None:
        """A job is gone, and what it has written."""
        if self.runs.get(run.job.name) is run:
            del self.runs[run.job.name]
            self.feed.publish(Removed(run.job.name, run.job.uid, run.job.status))
            shutil.rmtree(self.output(run, 0).parent, ignore_errors=True)
