"""What a server was asked, what its watchers were told, and whether all of that is true."""

import asyncio
import contextlib
from pathlib import Path
from typing import Self

from jobengine import (
    AsyncClient,
    JobReason,
    JobState,
    JobStatus,
    RetryPolicy,
    WatchEvent,
    errors,
    is_terminal,
    state_name,
)
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.truth import Run, Task

PATIENT = RetryPolicy(retry_for_seconds=25, resume_for_seconds=25, heartbeat_seconds=1)
_SETTLE_SECONDS = 30
_GONE = "GONE"
_ENDS = {_GONE, "SUCCEEDED", "FAILED", "CANCELLED", "LOST"}


class Story:
    """A server on a directory of its own, its watchers, and the jobs that it was given."""

    patience = PATIENT
    settle_seconds: float = _SETTLE_SECONDS
    call_seconds: float = 30.0

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.server = self.make_server(*options)
        self.tasks: list[Task] = []
        self.told: dict[str, list[JobStatus]] = {}  # by uid, by the watch of all jobs
        self.ended: dict[str, JobStatus] = {}  # by name, once it was checked
        self._drivers: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        self._stack.callback(self.clear)
        self._stack.push_async_callback(asyncio.to_thread, self.server.close)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def make_server(self, *options: str) -> FaultyServer:
        """The server, not started yet."""
        return FaultyServer(self.directory / "state", *options)

    def clear(self) -> None:
        """End and remove whatever there is."""
        processes.kill_all(self.directory, self.server.state_dir)

    async def begin(self, fault: str = "") -> None:
        """Start the server and a watch of all jobs."""
        await asyncio.to_thread(self.server.start, fault)
        self.client = AsyncClient(
            self.server.address, timeout_seconds=self.call_seconds, retry=self.patience
        )
        self._stack.push_async_callback(self.client.close)
        self._watch = asyncio.create_task(self._watch_all())
        self._stack.push_async_callback(_cancel, self._watch)

    async def play(self, fault: str, task: Task) -> None:
        """Start a server that will die at the step, then another one that goes on with the job."""
        async with self:
            await self.begin(fault)
            self.submit(task)
            await asyncio.to_thread(self.server.wait_for_its_death)
            await asyncio.to_thread(self.server.start)
            await self.settle()
            await self.check()

    def submit(self, task: Task) -> None:
        """Create a job, follow it to its end, and do to it what is to be done."""
        self.tasks.append(task)
        driver = asyncio.create_task(self._drive(task))
        self._drivers.append(driver)
        self._stack.push_async_callback(_cancel, driver)

    async def until_away(self) -> str:
        """Wait until the server has noticed that its engine is away; return what it says."""
        while not (message := (await self.client.read_engine()).message):
            await asyncio.sleep(0.1)  # nobody tells
        return message

    async def until_there(self) -> None:
        """Wait until the server is in touch with its engine."""
        while (await self.client.read_engine()).message:
            await asyncio.sleep(0.1)  # nobody tells

    async def settle(self) -> None:
        """Wait until every job has come to its end and its watcher knows."""
        try:
            async with asyncio.timeout(self.settle_seconds):
                await asyncio.gather(*self._drivers)
        except TimeoutError:
            left = [t for t in self.tasks if not t.said or t.said[-1] not in _ENDS]
            told = "\n".join(f"{t.name}: {t.said} {t.act} {t.runs()}" for t in left)
            raise AssertionError(f"not settled after {self.settle_seconds} s:\n{told}") from None

    async def _drive(self, task: Task) -> None:
        job = await self.client.create_job(task.spec, name=task.name, request_id=task.request_id)
        task.uid = job.uid
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(task))
            if task.act:
                group.create_task(self._act(task))

    async def _act(self, task: Task) -> None:
        await asyncio.sleep(task.delay)
        if task.act == "cancel":
            await self.client.cancel_job(task.name, uid=task.uid, grace_seconds=1)
        else:
            await self.delete(task)

    async def delete(self, task: Task) -> None:
        """Delete a job that is there, and wait until it is gone."""
        await self.client.delete_job(task.name, wait=True, grace_seconds=0)

    async def _follow(self, task: Task) -> None:
        """Take down what the job's own watcher is told."""
        terminal: list[JobStatus] = []
        last = 0
        try:
            async with contextlib.aclosing(self.client.watch_status(task.name)) as events:
                async for event in events:
                    assert event.uid == task.uid
                    task.said.append(state_name(event.status))
                    back = f"{task.name} went backwards: {task.said} {event.status}"
                    assert event.status.state >= last, back
                    last = event.status.state
                    if is_terminal(event.status):
                        terminal.append(event.status)
        except errors.JobNotFound:
            # It was deleted while there was no server, or before the watch began.
            assert task.act == "delete", f"{task.name} is missing"
            task.said.append(_GONE)
        assert terminal or task.act == "delete", f"{task.name}: {task.said}"
        assert all(status == terminal[0] for status in terminal), terminal

    async def _watch_all(self) -> None:
        gone: set[str] = set()
        async with contextlib.aclosing(self.client.watch_jobs()) as events:
            async for event in events:
                if event.event == WatchEvent.WATCH_EVENT_SYNCED:
                    continue
                uid = event.job.uid
                assert uid not in gone, f"{event.job.name} came back after its deletion"
                if event.event == WatchEvent.WATCH_EVENT_DELETED:
                    gone.add(uid)
                self.told.setdefault(uid, []).append(event.job.status)

    # The checks, once all is over.

    async def check(self) -> None:
        """Hold what the service said against what the jobs wrote down; ends the server."""
        if self._watch.done():
            self._watch.result()
        for uid, statuses in self.told.items():
            _check_forward(uid, statuses)
        listed = {job.name: job async for job in self.client.list_jobs()}
        for task in self.tasks:
            if task.act == "delete":
                assert task.name not in listed, f"{task.name} was deleted and is still there"
                task.runs()
                continue
            assert listed[task.name].uid == task.uid
            status = await self.client.read_status(task.name)
            self.check_truth(task, status)
            self.ended[task.name] = status
            again = await self.client.create_job(
                task.spec, name=task.name, request_id=task.request_id
            )
            assert again.uid == task.uid
            assert again.status == status
            assert task.said[-1] == state_name(status)
        await asyncio.to_thread(self.check_nothing_runs)

    def check_truth(self, task: Task, status: JobStatus) -> None:
        """Fail if that isn't how a job ended."""
        check_truth(task, status)

    def check_nothing_runs(self) -> None:
        """Fail if anything is left of what ran."""
        assert not processes.of_jobs(self.directory)
        assert self.server.terminate() == 0
        processes.until(
            "no launcher and no shim is left",
            lambda: not processes.of_engine(self.server.state_dir),
        )


