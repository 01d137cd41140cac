"""The fake engine's knobs do what they say."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.protobuf.duration_pb2 import Duration

from engines import feed
from engines.base import (
    Changed,
    Contact,
    Job,
    LogQuery,
    LogStream,
    Reason,
    Removed,
    Snapshot,
    State,
)
from engines.errors import (
    EngineFailed,
    EngineUnavailable,
    InvalidToken,
    JobAlreadyExists,
    JobNotFound,
)
from engines.memory import MemoryEngine
from engines.memory.knobs import METHODS, PREFIX
from engines.workload import watching
from jobengine.v1.job_pb2 import JobSpec

DEADLINE_SECONDS = 20.0


def knobs(**values: object) -> JobSpec:
    annotations = {PREFIX + name.replace("_", "-"): str(value) for name, value in values.items()}
    return JobSpec(command=["true"], annotations=annotations)


@pytest.fixture
async def engine() -> AsyncIterator[MemoryEngine]:
    async with MemoryEngine() as engine:
        yield engine


@pytest.mark.parametrize(
    ("knob", "value", "says"),
    [
        ("run-for", "soon", "must be a number of seconds, 0 or more"),
        ("slow", "-1", "must be a number of seconds, 0 or more"),
        ("vanish", "nan", "must be a number of seconds, 0 or more"),
        ("pending-for", "inf", "must be a number of seconds, 0 or more"),
        ("exit-code", "256", "must be a whole number from 0 to 255"),
        ("exit-code", "1.5", "must be a whole number from 0 to 255"),
        ("signal", "0", "must be a whole number from 1 to"),
        ("reason", "BOREDOM", "'BOREDOM' is no reason to fail: choose from OOM_KILLED,"),
        ("hang", "read_job,sing", "'sing' can't hang: choose from cancel_job, create_job"),
        ("colour", "red", "no such knob: choose one of pending-for, run-for"),
    ],
)
def test_malformed_knobs_are_named(knob: str, value: str, says: str) -> None:
    spec = JobSpec(annotations={PREFIX + knob: value, "other.example/run-for": "soon"})
    (violation,) = MemoryEngine().check_spec(spec)
    assert violation.field == f"spec.annotations[{PREFIX}{knob}]"
    assert says in violation.description


@pytest.mark.parametrize(
    ("reason", "state"), [(Reason.OOM_KILLED, State.FAILED), (Reason.NODE_LOST, State.LOST)]
)
async def test_why_a_job_failed(engine: MemoryEngine, reason: Reason, state: State) -> None:
    async with watching(engine, DEADLINE_SECONDS) as watch:
        job = await engine.create_job("a", knobs(exit_code=1, reason=reason.name))
        status = await watch.reaches(job, state)
        assert status.reason is reason
        ended = await engine.create_job("b", knobs(reason=reason.name))
        assert (await watch.reaches(ended, State.SUCCEEDED)).reason is Reason.COMPLETED


async def test_an_end_is_final(engine: MemoryEngine) -> None:
    """A run that ends just as its job is deleted must not take the place of that in the feed."""
    async with watching(engine, DEADLINE_SECONDS) as watch:
        job = await engine.create_job("a", knobs(run_for=60))
        await watch.reaches(job, State.RUNNING)
        record = engine._records["a"]
        record.fake.end(State.CANCELLED, Reason.DELETED)
        engine._remove(record, record.fake.status)
        record.fake.end(State.FAILED, Reason.NON_ZERO_EXIT, exit_code=1)
        await watch.until(lambda: watch.removed(job.uid), "it is gone")
        assert watch.statuses(job.uid)[-1].state is State.CANCELLED


async def test_a_job_is_removed_once(engine: MemoryEngine) -> None:
    async with watching(engine, DEADLINE_SECONDS) as watch:
        job = await engine.create_job("a", knobs(run_for=60))
        record = engine._records["a"]
        engine._remove(record, None)
        engine._remove(record, None)
        await watch.until(lambda: watch.removed(job.uid), "it is gone")
        again = await engine.create_job("a", knobs(run_for=60))
        engine._remove(record, None)
        assert (await engine.read_job("a")).uid == again.uid


async def test_start_error(engine: MemoryEngine) -> None:
    with pytest.raises(EngineFailed, match="no room"):
        await engine.create_job("a", knobs(start_error="no room"))
    with pytest.raises(JobNotFound):
        await engine.read_job("a")


async def test_slow_takes_its_time(engine: MemoryEngine) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await engine.create_job("a", knobs(slow=0.1))
    await engine.read_job("a")
    assert loop.time() - began >= 0.2


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_hang(engine: MemoryEngine, method: str) -> None:
    async def read_logs() -> None:
        async for _ in engine.read_logs("a", LogQuery()):
            pass

    calls = {
        "create_job": lambda: engine.create_job("b", knobs(hang=method)),
        "delete_job": lambda: engine.delete_job("a"),
        "read_job": lambda: engine.read_job("a"),
        "read_status": lambda: engine.read_status(Job("a")),
        "cancel_job": lambda: engine.cancel_job("a"),
        "read_logs": read_logs,
    }
    other = "read_job" if method == "create_job" else method
    await engine.create_job("a", knobs(hang=other, run_for=60))
    call = asyncio.ensure_future(calls[method]())
    done, _ = await asyncio.wait({call}, timeout=0.1)
    assert not done
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [job.name for job in await engine.list_jobs()] == ["a"]
    assert not (await engine.list_jobs())[0].status.state.terminal


async def test_vanish_tells_no_end(engine: MemoryEngine) -> None:
    async with watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("a", knobs(run_for=60, vanish=0.05))
        await watched.removal_of(job)
        assert Removed("a", job.uid, None) in watched.events
    with pytest.raises(JobNotFound):
        await engine.read_job("a")


async def test_stop_for_delays_the_end_and_the_name(engine: MemoryEngine) -> None:
    async with watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("a", knobs(run_for=60, stop_for=0.1))
        await watched.reaches(job, State.RUNNING)
        await engine.delete_job("a")
        await engine.delete_job("a")
        assert (await engine.read_job("a")).uid == job.uid
        again = await engine.create_job("a", knobs(run_for=60, stop_for=60))
        assert watched.removed(job.uid)
        await engine.cancel_job("a", grace_seconds=0.01)
        assert (await watched.end_of(again)).state is State.CANCELLED


async def test_output_appears_over_the_run(engine: MemoryEngine) -> None:
    await engine.create_job("a", knobs(run_for=0.3, output="one\n!two\n#$JOB_COMPLETION_INDEX"))
    chunks = [chunk async for chunk in engine.read_logs("a", LogQuery(follow=True))]
    assert [(chunk.data, chunk.stream) for chunk in chunks] == [
        (b"one\n", LogStream.STDOUT),
        (b"two\n", LogStream.STDERR),
        (b"#0\n", LogStream.STDOUT),
    ]
    times = [chunk.write_time or 0.0 for chunk in chunks]
    assert times[0] < times[1] < times[2]


async def test_a_cursor_of_another_job_is_refused(engine: MemoryEngine) -> None:
    for name in ("a", "b"):
        await engine.create_job(name, knobs(output="line"))
    (chunk,) = [chunk async for chunk in engine.read_logs("a", LogQuery(follow=True))]
    with pytest.raises(InvalidToken, match="cursor"):
        await anext(aiter(engine.read_logs("b", LogQuery(cursor=chunk.cursor))))


async def test_a_whole_job_can_be_deleted_within_its_ttl(engine: MemoryEngine) -> None:
    spec = knobs()
    spec.ttl_after_finished.CopyFrom(Duration(seconds=600))
    async with watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("a", spec)
        await watched.end_of(job)
        with pytest.raises(JobAlreadyExists):
            await engine.create_job("a", spec)
        await engine.delete_job("a")
        await watched.removal_of(job)


async def test_disconnect_and_reconnect(engine: MemoryEngine) -> None:
    job = await engine.create_job("a", knobs(run_for=0.05))
    events = engine.watch()
    assert isinstance(await anext(events), Snapshot)
    assert isinstance(await anext(events), Changed)
    engine.disconnect()
    with pytest.raises(EngineUnavailable):
        await anext(events)
    for call in (
        engine.create_job("b", knobs()),
        engine.read_job("a"),
        engine.read_status(job),
        engine.cancel_job("a"),
        engine.delete_job("a"),
        engine.list_jobs(),
    ):
        with pytest.raises(EngineUnavailable):
            await call
    with pytest.raises(EngineUnavailable):
        engine.watch()
    engine.reconnect()
    async with watching(engine, DEADLINE_SECONDS) as watched:
        assert (await watched.end_of(job)).state is State.SUCCEEDED


async def test_the_spec_is_kept_as_it_was(engine: MemoryEngine) -> None:
    spec = knobs(run_for=60)
    await engine.create_job("a", spec)
    spec.command[:] = ["changed"]
    kept = (await engine.read_job("a")).spec
    assert kept is not None
    assert list(kept.command) == ["true"]


# -- the feed of its watch -----------------------------------------------------------------------


async def test_a_slow_watcher_gets_the_newest_of_each_job() -> None:
    source = feed.Feed()
    events = source.watch(list[Job])
    assert isinstance(await anext(events), Snapshot)
    for job in (Job("a", uid="1"), Job("b", uid="2"), Job("a", uid="1", request_id="newest")):
        source.publish(Changed(job))
    assert await anext(events) == Changed(Job("a", uid="1", request_id="newest"))
    assert await anext(events) == Changed(Job("b", uid="2"))
    source.publish(Removed("a", "1"))
    source.publish(Changed(Job("a", uid="3")))
    source.fail(EngineUnavailable("away"))
    assert await anext(events) == Removed("a", "1")
    assert await anext(events) == Changed(Job("a", uid="3"))
    with pytest.raises(EngineUnavailable):
        await anext(events)


async def test_a_watcher_too_far_behind_gets_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_PENDING_EVENTS", 3)
    jobs = [Job(f"job-{i}", uid=str(i)) for i in range(5)]
    source = feed.Feed()
    present: list[Job] = []
    events = source.watch(lambda: present)
    await anext(events)
    for job in jobs:
        present.append(job)
        source.publish(Changed(job))
    told = [await anext(events), await anext(events)]
    assert told[0] == Changed(jobs[4])
    assert isinstance(told[1], Snapshot)
    assert told[1].jobs == jobs


async def test_silence_is_broken_by_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "CONTACT_INTERVAL_SECONDS", 0.01)
    source = feed.Feed()
    events = source.watch(list[Job])
    await anext(events)
    assert await anext(events) == Contact()
    source.publish(Removed("a", "1"))
    assert await anext(events) == Removed("a", "1")
