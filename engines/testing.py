"""The conformance suite: what any engine must do, as tests that its author runs.

A subclass in a test module of the author's gives one fixture, which makes the engine, and says what
that can do:

    class TestMyEngine(EngineConformance):
        capabilities = {Capability.COMMANDS, Capability.LIST}

        @pytest.fixture
        def make_engine(self):
            return MyEngine

Tests of what the engine doesn't declare are skipped, and one that declares other capabilities than
the table fails. An engine that doesn't run `/bin/sh` also needs a fixture `workload`: a `Workload`
that says what it can be made to do. Needs the extra `testing`, with asyncio_mode "auto",
and for readable failures, in conftest.py, `pytest.register_assert_rewrite("engines.testing")`.

`jobengine engine check` runs the same suite without a test module.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from engines.base import (
    Capability,
    Engine,
    Job,
    LogChunk,
    LogQuery,
    LogStream,
    Reason,
    Snapshot,
    State,
    Status,
    spec_hash,
)
from engines.errors import (
    CapabilityMissing,
    InvalidSpec,
    InvalidToken,
    JobAlreadyExists,
    JobNotFound,
    UidMismatch,
)
from engines.features import FIELDS
from engines.workload import ShellWorkload, Watched, Workload, watching
from jobengine.v1.job_pb2 import EmptyDirectory, JobSpec, Mount, Resources, SecretReference

__all__ = [
    "Capability",
    "EngineConformance",
    "Place",
    "ShellWorkload",
    "Watched",
    "Workload",
    "needed_by",
    "needs",
    "watching",
]

Test = TypeVar("Test", bound=Callable[..., object])

A_LONG_TIME_SECONDS = 300.0
"""What must be stopped runs this long: longer than any test may take."""

UNSUPPORTED = {
    "spec.image": JobSpec(image="example.invalid/none"),
    "spec.completions": JobSpec(completions=2),
    "spec.max_retries": JobSpec(max_retries=1),
    "spec.timeout": JobSpec(timeout=Duration(seconds=60)),
    "spec.start_timeout": JobSpec(start_timeout=Duration(seconds=60)),
    "spec.ttl_after_finished": JobSpec(ttl_after_finished=Duration(seconds=60)),
    "spec.resources.cpu_millis": JobSpec(resources=Resources(cpu_millis=100)),
    "spec.resources.memory_bytes": JobSpec(resources=Resources(memory_bytes=1 << 26)),
    "spec.resources.gpu_count": JobSpec(resources=Resources(gpu_count=1)),
    "spec.mounts": JobSpec(mounts=[Mount(target="/m", empty_directory=EmptyDirectory())]),
    "spec.secret_env": JobSpec(secret_env={"S": SecretReference(name="s", key="k")}),
    "spec.user": JobSpec(user="nobody"),
    "spec.engine_options": JobSpec(engine_options=Struct()),
}
"""By field: what sets it and nothing else."""


def needs(*capabilities: Capability) -> Callable[[Test], Test]:
    """Skip the test where the engine lacks one of these capabilities."""

    def mark(test: Test) -> Test:
        _NEEDS[test.__qualname__] = capabilities
        return test

    return mark


_NEEDS: dict[str, Sequence[Capability]] = {}


def needed_by(test: Callable[..., object]) -> Sequence[Capability]:
    """The capabilities without which the test is skipped."""
    return _NEEDS.get(test.__qualname__, ())


Enter = Callable[[], contextlib.AbstractAsyncContextManager[Engine]]


class Place:
    """Where an engine's jobs are. There is one `engine` at a time, as there is one server."""

    engine: Engine

    def __init__(self, enter: Enter) -> None:
        self._enter = enter
        self._stack = contextlib.AsyncExitStack()

    async def open(self) -> None:
        """Make an engine, and enter it."""
        self.engine = await self._stack.enter_async_context(self._enter())

    async def close(self) -> None:
        """Leave the engine; its jobs stay as they are, if they can."""
        await self._stack.aclose()

    async def restart(self) -> Engine:
        """Leave the engine, and enter a new one in its place."""
        await self.close()
        await self.open()
        return self.engine