def _check_forward(uid: str, statuses: list[JobStatus]) -> None:
    states = [status.state for status in statuses]
    assert states == sorted(states), f"{uid} went backwards: {states}"
    ended = [status for status in statuses if is_terminal(status)]
    assert all(status == ended[0] for status in ended), ended


def check_truth(task: Task, status: JobStatus) -> None:
    """One terminal state, and the one that the job's own words lead to."""
    runs = task.runs()
    name = task.name
    assert is_terminal(status), f"{name}: {status}"
    _check_attempts(task, runs)
    completions = task.options.get("completions", 1)
    succeeded = {run.instance for run in runs if run.code == 0}
    failed = [run.code for run in runs if run.code]
    state = status.state
    if state == JobState.JOB_STATE_SUCCEEDED:
        assert succeeded == set(range(completions)), f"{name}: {runs}"
        assert status.succeed == completions
        assert status.exit_code == 0
    elif state == JobState.JOB_STATE_CANCELLED:
        assert task.act, f"nobody cancelled {name}"
        return  # what was stopped may have written its end that very moment, or not
    else:
        assert state == JobState.JOB_STATE_FAILED, f"{name}: {status}"
        assert status.reason == JobReason.JOB_REASON_NON_ZERO_EXIT
        assert len(failed) > task.options.get("max_retries", 0), f"{name}: {runs}"
        assert status.exit_code in failed
        assert len(succeeded) < completions
    assert status.failed <= len(failed), f"{name}: {runs}"
    if completions == 1 or state == JobState.JOB_STATE_SUCCEEDED:
        # Otherwise the instances that still ran were stopped.
        assert all(run.code is not None for run in runs), f"{name}: {runs}"
        assert status.failed == len(failed), f"{name}: {runs}"


def _check_attempts(task: Task, runs: list[Run]) -> None:
    """An instance is run again only where the attempt before has failed."""
    codes = {(run.instance, run.attempt): run.code for run in runs}
    for instance, attempt in codes:
        assert instance < task.options.get("completions", 1), f"{task.name}: {runs}"
        if attempt:
            assert codes.get((instance, attempt - 1)), f"{task.name}: {runs}"


async def _cancel(task: asyncio.Task[None]) -> None:
    """End a task. Its own failure was told before, or what ended the story counts more."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        print(f"{task.get_coro()} ended by {error!r}")
