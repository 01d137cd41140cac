"""The two watches over a real channel: no gap, no repeat, an end for everybody."""

import asyncio
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest

from engines.base import Changed, Event, Job, Removed, Snapshot, State, Status
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2
from server.mirror import Mirror
from server.watching import watch_all
from tests.server.conftest import Running, Start
from tests.server.scripted import ScriptedEngine
from tests.server.test_service import reason_and_fields

RUNNING = Status(active=1, state=State.RUNNING)
SUCCEEDED = Status(succeed=1, state=State.SUCCEEDED, exit_code=0)
STATUS = api.WATCH_EVENT_STATUS
DELETED = api.WATCH_EVENT_DELETED
SYNCED = api.WATCH_EVENT_SYNCED


class Scene:
    """A server whose engine says what the test wants, and does so before `tell` returns."""

    def __init__(self, running: Running, engine: ScriptedEngine) -> None:
        self.running = running
        self.stub = running.stub
        self.mirror = running.server.mirror
        self.engine = engine

    async def tell(self, *events: Event | Exception) -> None:
        for event in events:
            before = self.mirror.revision
            self.engine.script.put_nowait(event)
            async with asyncio.timeout(10):
                while self.mirror.revision == before:
                    await self.mirror.changed.wait(10)

    def watch(self, name: str = "a", cursor: str = "", heartbeat: float = 60.0):  # type: ignore[no-untyped-def]
        request = api.WatchStatusRequest(name=name, cursor=cursor)
        request.heartbeat_interval.FromMilliseconds(round(heartbeat * 1000))
        return self.stub.WatchStatus(request, timeout=20)

    def watch_all(self, cursor: str = "", selector: str = "", heartbeat: float = 60.0):  # type: ignore[no-untyped-def]
        request = api.WatchJobsRequest(cursor=cursor, label_selector=selector)
        request.heartbeat_interval.FromMilliseconds(round(heartbeat * 1000))
        return self.stub.WatchJobs(request, timeout=20)


@pytest.fixture
async def scene(start: Start) -> AsyncIterator[Scene]:
    engine = ScriptedEngine()
    engine.script.put_nowait(Snapshot([Job("a", uid="1", labels={"app": "x"})], time.monotonic()))
    async with start(engine) as running:
        assert await running.server.in_touch(10)
        yield Scene(running, engine)


def told(message: api.WatchStatusResponse) -> tuple[int, int]:
    return message.event, message.status.state


STATUS, DELETED = api.WATCH_EVENT_STATUS, api.WATCH_EVENT_DELETED
HEARTBEAT, SYNCED = api.WATCH_EVENT_HEARTBEAT, api.WATCH_EVENT_SYNCED


async def test_first_the_status_now_then_changes_until_the_end(scene: Scene) -> None:
    call = scene.watch()
    assert told(await call.read()) == (STATUS, job_pb2.JOB_STATE_PENDING)
    await scene.tell(Changed(Job("a", RUNNING, uid="1")))
    assert told(await call.read()) == (STATUS, job_pb2.JOB_STATE_RUNNING)
    await scene.tell(Changed(Job("a", SUCCEEDED, uid="1")))
    assert told(await call.read()) == (STATUS, job_pb2.JOB_STATE_SUCCEEDED)
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_finished_job_is_one_message(scene: Scene) -> None:
    await scene.tell(Changed(Job("a", SUCCEEDED, uid="1")))
    messages = [message async for message in scene.watch()]
    assert [told(message) for message in messages] == [(STATUS, job_pb2.JOB_STATE_SUCCEEDED)]
    assert [message async for message in scene.watch(cursor=messages[0].cursor)] == []


async def test_a_cursor_spares_what_was_seen(scene: Scene) -> None:
    call = scene.watch()
    first = await call.read()
    call.cancel()
    resumed = scene.watch(cursor=first.cursor)
    await scene.tell(Changed(Job("a", RUNNING, uid="1")))
    assert told(await resumed.read()) == (STATUS, job_pb2.JOB_STATE_RUNNING)
    unknown = scene.watch(cursor="of another world")
    assert told(await unknown.read()) == (STATUS, job_pb2.JOB_STATE_RUNNING)


