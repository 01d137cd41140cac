"""The mirror: own writes at once, states only forward, and the truth after every reconnect."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from engines.base import (
    Changed,
    Contact,
    Engine,
    Event,
    Job,
    Reason,
    Removed,
    Snapshot,
    State,
    Status,
)
from engines.errors import EngineFailed, EngineUnavailable
from server import mirror as mirror_module
from server.entry import Entry
from server.mirror import Mirror
from tests.server.scripted import ScriptedEngine

RUNNING = Status(active=1, state=State.RUNNING)
SUCCEEDED = Status(succeed=1, state=State.SUCCEEDED, reason=Reason.COMPLETED, exit_code=0)
FAILED = Status(failed=1, state=State.FAILED, reason=Reason.NON_ZERO_EXIT, exit_code=3)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def mirror(engine: ScriptedEngine) -> AsyncIterator[Mirror]:
    mirror = Mirror(engine)
    following = asyncio.create_task(mirror.follow())
    yield mirror
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def tell(mirror: Mirror, engine: ScriptedEngine, *events: Event | Exception) -> None:
    """Have the mirror hear these events; the last one ends with a change of its own."""
    for event in events:
        engine.script.put_nowait(event)
    marker = Job(f"marker-{time.monotonic_ns()}", uid=f"marker-{time.monotonic_ns()}")
    engine.script.put_nowait(Changed(marker))
    async with asyncio.timeout(10):
        while mirror.get(marker.name) is None:
            await mirror.changed.wait(10)


def status_of(mirror: Mirror, name: str) -> Status:
    entry = mirror.get(name)
    assert entry is not None
    return entry.job.status


async def test_follows_the_engine(mirror: Mirror, engine: ScriptedEngine) -> None:
    assert not mirror.in_touch.is_set()
    await tell(mirror, engine, Snapshot([Job("a", uid="1"), Job("b", uid="2")], time.monotonic()))
    assert mirror.in_touch.is_set()
    await tell(mirror, engine, Changed(Job("a", RUNNING, uid="1")))
    assert status_of(mirror, "a") == RUNNING
    assert status_of(mirror, "b").state is State.PENDING


async def test_own_writes_count_at_once_and_outlive_an_older_snapshot(
    mirror: Mirror, engine: ScriptedEngine
) -> None:
    began = time.monotonic()
    mirror.wrote(Job("mine", uid="1"))
    assert status_of(mirror, "mine").state is State.PENDING
    await tell(mirror, engine, Snapshot([], began))
    assert mirror.get("mine") is not None
    await tell(mirror, engine, Snapshot([], time.monotonic()))
    assert mirror.get("mine") is None


async def test_states_only_move_forward(mirror: Mirror, engine: ScriptedEngine) -> None:
    await tell(mirror, engine, Changed(Job("a", RUNNING, uid="1")))
    await tell(mirror, engine, Changed(Job("a", Status(), uid="1")))
    assert status_of(mirror, "a").state is State.RUNNING
    await tell(mirror, engine, Changed(Job("a", SUCCEEDED, uid="1")))
    await tell(mirror, engine, Changed(Job("a", FAILED, uid="1")), Changed(Job("a", uid="1")))
    assert status_of(mirror, "a") == SUCCEEDED


async def watcher_of(mirror: Mirror, name: str) -> Entry:
    entry = mirror.get(name)
    assert entry is not None
    return entry


async def test_a_job_that_vanishes_is_lost(mirror: Mirror, engine: ScriptedEngine) -> None:
    await tell(mirror, engine, Changed(Job("a", RUNNING, uid="1")))
    entry = await watcher_of(mirror, "a")
    await tell(mirror, engine, Removed("a", "1"))
    assert mirror.get("a") is None
    assert entry.deleted
    assert (entry.job.status.state, entry.job.status.reason) == (State.LOST, Reason.DELETED)
    assert entry.job.status.active is None


async def test_a_job_missing_from_a_snapshot_is_lost(
    mirror: Mirror, engine: ScriptedEngine
) -> None:
    await tell(mirror, engine, Changed(Job("a", RUNNING, uid="1")))
    entry = await watcher_of(mirror, "a")
    await tell(mirror, engine, Snapshot([], time.monotonic()))
    assert entry.deleted
    assert entry.job.status.state is State.LOST


async def test_a_job_deleted_by_the_service_is_cancelled(
    mirror: Mirror, engine: ScriptedEngine
) -> None:
    await tell(mirror, engine, Changed(Job("a", RUNNING, uid="1")))
    entry = await watcher_of(mirror, "a")
    entry.deleting = True
    await tell(mirror, engine, Removed("a", "1"))
    assert (entry.job.status.state, entry.job.status.reason) == (State.CANCELLED, Reason.DELETED)


@pytest.mark.parametrize("last", [SUCCEEDED, None])
async def test_a_finished_job_keeps_its_end_when_removed(
    mirror: Mirror, engine: ScriptedEngine, last: Status | None
) -> None:
    before = RUNNING if last else FAILED
    await tell(mirror, engine, Changed(Job("a", before, uid="1")))
    entry = await watcher_of(mirror, "a")
    await tell(mirror, engine, Removed("a", "1", last))
    assert entry.job.status == (last or FAILED)


async def test_what_is_gone_never_comes_back(mirror: Mirror, engine: ScriptedEngine) -> None:
    await tell(mirror, engine, Changed(Job("a", RUNNING, uid="1")), Removed("a", "1"))
    await tell(mirror, engine, Changed(Job("a", SUCCEEDED, uid="1")))
    assert mirror.get("a") is None
    assert mirror.wrote(Job("a", RUNNING, uid="1")) is None
    await tell(mirror, engine, Snapshot([Job("a", RUNNING, uid="1")], time.monotonic()))
    assert mirror.get("a") is None


async def test_a_removal_that_overtakes_the_own_write(
    mirror: Mirror, engine: ScriptedEngine
) -> None:
    await tell(mirror, engine, Removed("a", "1"))
    assert mirror.wrote(Job("a", RUNNING, uid="1")) is None
    assert mirror.get("a") is None


async def test_a_new_job_of_the_same_name_ends_the_watch_of_the_old_one(
    mirror: Mirror, engine: ScriptedEngine
) -> None:
    await tell(mirror, engine, Changed(Job("a", RUNNING, uid="1")))
    old = await watcher_of(mirror, "a")
    await tell(mirror, engine, Changed(Job("a", Status(), uid="2")))
    assert old.deleted
    assert old.job.uid == "1"
    new = mirror.get("a")
    assert new is not None
    assert new.job.uid == "2"
    await tell(mirror, engine, Removed("a", "1"))
    assert mirror.get("a") is new


async def test_trouble_is_retried_and_then_compared(mirror: Mirror, engine: ScriptedEngine) -> None:
    await tell(mirror, engine, Snapshot([Job("a", RUNNING, uid="1")], time.monotonic()))
    engine.script.put_nowait(EngineUnavailable("cut"))
    async with asyncio.timeout(10):
        await mirror.out_of_touch.wait()
    assert mirror.trouble == "cut"
    assert mirror.age_seconds is not None
    assert status_of(mirror, "a") == RUNNING, "a cut says nothing about jobs"
    await tell(mirror, engine, Snapshot([Job("a", SUCCEEDED, uid="1")], time.monotonic()))
    assert mirror.in_touch.is_set()
    assert mirror.age_seconds is None
    assert status_of(mirror, "a") == SUCCEEDED
    assert engine.watches == 2


async def test_a_bug_in_the_engine_is_survived(mirror: Mirror, engine: ScriptedEngine) -> None:
    await tell(mirror, engine, ZeroDivisionError("oops"))
    assert engine.watches == 2
    with pytest.raises(EngineFailed, match="no uid"):
        mirror.wrote(Job("a"))


async def test_a_silent_watch_is_given_up(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "SILENCE_SECONDS", 0.05)
    mirror = Mirror(engine)
    engine.script.put_nowait(Snapshot([], time.monotonic()))
    following = asyncio.create_task(mirror.follow())
    async with asyncio.timeout(10):
        await mirror.in_touch.wait()
        await mirror.out_of_touch.wait()
    assert "said nothing" in mirror.trouble
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_changes_are_conflated_and_in_order(engine: Engine) -> None:
    mirror = Mirror(engine)
    for name in ("c", "a", "b"):
        mirror.wrote(Job(name, uid=name))
    since = mirror.revision
    mirror.wrote(Job("a", RUNNING, uid="a"))
    mirror.wrote(Job("c", RUNNING, uid="c"))
    mirror.wrote(Job("a", SUCCEEDED, uid="a"))
    assert [entry.job.name for entry in mirror.changes(since)] == ["c", "a"]
    assert [entry.job.name for entry in mirror.changes(0)] == ["b", "c", "a"]
    assert [entry.job.name async for entry in mirror.find(None)] == ["a", "b", "c"]
    assert [entry.job.name async for entry in mirror.find(None, after="a")] == ["b", "c"]


def test_an_equal_status_is_no_change(engine: Engine) -> None:
    mirror = Mirror(engine)
    entry = mirror.wrote(Job("a", RUNNING, uid="1"))
    assert entry is not None
    before = (mirror.revision, entry.cursor)
    mirror.wrote(Job("a", RUNNING, uid="1"))
    assert (mirror.revision, entry.cursor) == before


def test_cursors(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "MAX_REMEMBERED_DELETIONS", 2)
    mirror = Mirror(engine)
    first = mirror.cursor(mirror.revision)
    mirror.wrote(Job("a", uid="a"))
    assert mirror.position(first) == 0
    assert mirror.position(mirror.cursor(1)) == 1
    assert mirror.position(mirror.cursor(2)) is None, "from the future"
    assert mirror.position(Mirror(engine).cursor(0)) is None, "of another server"
    assert mirror.position("") is None
    assert mirror.position("nonsense") is None
    for name in ("a", "b", "c"):
        mirror.wrote(Job(name, uid=name))
        mirror._remove(Removed(name, name))
    assert mirror.position(first) is None, "the deletion of a is forgotten"
    assert mirror.position(mirror.cursor(mirror.revision)) is not None
    assert [entry.job.name for entry in mirror.changes(0)] == ["b", "c"]


def test_replicas_make_the_same_cursor_of_a_status(engine: Engine) -> None:
    job = Job("a", RUNNING, uid="1")
    one, other = Mirror(engine).wrote(job), Mirror(engine).wrote(job)
    assert one is not None
    assert other is not None
    assert one.cursor == other.cursor


def test_contact_is_counted(engine: Engine) -> None:
    mirror = Mirror(engine)
    assert mirror.contact_time is None
    mirror._take(Contact())
    assert mirror.contact_time is not None
