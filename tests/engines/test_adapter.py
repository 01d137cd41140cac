"""What plain classes do wrong, and what becomes of it."""

import asyncio
import functools
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from engines import threads
from engines.adapter import PlainEngine
from engines.base import Capability, Job, Reason, State, Status
from engines.counts import next_status
from engines.errors import (
    CapabilityMissing,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    InvalidSpec,
    JobAlreadyExists,
    JobNotFound,
    UidMismatch,
)
from engines.workload import watching
from jobengine import AsyncClient, errors
from jobengine.v1.job_pb2 import JobSpec, JobStatus
from server.app import Server
from server.config import Config
from tests.engines import plain_class

DEADLINE_SECONDS = 20.0
SPEC = JobSpec(command=["true"])


class Told:
    """A plain engine whose jobs are what the test says; `hold` holds up calls about a job."""

    class Job:
        def __init__(self, name: str, status: object) -> None:
            self.name = name
            self.status = status

    def __init__(self) -> None:
        self.jobs: dict[str, object] = {}
        self.created: list[str] = []
        self.held: dict[tuple[str, str], threading.Event] = {}
        self.entered = threading.Semaphore(0)
        self.inside = 0
        self.most_inside = 0

    def hold(self, method: str, name: str) -> threading.Event:
        return self.held.setdefault((method, name), threading.Event())

    def _enter(self, method: str, name: str) -> None:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            if (event := self.held.get((method, name))) is not None:
                self.entered.release()
                event.wait()
        finally:
            self.inside -= 1

    def create_job(self, name: str, spec: JobSpec) -> object:
        self._enter("create_job", name)
        self.created.append(name)
        self.jobs[name] = Status(active=1)
        return self.Job(name, self.jobs[name])

    def delete_job(self, name: str) -> None:
        self._enter("delete_job", name)
        del self.jobs[name]

    def read_job(self, name: str) -> object:
        self._enter("read_job", name)
        return self.Job(name, None) if name in self.jobs else None

    def read_status(self, job: Any) -> Any:
        self._enter("read_status", job.name)
        told = self.jobs[job.name]
        if isinstance(told, Exception):
            raise told
        return told


@asynccontextmanager
async def adapted(plain: Any, **attributes: object) -> AsyncGenerator[PlainEngine]:
    """The object as an engine; what it still holds is let go at the end."""
    for name, value in attributes.items():
        setattr(plain, name, value)
    try:
        async with PlainEngine(plain) as engine:
            yield engine
    finally:
        for event in getattr(plain, "held", {}).values():
            event.set()


async def entered(plain: Told) -> None:
    """Wait until a call is held."""
    assert await asyncio.to_thread(plain.entered.acquire, timeout=DEADLINE_SECONDS)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PATIENCE_SECONDS", 0.05)


# -- the class of the documentation, unchanged ---------------------------------------------------


@asynccontextmanager
async def served(plain: object) -> AsyncIterator[AsyncClient]:
    config = Config(listen="127.0.0.1:0", stop_grace_seconds=1)
    async with Server(PlainEngine(plain), config) as server:
        assert await server.in_touch(DEADLINE_SECONDS)
        async with AsyncClient(server.address) as client:
            yield client


