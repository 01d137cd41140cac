"""Runs one job in the foreground: shows how it is, copies its output, passes Ctrl-C on."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Generator
from contextlib import aclosing

import typer

from jobengine import AsyncClient, Job, JobReason, JobSpec, JobState, JobStatus, LogStream, errors
from jobengine.cli import failure
from jobengine.cli.progress import Progress
from jobengine.cli.session import Session, close_stdout
from jobengine.cli.show import to_json
from jobengine.errors import JobEngineError

_OUTPUT_GRACE_SECONDS = 10.0
"""How long the output of a job that has ended may be silent before it is given up."""

_BY_REASON = {
    JobReason.JOB_REASON_DEADLINE_EXCEEDED: failure.TIMED_OUT,
    JobReason.JOB_REASON_START_TIMEOUT: failure.TIMED_OUT,
    JobReason.JOB_REASON_START_FAILED: failure.NOT_STARTED,
}


def exit_code(status: JobStatus) -> int:
    """What `jobengine run` returns for a job that ended like this."""
    if status.state == JobState.JOB_STATE_SUCCEEDED:
        return 0
    if status.state == JobState.JOB_STATE_CANCELLED:
        return failure.CANCELLED
    if status.state != JobState.JOB_STATE_FAILED:
        return failure.FAILED
    if status.reason in _BY_REASON:
        return _BY_REASON[status.reason]
    if status.signal:
        return failure.SIGNAL_BASE + status.signal
    exited = status.reason == JobReason.JOB_REASON_NON_ZERO_EXIT
    return (exited and status.exit_code) or failure.FAILED


class Follower:
    """Runs one job as if it were a command of this terminal."""

    def __init__(
        self, session: Session, spec: JobSpec, *, name: str, detach: bool, quiet: bool
    ) -> None:
        self._session = session
        self._spec = spec
        self._name = name
        self._detach = detach
        self._progress = Progress(json=session.json, quiet=quiet)
        self._interrupted = asyncio.Event()
        self._signal = 0
        self._heard = 0

    async def run(self) -> int:
        """Run the job; return the exit code for this process."""
        async with self._session.async_client() as client:
            with self._signals_handled(), self._progress:
                try:
                    job = await client.create_job(self._spec, name=self._name)
                    self._name = job.name
                    if self._detach:
                        typer.echo(to_json(job) if self._session.json else job.name)
                        return 0
                    status = await self._follow(client, job)
                except errors.JobNotFound as error:
                    # While it was followed, that is: not a question of a wrong name.
                    raise JobEngineError(f"{error}; how it ended can't be known") from None
        return failure.SIGNAL_BASE + self._signal if self._signal else exit_code(status)

    async def _follow(self, client: AsyncClient, job: Job) -> JobStatus:
        self._progress.show(job.name, job.status)
        output = asyncio.create_task(self._copy_output(client))
        watching = asyncio.create_task(self._watch(client))
        ending = asyncio.create_task(self._cancel_when_told(client))
        try:
            await asyncio.wait({watching, ending}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                ending.result()
            status = await watching
            await self._drain(output)
            self._progress.end(job.name, status)
            return status
        finally:
            for task in (output, watching, ending):
                task.cancel()
            await asyncio.gather(output, watching, ending, return_exceptions=True)

    async def _watch(self, client: AsyncClient) -> JobStatus:
        status = JobStatus()
        async with aclosing(client.watch_status(self._name)) as events:
            async for event in events:
                status = event.status
                self._progress.show(self._name, status)
        return status

    async def _copy_output(self, client: AsyncClient) -> None:
        """Copy what all instances write, one instance after the other."""
        try:
            for instance in range(max(self._spec.completions, 1)):
                logs = client.logs(self._name, instance=instance, follow=True)
                async with aclosing(logs) as chunks:
                    async for chunk in chunks:
                        self._heard += 1
                        to_stderr = chunk.stream == LogStream.LOG_STREAM_STDERR
                        if chunk.skipped_bytes:
                            self._progress.note(f"{chunk.skipped_bytes} bytes of output are gone")
                        await asyncio.to_thread(_write, chunk.data, to_stderr=to_stderr)
        except errors.Unsupported as error:
            self._progress.note(f"no output is shown: {error}")
        except JobEngineError as error:
            self._progress.note(f"the output may be incomplete: {error}")
        except BrokenPipeError:
            # As for any command whose output nobody reads any more.
            close_stdout()
            self._interrupt(signal.SIGPIPE)

    async def _drain(self, output: "asyncio.Task[None]") -> None:
        """Wait for the rest of the output, as long as more of it comes."""
        while not output.done():
            heard = self._heard
            await asyncio.wait({output}, timeout=_OUTPUT_GRACE_SECONDS)
            if not output.done() and heard == self._heard:
                self._progress.note("the output may be incomplete: its end didn't come")
                return

    async def _cancel_when_told(self, client: AsyncClient) -> None:
        await self._interrupted.wait()
        if self._signal == signal.SIGPIPE:
            self._progress.note("nobody reads the output any more: cancelling the job")
        else:
            self._progress.note("cancelling the job; Ctrl-C again leaves at once")
        try:
            await client.cancel_job(self._name)
        except errors.Unsupported:
            self._progress.note("this engine can't cancel a job: deleting it")
            await client.delete_job(self._name, allow_missing=True)

    @contextlib.contextmanager
    def _signals_handled(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _interrupt(self, number: int) -> None:
        if self._signal:
            # Neither the server nor a blocked output may keep anybody here.
            os._exit(failure.SIGNAL_BASE + number)
        self._signal = number
        self._interrupted.set()


def _write(data: bytes, *, to_stderr: bool) -> None:
    target = sys.stderr.buffer if to_stderr else sys.stdout.buffer
    target.write(data)
    target.flush()