async def test_a_server_that_lags_behind_takes_nothing_back(start: Start) -> None:
    """The cursor is of another replica, or of a server before it, that has seen more."""
    ahead, behind = ScriptedEngine(), ScriptedEngine()
    for engine, status in ((ahead, RUNNING), (behind, Status())):
        job = Job("a", status, uid="1")
        engine.script.put_nowait(Snapshot([job], time.monotonic()))
    async with start(ahead) as one, start(behind) as other:
        assert await one.server.in_touch(10)
        assert await other.server.in_touch(10)
        cursor = (await Scene(one, ahead).watch().read()).cursor
        scene = Scene(other, behind)
        call = scene.watch(cursor=cursor, heartbeat=1.0)
        assert (await call.read()).event == HEARTBEAT
        await scene.tell(Changed(Job("a", dataclasses.replace(RUNNING, active=2), uid="1")))
        while (news := await call.read()).event == HEARTBEAT:
            pass
        assert told(news) == (STATUS, job_pb2.JOB_STATE_RUNNING)
        assert told(await scene.watch().read()) == (STATUS, job_pb2.JOB_STATE_RUNNING)


async def test_a_deletion_ends_the_watch_with_a_terminal_status(scene: Scene) -> None:
    call = scene.watch()
    await call.read()
    await scene.tell(Removed("a", "1"))
    last = await call.read()
    assert told(last) == (DELETED, job_pb2.JOB_STATE_LOST)
    assert await call.read() is grpc.aio.EOF
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await scene.watch(cursor=last.cursor).read()
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watch_never_shows_another_job_of_the_same_name(scene: Scene) -> None:
    call = scene.watch()
    await call.read()
    await scene.tell(Removed("a", "1"), Changed(Job("a", RUNNING, uid="2")))
    last = await call.read()
    assert (last.uid, last.event) == ("1", DELETED)
    assert await call.read() is grpc.aio.EOF


async def test_heartbeats_while_quiet(scene: Scene) -> None:
    call = scene.watch(heartbeat=0.001)
    first = await call.read()
    beat = await call.read()
    assert beat.event == HEARTBEAT
    assert not beat.HasField("status")
    assert beat.cursor == first.cursor
    call.cancel()


async def test_a_reader_that_was_away_gets_only_the_newest(scene: Scene) -> None:
    call = scene.watch()
    first = await call.read()
    call.cancel()
    for active in range(2, 50):
        status = Status(active=active, state=State.RUNNING)
        await scene.tell(Changed(Job("a", status, uid="1")))
    resumed = scene.watch(cursor=first.cursor)
    assert (await resumed.read()).status.active == 49


async def test_everybody_is_told_the_end(scene: Scene) -> None:
    calls = [scene.watch() for _ in range(300)]
    await asyncio.gather(*(call.read() for call in calls))
    await scene.tell(Changed(Job("a", SUCCEEDED, uid="1")))
    ends = await asyncio.gather(*(call.read() for call in calls))
    assert {told(message) for message in ends} == {(STATUS, job_pb2.JOB_STATE_SUCCEEDED)}
    assert scene.engine.watches == 1, "however many watch, the engine is watched once"


async def test_watch_jobs_lists_then_follows(scene: Scene) -> None:
    call = scene.watch_all()
    first, synced = await call.read(), await call.read()
    assert (first.event, first.job.name, first.cursor) == (STATUS, "a", "")
    assert (synced.event, synced.full) == (SYNCED, True)
    await scene.tell(Changed(Job("b", RUNNING, uid="2")))
    added = await call.read()
    assert (added.event, added.job.name) == (STATUS, "b")
    await scene.tell(Removed("b", "2"))
    deleted = await call.read()
    assert (deleted.event, deleted.job.name) == (DELETED, "b")
    assert deleted.job.status.state == job_pb2.JOB_STATE_LOST


async def test_watch_jobs_resumes_with_what_changed_meanwhile(scene: Scene) -> None:
    await scene.tell(Changed(Job("b", RUNNING, uid="2")))
    call = scene.watch_all()
    cursor = ""
    while not cursor:
        cursor = (await call.read()).cursor
    call.cancel()
    await scene.tell(Changed(Job("c", RUNNING, uid="3")), Removed("b", "2"))
    resumed = scene.watch_all(cursor=cursor)
    messages = [await resumed.read() for _ in range(3)]
    assert [(message.event, message.job.name) for message in messages] == [
        (STATUS, "c"),
        (DELETED, "b"),
        (SYNCED, ""),
    ]
    assert not messages[-1].full
    resumed.cancel()
    unknown = scene.watch_all(cursor="0.0")
    messages = [await unknown.read() for _ in range(3)]
    assert {message.job.name for message in messages[:2]} == {"a", "c"}
    assert messages[-1].full