@pytest.mark.parametrize(
    ("script", "counts", "end"),
    [("cat", (1, None), State.SUCCEEDED), ("cat; exit 1", (None, 1), State.FAILED)],
)
async def test_watch_status_of_an_unchanged_class(
    script: str, counts: tuple[int | None, int | None], end: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The class starts its commands with the test's stdin: give them one that can be ended.
    plain: Any = plain_class.YourEngine()  # type: ignore[no-untyped-call]
    popen = functools.partial(subprocess.Popen, stdin=subprocess.PIPE)
    monkeypatch.setattr(plain_class, "subprocess", SimpleNamespace(Popen=popen))
    async with served(plain) as client:
        await client.create_job(JobSpec(command=["/bin/sh", "-c", script]), name="job")
        told: list[JobStatus] = []
        async for event in client.watch_status("job"):
            told.append(event.status)
            if State(event.status.state) is State.RUNNING:
                plain.processes["job"].stdin.close()
        assert [(s.active, State(s.state)) for s in told] == [(1, State.RUNNING), (0, end)]
        assert (told[-1].succeed or None, told[-1].failed or None) == counts
        await client.delete_job("job")
        with pytest.raises(errors.JobNotFound):
            await client.read_job("job")


@pytest.mark.usefixtures("patience")
async def test_a_hanging_method_harms_nobody_else_over_grpc() -> None:
    plain = Told()
    plain.jobs["stuck"] = Status(active=1)
    released = plain.hold("read_job", "stuck")
    plain.call_timeout_seconds = 1.0  # type: ignore[attr-defined]
    try:
        async with served(plain) as client:
            stuck = asyncio.create_task(client.read_job("stuck"))
            await entered(plain)
            await client.create_job(SPEC, name="fine")
            plain.jobs["fine"] = Status(succeed=1)
            assert (await client.wait("fine")).succeed == 1
            late = r"Told.read_job has not returned in 1 s"
            with pytest.raises(errors.DeadlineExceeded, match=late):
                await stuck
    finally:
        released.set()


# -- what methods return and raise ---------------------------------------------------------------


class Raising(Told):
    def read_job(self, name: str) -> object:
        raise KeyError(name)


async def test_a_lookup_error_means_no_such_job() -> None:
    async with adapted(Raising()) as engine:
        with pytest.raises(JobNotFound):
            await engine.read_job("a")
        await engine.create_job("a", SPEC)


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (ValueError("bad luck"), EngineFailed, "Told.read_status: ValueError: bad luck"),
        (StopIteration(), EngineFailed, "Told.read_status: StopIteration"),
        (NotImplementedError(), CapabilityMissing, "no working read_status"),
        (EngineUnavailable("away"), EngineUnavailable, "away"),
        (IndexError(), JobNotFound, "'a'"),
    ],
)
async def test_errors_keep_their_words(
    error: Exception, expected: type[Exception], message: str
) -> None:
    plain = Told()
    plain.jobs["a"] = Status(active=1)
    async with adapted(plain) as engine:
        await engine.read_job("a")
        plain.jobs["a"] = error
        with pytest.raises(expected, match=message):
            await engine.read_status(Job("a"))


async def test_a_lookup_error_of_create_job_is_a_failure() -> None:
    class Broken(Told):
        def create_job(self, name: str, spec: JobSpec) -> object:
            raise KeyError("region")

    async with adapted(Broken()) as engine:
        with pytest.raises(EngineFailed, match=r"Broken.create_job: KeyError: 'region'"):
            await engine.create_job("a", SPEC)
        with pytest.raises(JobNotFound):
            await engine.read_job("a")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("active", "a str without 'active' is no status"),
        (Status(active=-1), "active=-1"),
        (Status(succeed=True), "succeed=True"),
        (Status(failed="1"), "failed='1'"),  # type: ignore[arg-type]
        (Status(failed=2**31), "failed=2147483648"),
    ],
)
async def test_nonsense_is_named(told: object, message: str) -> None:
    plain = Told()
    plain.jobs["a"] = Status(active=1)
    async with adapted(plain) as engine:
        await engine.read_job("a")
        plain.jobs["a"] = told
        with pytest.raises(EngineFailed, match=f"Told.read_status: .*{message}"):
            await engine.read_status(Job("a"))


async def test_a_job_without_status_is_named() -> None:
    class Silent(Told):
        def create_job(self, name: str, spec: JobSpec) -> object:
            super().create_job(name, spec)
            return None

    async with adapted(Silent()) as engine:
        with pytest.raises(EngineFailed, match=r"Silent.create_job returned a NoneType"):
            await engine.create_job("a", SPEC)
        assert (await engine.read_job("a")).status.active == 1


async def test_coroutine_methods_are_awaited() -> None:
    class Async(Told):
        async def create_job(self, name: str, spec: JobSpec) -> object:
            return super().create_job(name, spec)

        async def read_status(self, job: Any) -> object:
            await asyncio.sleep(0)
            return super().read_status(job)

    plain = Async()
    async with adapted(plain) as engine, watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("a", SPEC)
        plain.jobs["a"] = Status(failed=1)
        assert (await watched.end_of(job)).reason is Reason.UNKNOWN
        plain.jobs["b"] = ValueError("no")
        with pytest.raises(EngineFailed, match=r"Async.read_status: ValueError: no"):
            await engine.read_job("b")


def test_a_class_without_the_methods_is_refused() -> None:
    class Half:
        def create_job(self, name: str, spec: JobSpec) -> object: ...
        def read_job(self, name: str) -> object: ...

    with pytest.raises(TypeError, match="Half is no engine: it has no delete_job, read_status"):
        PlainEngine(Half())


async def test_declared_capabilities_are_held_to() -> None:
    async with adapted(Told(), capabilities=[Capability.COMMANDS]) as engine:
        assert [
            v.field for v in engine.check_spec(JobSpec(image="x", timeout=Duration(seconds=1)))
        ] == [
            "spec.image",
            "spec.timeout",
        ]
    async with adapted(Told()) as engine:
        assert engine.check_spec(JobSpec(image="x", max_retries=3)) == []


async def test_the_class_may_refuse_a_spec() -> None:
    class Choosy(Told):
        def create_job(self, name: str, spec: JobSpec) -> object:
            raise InvalidSpec([])

    async with adapted(Choosy()) as engine:
        with pytest.raises(InvalidSpec):
            await engine.create_job("a", SPEC)


# -- identity ------------------------------------------------------------------------------------


async def test_jobs_made_by_others_are_adopted_once() -> None:
    plain = Told()
    plain.jobs["a"] = Status(active=1)
    async with adapted(plain) as engine, watching(engine, DEADLINE_SECONDS) as watched:
        found, again = await asyncio.gather(engine.read_job("a"), engine.read_job("a"))
        assert found.uid == again.uid
        with pytest.raises(JobAlreadyExists):
            await engine.create_job("a", SPEC)
        with pytest.raises(UidMismatch):
            await engine.delete_job("a", uid="other")
        plain.jobs["a"] = Status(succeed=1)
        assert (await watched.end_of(found)).state is State.SUCCEEDED


async def test_a_job_that_vanishes_is_removed() -> None:
    plain = Told()
    async with adapted(plain) as engine, watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("a", SPEC)
        del plain.jobs["a"]
        await watched.removal_of(job)
        assert not any(status.state.terminal for status in watched.statuses(job.uid))
        with pytest.raises(JobNotFound):
            await engine.read_status(job)


async def test_what_has_ended_stays_so_whatever_the_class_says() -> None:
    plain = Told()
    async with adapted(plain) as engine, watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("a", SPEC)
        plain.jobs["a"] = Status(succeed=1)
        end = await watched.end_of(job)
        plain.jobs["a"] = Status(active=1)
        assert await engine.read_status(job) == end
        assert (await engine.read_job("a")).status == end


# -- slow and hanging calls ----------------------------------------------------------------------


async def test_one_call_at_a_time() -> None:
    plain = Told()
    async with adapted(plain) as engine:
        await asyncio.gather(*(engine.create_job(f"job-{i}", SPEC) for i in range(30)))
    assert plain.most_inside == 1


async def test_a_thread_safe_class_is_called_concurrently() -> None:
    plain = Told()
    async with adapted(plain, thread_safe=True) as engine:
        for name in ("a", "b"):
            plain.hold("create_job", name)
        creations = [asyncio.create_task(engine.create_job(name, SPEC)) for name in ("a", "b")]
        for _ in creations:
            await entered(plain)
        assert plain.inside == 2
        for event in plain.held.values():
            event.set()
        await asyncio.gather(*creations)


@pytest.mark.usefixtures("patience")
async def test_a_hanging_read_status_stops_no_other_job() -> None:
    plain = Told()
    async with adapted(plain) as engine, watching(engine, DEADLINE_SECONDS) as watched:
        released = plain.hold("read_status", "stuck")
        stuck = await engine.create_job("stuck", SPEC)
        await entered(plain)
        fine = await engine.create_job("fine", SPEC)
        plain.jobs["fine"] = Status(succeed=1)
        assert (await watched.end_of(fine)).state is State.SUCCEEDED
        assert not plain.entered.acquire(blocking=False), "it was asked again while it hung"
        plain.jobs["stuck"] = Status(failed=1)
        released.set()
        assert (await watched.end_of(stuck)).state is State.FAILED


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("cancelled", [True, False], ids=["caller leaves", "deadline"])
async def test_a_late_creation_is_not_lost_and_not_repeated(*, cancelled: bool) -> None:
    plain = Told()
    released = plain.hold("create_job", "a")
    async with (
        adapted(plain, call_timeout_seconds=0.3) as engine,
        watching(engine, DEADLINE_SECONDS) as watched,
    ):
        creation = asyncio.create_task(engine.create_job("a", SPEC, request_id="first"))
        await entered(plain)
        if cancelled:
            creation.cancel()
        with pytest.raises(asyncio.CancelledError if cancelled else EngineTimeout):
            await creation
        with pytest.raises(EngineTimeout):
            await engine.create_job("a", SPEC, request_id="second")
        released.set()
        await watched.until(lambda: len(watched.events) > 1, "the creation")
        assert (await engine.read_job("a")).request_id == "first"
        with pytest.raises(JobAlreadyExists):
            await engine.create_job("a", SPEC, request_id="third")
        assert plain.created == ["a"]


@pytest.mark.usefixtures("patience")
async def test_callers_that_leave_before_their_turn_are_dropped() -> None:
    plain = Told()
    plain.jobs["a"] = Status(succeed=1)
    async with adapted(plain) as engine:
        released = plain.hold("read_job", "slow")
        slow = asyncio.create_task(engine.read_job("slow"))
        await entered(plain)
        waiting = [asyncio.create_task(engine.read_job("a")) for _ in range(5)]
        await asyncio.sleep(0)
        for task in waiting[:4]:
            task.cancel()
        assert (await waiting[4]).status.state is State.SUCCEEDED
        released.set()
        with suppress(JobNotFound):
            await slow


@pytest.mark.usefixtures("patience")
async def test_threads_are_bounded_per_job_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_THREADS", 6)
    monkeypatch.setattr(threads, "MAX_THREADS_PER_JOB", 4)
    plain = Told()
    async with adapted(plain, thread_safe=True) as engine:
        for name in ("a", "b"):
            plain.hold("read_job", name)

        async def occupy(name: str, calls: int) -> list[asyncio.Task[Job]]:
            reads = [asyncio.create_task(engine.read_job(name)) for _ in range(calls)]
            for _ in reads:
                await entered(plain)
            return reads

        reads = await occupy("a", 4)
        with pytest.raises(EngineUnavailable, match="4 calls of the engine about the job 'a'"):
            await engine.read_job("a")
        reads += await occupy("b", 2)
        with pytest.raises(EngineUnavailable, match="6 calls of the engine have not returned"):
            await engine.read_job("c")
        for event in plain.held.values():
            event.set()
        await asyncio.gather(*reads, return_exceptions=True)
        with pytest.raises(JobNotFound):
            await engine.read_job("c")


def test_a_hanging_call_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, threading
from engines.adapter import PlainEngine
from engines.errors import EngineTimeout

class Hangs:
    call_timeout_seconds = 0.1
    def create_job(self, name, spec): ...
    def delete_job(self, name): ...
    def read_status(self, job): ...
    def read_job(self, name):
        threading.Event().wait()

async def main():
    async with PlainEngine(Hangs()) as engine:
        try:
            await engine.read_job("a")
        except EngineTimeout:
            print("timed out")

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("timed out\n", "")


# -- from counts to states -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "spec", "retries", "state"),
    [
        ({}, JobSpec(), 0, State.PENDING),
        ({"active": 0}, JobSpec(), 0, State.PENDING),
        ({"active": 1}, JobSpec(), 0, State.RUNNING),
        ({"succeed": 1}, JobSpec(), 0, State.SUCCEEDED),
        ({"succeed": 1}, JobSpec(completions=2), 0, State.RUNNING),
        ({"succeed": 2}, JobSpec(completions=2), 0, State.SUCCEEDED),
        ({"succeed": 2, "active": 1}, JobSpec(completions=2), 0, State.SUCCEEDED),
        ({"succeed": 1, "active": 1}, None, 0, State.RUNNING),
        ({"succeed": 1}, None, 0, State.SUCCEEDED),
        ({"failed": 1}, JobSpec(), 0, State.FAILED),
        ({"failed": 1, "active": 1}, JobSpec(), 0, State.RUNNING),
        ({"failed": 1}, JobSpec(), 1, State.RUNNING),
        ({"failed": 2}, JobSpec(), 1, State.FAILED),
        ({"state": State.CANCELLED}, JobSpec(), 0, State.CANCELLED),
    ],
)
def test_states(counts: dict[str, Any], spec: JobSpec | None, retries: int, state: State) -> None:
    status = next_status(Status(create_time=1.0), Status(**counts), spec, retries=retries, now=2.0)
    assert status.state is state
    assert (status.reason is not Reason.NONE) == state.terminal
    assert (status.end_time is not None) == state.terminal
    assert (status.start_time is not None) == (state is not State.PENDING)
    assert not (state.terminal and status.active)


def test_a_running_job_never_goes_back_to_pending() -> None:
    before = Status(state=State.RUNNING, active=1, start_time=1.0)
    after = next_status(before, Status(), None, retries=0, now=2.0)
    assert (after.state, after.active, after.start_time) == (State.RUNNING, None, 1.0)