class EngineConformance:
    """The suite. A subclass gives the fixture `make_engine`, and says what its engine can do."""

    capabilities: ClassVar[Collection[Capability] | None] = None
    """What the engine has to declare. None: whatever it does declare."""

    by_place: ClassVar[Collection[Capability]] = ()
    """What it may declare as well, since that goes by what it runs on."""

    tells_exit_codes: ClassVar[bool] = True
    """Whether the engine knows how instances ended; plain classes don't."""

    tells_streams: ClassVar[bool] = True
    """Whether the engine knows stdout from stderr. Else its logs say BOTH."""

    keeps_owners: ClassVar[bool] = True
    """Whether jobs can be given the label by which the server knows whose they are. Not where a
    server stands before the engine, which sets it itself."""

    deadline_seconds: ClassVar[float] = 20.0
    """How long anything may take that should happen soon."""

    @pytest.fixture
    def make_engine(self) -> Callable[[], Engine]:
        """Makes engines that aren't entered yet, all with the same jobs where these last."""
        raise NotImplementedError("give the fixture make_engine")

    @pytest.fixture
    def workload(self, tmp_path: Path) -> Workload:
        """What the engine can be made to do."""
        return ShellWorkload(tmp_path)

    @contextlib.asynccontextmanager
    async def enter(self, make_engine: Callable[[], Engine]) -> AsyncGenerator[Engine]:
        """Make an engine, and enter it; for suites that put something before the engine."""
        async with make_engine() as engine:
            yield engine

    @pytest.fixture
    async def place(self, make_engine: Callable[[], Engine]) -> AsyncIterator[Place]:
        """The engine's jobs, with an entered engine."""
        place = Place(lambda: self.enter(make_engine))
        await place.open()
        yield place
        await place.close()

    @pytest.fixture
    def engine(self, place: Place) -> Engine:
        """The engine, entered, and left at the test's end."""
        return place.engine

    @pytest.fixture(autouse=True)
    def skip_what_it_lacks(self, request: pytest.FixtureRequest, engine: Engine) -> None:
        """Skip tests of capabilities that the engine doesn't declare."""
        needed = needed_by(request.function)
        if lacking := [c.name for c in needed if c not in engine.capabilities]:
            pytest.skip(f"the engine {engine.name!r} has no {', '.join(lacking)}")

    @pytest.fixture
    async def new_name(self, place: Place) -> AsyncIterator[Callable[[], str]]:
        """Makes names; jobs of these names are deleted at the test's end."""
        names: list[str] = []

        def make() -> str:
            names.append(f"conformance-{uuid4().hex[:12]}")
            return names[-1]

        yield make
        for name in names:
            with contextlib.suppress(JobNotFound):
                await place.engine.delete_job(name, grace_seconds=0)

    @pytest.fixture
    def name(self, new_name: Callable[[], str]) -> str:
        """The name of the test's job."""
        return new_name()

    @pytest.fixture
    async def watched(self, engine: Engine) -> AsyncIterator[Watched]:
        """A watch that began before the test."""
        async with watching(engine, self.deadline_seconds) as watched:
            yield watched

    async def test_it_can_do_what_is_declared(self, engine: Engine) -> None:
        if self.capabilities is None:
            pytest.skip("no table of capabilities is given to hold it against")
        told = {capability.name for capability in engine.capabilities}
        must = {capability.name for capability in self.capabilities}
        assert must <= told <= must | {capability.name for capability in self.by_place}

    # -- create, read, delete -----------------------------------------------------------------

    async def test_create_returns_the_job(
        self, engine: Engine, workload: Workload, name: str
    ) -> None:
        spec = workload.lasts(A_LONG_TIME_SECONDS)
        labels = {"team": "blue"}
        if self.keeps_owners:
            labels["jobengine.dev/owner"] = "somebody"
        spec.labels.update(labels)
        created = await engine.create_job(name, spec)
        assert created.name == name
        assert created.uid
        assert not created.status.state.terminal
        read = await engine.read_job(name)
        assert (read.name, read.uid) == (name, created.uid)
        assert dict(read.labels) == labels
        assert read.spec is None or read.spec == spec

    async def test_the_longest_name(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name.ljust(63, "x"), workload.succeeds())
        assert (await watched.end_of(job)).state is State.SUCCEEDED
        await engine.delete_job(job.name)

    async def test_a_name_is_taken_once(
        self, engine: Engine, workload: Workload, name: str
    ) -> None:
        first = await engine.create_job(name, workload.lasts(A_LONG_TIME_SECONDS))
        with pytest.raises(JobAlreadyExists):
            await engine.create_job(name, workload.succeeds())
        assert (await engine.read_job(name)).uid == first.uid

    async def test_of_concurrent_creates_one_succeeds(
        self, engine: Engine, workload: Workload, name: str
    ) -> None:
        async def create(request_id: str) -> Job | None:
            try:
                return await engine.create_job(name, spec, request_id=request_id)
            except JobAlreadyExists:
                await engine.read_job(name)  # so that callers can compare, it is there by now
                return None

        spec = workload.lasts(A_LONG_TIME_SECONDS)
        jobs = await asyncio.gather(*(create(f"request-{i}") for i in range(8)))
        (created,) = [job for job in jobs if job is not None]
        assert (await engine.read_job(name)).uid == created.uid

    async def test_unknown_names(self, engine: Engine, name: str) -> None:
        with pytest.raises(JobNotFound):
            await engine.read_job(name)
        with pytest.raises(JobNotFound):
            await engine.read_status(Job(name))
        with pytest.raises(JobNotFound):
            await engine.delete_job(name)

    async def test_request_is_remembered(
        self, engine: Engine, workload: Workload, name: str
    ) -> None:
        spec = workload.lasts(A_LONG_TIME_SECONDS)
        await engine.create_job(name, spec, request_id="request-1")
        job = await engine.read_job(name)
        assert (job.request_id, job.spec_hash) == ("request-1", spec_hash(spec))

    async def test_delete_of_a_running_job(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.lasts(A_LONG_TIME_SECONDS)
        job = await engine.create_job(name, spec)
        await watched.reaches(job, State.RUNNING)
        await engine.delete_job(name, grace_seconds=1)
        await watched.removal_of(job)
        with pytest.raises(JobNotFound):
            await engine.read_job(name)
        again = await engine.create_job(name, spec)
        assert again.uid != job.uid
        await watched.reaches(again, State.RUNNING)

    async def test_delete_of_a_finished_job(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name, workload.succeeds())
        await watched.end_of(job)
        await engine.delete_job(name)
        await watched.removal_of(job)
        assert _ends(watched, job) == [State.SUCCEEDED]
        with pytest.raises(JobNotFound):
            await engine.read_status(Job(name))

    async def test_name_is_free_after_delete(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name, workload.lasts(A_LONG_TIME_SECONDS))
        await engine.delete_job(name, grace_seconds=0)
        again = await engine.create_job(name, workload.succeeds())
        assert again.uid != job.uid
        assert (await watched.end_of(again)).state is State.SUCCEEDED

    async def test_delete_heeds_the_uid(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name, workload.lasts(A_LONG_TIME_SECONDS))
        with pytest.raises(UidMismatch):
            await engine.delete_job(name, uid="another")
        assert not (await engine.read_status(Job(name))).state.terminal
        await engine.delete_job(name, uid=job.uid, grace_seconds=0)
        await watched.removal_of(job)

    async def test_what_it_cannot_do_is_refused(
        self, engine: Engine, workload: Workload, name: str
    ) -> None:
        lacking = [field for field, (c, _) in FIELDS.items() if c not in engine.capabilities]
        if not lacking:
            pytest.skip(f"the engine {engine.name!r} can do all that a spec can ask for")
        for field in lacking:
            spec = workload.succeeds()
            spec.MergeFrom(UNSUPPORTED[field])
            violations = list(engine.check_spec(spec))
            if not violations:
                with pytest.raises(InvalidSpec) as refusal:
                    await engine.create_job(name, spec)
                violations = list(refusal.value.violations)
            assert any(each.field.startswith(field) for each in violations), violations
            with pytest.raises(JobNotFound):
                await engine.read_job(name)

    async def test_valid_specs_pass(self, engine: Engine, workload: Workload) -> None:
        assert not list(engine.check_spec(workload.succeeds()))

    # -- status -------------------------------------------------------------------------------

    async def test_success(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        assert isinstance(watched.events[0], Snapshot)
        job = await engine.create_job(name, workload.succeeds())
        status = await watched.end_of(job)
        _check_history(watched.statuses(job.uid))
        assert (status.state, status.reason) == (State.SUCCEEDED, Reason.COMPLETED)
        assert (status.active, status.succeed, status.failed) == (None, 1, None)
        assert status.exit_code == (0 if self.tells_exit_codes else None)

    async def test_failure(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name, workload.fails(7))
        status = await watched.end_of(job)
        _check_history(watched.statuses(job.uid))
        assert (status.active, status.succeed, status.failed) == (None, None, 1)
        assert status.state is State.FAILED
        if self.tells_exit_codes:
            assert (status.reason, status.exit_code) == (Reason.NON_ZERO_EXIT, 7)
        else:
            assert (status.reason, status.exit_code) == (Reason.UNKNOWN, None)

    async def test_signal(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        if not self.tells_exit_codes:
            pytest.skip(f"the engine {engine.name!r} doesn't tell how instances end")
        job = await engine.create_job(name, workload.dies_of(9))
        status = await watched.end_of(job)
        assert (status.state, status.reason) == (State.FAILED, Reason.SIGNALLED)
        assert status.signal == 9

    async def test_a_running_job_says_so(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name, workload.lasts(A_LONG_TIME_SECONDS))
        status = await watched.reaches(job, State.RUNNING)
        assert status.start_time is not None
        assert status.end_time is None
        asked = await engine.read_status(Job(name))
        assert (asked.state, asked.active) == (State.RUNNING, 1)

    async def test_the_end_is_final(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name, workload.succeeds())
        status = await watched.end_of(job)
        assert await engine.read_status(Job(name)) == status
        assert (await engine.read_job(name)).status == status
        if Capability.CANCEL in engine.capabilities:
            assert await engine.cancel_job(name) == status
            assert await engine.read_status(Job(name)) == status

    # -- watch --------------------------------------------------------------------------------

    async def test_two_watchers_see_the_same(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        async with watching(engine, self.deadline_seconds) as other:
            job = await engine.create_job(name, workload.lasts(0.2))
            assert await watched.end_of(job) == await other.end_of(job)

    async def test_a_new_watch_tells_what_is_there(
        self, engine: Engine, workload: Workload, new_name: Callable[[], str], watched: Watched
    ) -> None:
        ended = await engine.create_job(new_name(), workload.succeeds())
        running = await engine.create_job(new_name(), workload.lasts(A_LONG_TIME_SECONDS))
        gone = await engine.create_job(new_name(), workload.lasts(A_LONG_TIME_SECONDS))
        status = await watched.end_of(ended)
        await engine.delete_job(gone.name, grace_seconds=0)
        await watched.removal_of(gone)
        async with watching(engine, self.deadline_seconds) as later:
            snapshot = later.events[0]
            assert isinstance(snapshot, Snapshot)
            told = {job.uid: job for job in snapshot.jobs}
        assert told[ended.uid].status == status
        assert not told[running.uid].status.state.terminal
        assert gone.uid not in told
        assert all(job.spec is None for job in snapshot.jobs)

    @needs(Capability.LIST)
    async def test_list(
        self, engine: Engine, workload: Workload, new_name: Callable[[], str], watched: Watched
    ) -> None:
        spec = workload.lasts(A_LONG_TIME_SECONDS)
        spec.labels["team"] = "blue"
        jobs = [await engine.create_job(new_name(), spec) for _ in range(3)]
        listed = {job.uid: job for job in await engine.list_jobs()}
        assert {job.uid for job in jobs} <= set(listed)
        assert all(dict(listed[job.uid].labels) == {"team": "blue"} for job in jobs)
        assert all(job.spec is None for job in listed.values())
        await engine.delete_job(jobs[0].name, grace_seconds=0)
        await watched.removal_of(jobs[0])
        assert jobs[0].uid not in {job.uid for job in await engine.list_jobs()}

    # -- cancel -------------------------------------------------------------------------------

    @needs(Capability.CANCEL)
    async def test_cancel_of_a_running_job(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name, workload.lasts(A_LONG_TIME_SECONDS))
        await watched.reaches(job, State.RUNNING)
        await engine.cancel_job(name, grace_seconds=1)
        status = await watched.end_of(job)
        _check_history(watched.statuses(job.uid))
        assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)
        assert (await engine.read_job(name)).uid == job.uid
        assert await engine.cancel_job(name) == status

    @needs(Capability.CANCEL, Capability.START_TIMEOUT)
    async def test_cancel_of_a_pending_job(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name, await workload.never_starts(engine))
        await engine.cancel_job(name)
        status = await watched.end_of(job)
        assert (status.state, status.start_time) == (State.CANCELLED, None)

    @needs(Capability.CANCEL)
    async def test_cancel_of_another_job(
        self, engine: Engine, workload: Workload, new_name: Callable[[], str]
    ) -> None:
        with pytest.raises(JobNotFound):
            await engine.cancel_job(new_name())
        job = await engine.create_job(new_name(), workload.lasts(A_LONG_TIME_SECONDS))
        with pytest.raises(UidMismatch):
            await engine.cancel_job(job.name, uid="another")
        assert not (await engine.read_status(job)).state.terminal

    # -- logs ---------------------------------------------------------------------------------

    @needs(Capability.LOGS)
    async def test_logs_of_each_stream(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        job = await engine.create_job(name, workload.prints(["one", "zwei ü"], ["oh"]))
        await watched.end_of(job)
        if not self.tells_streams:
            both = await self._read(engine, name, LogQuery())
            assert sorted(_text(both).splitlines()) == ["oh", "one", "zwei ü"]
            assert {chunk.stream for chunk in both} == {LogStream.BOTH}
            with pytest.raises(InvalidSpec):
                await self._read(engine, name, LogQuery(stream=LogStream.STDOUT))
            return
        out = await self._read(engine, name, LogQuery(stream=LogStream.STDOUT))
        assert _text(out) == "one\nzwei ü\n"
        err = await self._read(engine, name, LogQuery(stream=LogStream.STDERR))
        assert _text(err) == "oh\n"
        both = await self._read(engine, name, LogQuery())
        assert _text(both, LogStream.STDOUT) == "one\nzwei ü\n"
        assert _text(both, LogStream.STDERR) == "oh\n"

    @needs(Capability.LOGS)
    @pytest.mark.parametrize(("lines", "expected"), [(0, ""), (2, "b\nc\n"), (9, "a\nb\nc\n")])
    async def test_tail(
        self,
        engine: Engine,
        workload: Workload,
        name: str,
        watched: Watched,
        lines: int,
        expected: str,
    ) -> None:
        await watched.end_of(await engine.create_job(name, workload.prints(["a", "b", "c"])))
        assert _text(await self._read(engine, name, LogQuery(tail_lines=lines))) == expected

    @needs(Capability.LOGS)
    async def test_a_cursor_goes_on_right_after_its_chunk(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.prints(["a", "b", "c"], ["d", "e"])
        await watched.end_of(await engine.create_job(name, spec))
        chunks = await self._read(engine, name, LogQuery())
        for position, chunk in enumerate(chunks):
            rest = await self._read(engine, name, LogQuery(cursor=chunk.cursor))
            streams = (LogStream.STDOUT, LogStream.STDERR)
            for stream in streams if self.tells_streams else (LogStream.BOTH,):
                assert _text(rest, stream) == _text(chunks[position + 1 :], stream)

    @needs(Capability.LOGS)
    async def test_follow_ends_with_the_job(
        self, engine: Engine, workload: Workload, name: str
    ) -> None:
        await engine.create_job(name, workload.prints_slowly(["a", "b", "c", "d"]))
        chunks = await self._read(engine, name, LogQuery(follow=True))
        assert _text(chunks) == "a\nb\nc\nd\n"

    @needs(Capability.LOGS)
    async def test_logs_of_nothing(self, engine: Engine, workload: Workload, name: str) -> None:
        with pytest.raises(JobNotFound):
            await self._read(engine, name, LogQuery())
        await engine.create_job(name, workload.succeeds())
        assert await self._read(engine, name, LogQuery(follow=True)) == []
        with pytest.raises(InvalidToken):
            await self._read(engine, name, LogQuery(cursor="no cursor of anybody"))

    # -- what a spec can ask for --------------------------------------------------------------

    @needs(Capability.INSTANCES)
    async def test_completions(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.lasts(0.2)
        spec.completions, spec.parallelism = 5, 2
        job = await engine.create_job(name, spec)
        status = await watched.end_of(job)
        history = watched.statuses(job.uid)
        _check_history(history)
        assert (status.state, status.succeed) == (State.SUCCEEDED, 5)
        assert max(each.active or 0 for each in history) <= 2

    @needs(Capability.INSTANCES, Capability.LOGS)
    async def test_each_instance_has_its_number(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.prints_index()
        spec.completions, spec.parallelism = 3, 3
        await watched.end_of(await engine.create_job(name, spec))
        for instance in range(3):
            chunks = await self._read(engine, name, LogQuery(instance=instance))
            assert _text(chunks) == f"{instance}\n"

    @needs(Capability.INSTANCES)
    async def test_one_failed_instance_fails_the_job(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.fails(3)
        spec.completions = spec.parallelism = 3
        status = await watched.end_of(await engine.create_job(name, spec))
        assert status.state is State.FAILED
        assert 1 <= (status.failed or 0) <= 3

    @needs(Capability.RETRIES)
    async def test_retries_until_success(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.fails_first(2)
        spec.max_retries = 3
        job = await engine.create_job(name, spec)
        status = await watched.end_of(job)
        _check_history(watched.statuses(job.uid))
        assert (status.state, status.succeed, status.failed) == (State.SUCCEEDED, 1, 2)
        assert status.retries == 2

    @needs(Capability.RETRIES)
    async def test_retries_run_out(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.fails(5)
        spec.max_retries = 2
        status = await watched.end_of(await engine.create_job(name, spec))
        assert (status.state, status.failed, status.retries) == (State.FAILED, 3, 2)
        if self.tells_exit_codes:
            assert (status.reason, status.exit_code) == (Reason.NON_ZERO_EXIT, 5)

    @needs(Capability.RETRIES, Capability.LOGS)
    async def test_logs_tell_the_attempt(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.prints_and_fails("line")
        spec.max_retries = 1
        await watched.end_of(await engine.create_job(name, spec))
        chunks = await self._read(engine, name, LogQuery(follow=True))
        for attempt in (0, 1):
            assert _text([c for c in chunks if c.attempt == attempt]) == "line\n"

    @needs(Capability.TIMEOUT)
    async def test_timeout(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.lasts(A_LONG_TIME_SECONDS)
        spec.timeout.FromSeconds(1)
        job = await engine.create_job(name, spec)
        status = await watched.end_of(job)
        _check_history(watched.statuses(job.uid))
        assert (status.state, status.reason) == (State.FAILED, Reason.DEADLINE_EXCEEDED)

    @needs(Capability.START_TIMEOUT)
    async def test_start_timeout(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = await workload.never_starts(engine)
        spec.start_timeout.FromSeconds(1)
        status = await watched.end_of(await engine.create_job(name, spec))
        assert (status.state, status.start_time) == (State.FAILED, None)
        assert status.reason in {Reason.START_TIMEOUT, Reason.IMAGE_PULL_FAILED}

    @needs(Capability.TTL)
    @pytest.mark.parametrize("ttl_seconds", [0, 1])
    async def test_ttl(
        self, engine: Engine, workload: Workload, name: str, watched: Watched, ttl_seconds: int
    ) -> None:
        spec = workload.succeeds()
        spec.ttl_after_finished.FromSeconds(ttl_seconds)
        job = await engine.create_job(name, spec)
        await watched.removal_of(job)
        assert _ends(watched, job) == [State.SUCCEEDED]
        with pytest.raises(JobNotFound):
            await engine.read_job(name)

    @needs(Capability.MEMORY_LIMIT)
    async def test_memory_limit(
        self, engine: Engine, workload: Workload, name: str, watched: Watched
    ) -> None:
        spec = workload.fills(512 << 20)
        spec.resources.memory_bytes = 64 << 20
        status = await watched.end_of(await engine.create_job(name, spec))
        assert status.state is State.FAILED
        if self.tells_exit_codes:  # some commands report by themselves that they get no more
            assert status.reason in {Reason.OOM_KILLED, Reason.SIGNALLED, Reason.NON_ZERO_EXIT}

    @needs(Capability.DURABLE)
    async def test_jobs_outlive_the_server(
        self, place: Place, workload: Workload, new_name: Callable[[], str]
    ) -> None:
        spec = workload.succeeds()
        async with watching(place.engine, self.deadline_seconds) as watched:
            ended = await place.engine.create_job(new_name(), spec, request_id="request-1")
            status = await watched.end_of(ended)
            runs, ends = [
                await place.engine.create_job(new_name(), workload.lasts(seconds))
                for seconds in (A_LONG_TIME_SECONDS, 1)
            ]
            await watched.reaches(runs, State.RUNNING)
        engine = await place.restart()
        async with watching(engine, self.deadline_seconds) as watched:
            assert (await watched.reaches(runs, State.RUNNING)).start_time is not None
            assert (await watched.end_of(ends)).state is State.SUCCEEDED
            found = await engine.read_job(ended.name)
            assert (found.uid, found.status) == (ended.uid, status)
            assert found.spec_hash == spec_hash(spec)
            await engine.delete_job(runs.name, grace_seconds=0)
            await watched.removal_of(runs)

    # -- what it lacks ------------------------------------------------------------------------

    async def test_missing_capabilities_are_told(
        self, engine: Engine, workload: Workload, name: str
    ) -> None:
        await engine.create_job(name, workload.lasts(A_LONG_TIME_SECONDS))
        if Capability.CANCEL not in engine.capabilities:
            with pytest.raises(CapabilityMissing):
                await engine.cancel_job(name)
        if Capability.LOGS not in engine.capabilities:
            with pytest.raises(CapabilityMissing):
                await self._read(engine, name, LogQuery())

    async def _read(self, engine: Engine, name: str, query: LogQuery) -> list[LogChunk]:
        async with asyncio.timeout(self.deadline_seconds):
            return [chunk async for chunk in engine.read_logs(name, query)]


def _check_history(history: Sequence[Status]) -> None:
    """What holds of any job that has ended: forward only, one end, sane counts and times."""
    states = [status.state for status in history]
    assert states == sorted(states), states
    assert sum(status.state.terminal for status in history) == 1, history
    for status in history:
        assert all(n is None or n > 0 for n in (status.active, status.succeed, status.failed))
    end = history[-1]
    assert end.reason is not Reason.NONE
    assert end.active is None
    times = [t for t in (end.create_time, end.start_time, end.end_time) if t is not None]
    assert times == sorted(times)
    assert end.create_time is not None
    assert end.end_time is not None


def _ends(watched: Watched, job: Job) -> list[State]:
    return [status.state for status in watched.statuses(job.uid) if status.state.terminal]


def _text(chunks: Sequence[LogChunk], stream: LogStream = LogStream.BOTH) -> str:
    return b"".join(c.data for c in chunks if stream in {LogStream.BOTH, c.stream}).decode()