async def test_watch_jobs_by_selector(scene: Scene) -> None:
    call = scene.watch_all(selector="app=x")
    assert (await call.read()).job.name == "a"
    assert (await call.read()).event == SYNCED
    await scene.tell(
        Changed(Job("b", RUNNING, uid="2", labels={"app": "y"})),
        Changed(Job("c", RUNNING, uid="3", labels={"app": "x"})),
    )
    assert (await call.read()).job.name == "c"


async def test_watch_jobs_beats(scene: Scene) -> None:
    call = scene.watch_all(heartbeat=0.001)
    events = [(await call.read()).event for _ in range(3)]
    assert events == [STATUS, SYNCED, HEARTBEAT]


async def test_a_stopping_server_hands_out_cursors(start: Start) -> None:
    engine = ScriptedEngine()
    engine.script.put_nowait(Snapshot([Job("a", RUNNING, uid="1")], time.monotonic()))
    async with start(engine) as running:
        assert await running.server.in_touch(10)
        scene = Scene(running, engine)
        call, calls = scene.watch(), scene.watch_all()
        first = await call.read()
        while (await calls.read()).event != SYNCED:
            pass
        await running.server.__aexit__(None, None, None)
        last = await call.read()
        assert (last.event, last.cursor) == (HEARTBEAT, first.cursor)
        assert (await calls.read()).event == HEARTBEAT
        for ended in (call, calls):
            with pytest.raises(grpc.aio.AioRpcError) as stopped:
                await ended.read()
            assert stopped.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_and_fields(stopped.value)[0] == "SERVER_STOPPING"


async def test_a_job_deleted_while_the_list_is_sent_is_told_so_before_synced() -> None:
    """Else watchers that knew it would have to take it for lost."""
    mirror = Mirror(ScriptedEngine())
    for name in "abc":
        mirror.wrote(Job(name, RUNNING, uid=name))
    told: list[tuple[int, str]] = []
    async with aclosing(watch_all(mirror, None, "", 60)) as messages:
        async for raw in messages:
            message = api.WatchJobsResponse.FromString(raw)
            told.append((message.event, message.job.name))
            if message.job.name == "a":
                mirror._remove(Removed("b", "b", SUCCEEDED))
            if message.event == SYNCED:
                mirror.wrote(Job("d", RUNNING, uid="d"))
            if message.job.name == "d":
                break
    assert told == [(STATUS, "a"), (STATUS, "c"), (DELETED, "b"), (SYNCED, ""), (STATUS, "d")]


async def test_as_many_streams_as_allowed(start: Start) -> None:
    engine = ScriptedEngine()
    engine.script.put_nowait(Snapshot([Job("a", RUNNING, uid="1")], time.monotonic()))
    async with start(engine, max_streams=2) as running:
        assert await running.server.in_touch(10)
        scene = Scene(running, engine)
        calls = [scene.watch(), scene.watch_all()]
        for call in calls:
            await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scene.watch().read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await running.stub.ReadStatus(api.ReadStatusRequest(name="a"))


async def test_who_does_not_read_is_cut_off_and_may_come_again(start: Start) -> None:
    """Meanwhile the others are told everything."""
    engine = ScriptedEngine()
    engine.script.put_nowait(Snapshot([Job("a", RUNNING, uid="1")], time.monotonic()))
    async with start(engine, slow_reader_seconds=0.2, max_streams=2) as running:
        assert await running.server.in_touch(10)
        scene = Scene(running, engine)
        slow, call = scene.watch(), scene.watch()
        first = await slow.read()
        await call.read()
        status = RUNNING
        while await is_full(scene):  # its connection's window takes megabytes
            status = dataclasses.replace(RUNNING, message=secrets.token_hex(50_000))
            await scene.tell(Changed(Job("a", status, uid="1")))
            while (news := await call.read()).status.message != status.message:
                pass
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await read_all(slow)
        assert cut.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_and_fields(cut.value)[0] == "LIMIT_REACHED"
        assert (await scene.watch(cursor=first.cursor).read()).status == news.status


async def is_full(scene: Scene) -> bool:
    """Whether a further stream is refused."""
    further = scene.watch()
    try:
        await further.read()
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        return True
    further.cancel()
    return False


async def read_all(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass
