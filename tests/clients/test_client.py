"""Every method of both clients, on a real server with the fake engine."""

import itertools
from contextlib import closing

import pytest

from jobengine import (
    Client,
    EngineHealth,
    JobReason,
    JobState,
    LogStream,
    WatchEvent,
    errors,
    is_terminal,
)
from tests.clients.blocking import first
from tests.clients.specs import PREFIX, endless, fake


def test_create_and_read(client: Client, name: str) -> None:
    job = client.create_job(fake(labels={"app": "web"}), name=name)
    assert (job.name, dict(job.labels)) == (name, {"app": "web"})
    read = client.read_job(name)
    assert read.uid == job.uid
    assert list(read.spec.command) == ["fake"]


def test_name_is_made_where_none_is_given(client: Client) -> None:
    assert client.create_job(fake()).name != client.create_job(fake()).name


def test_repeat_with_same_request_id_gives_same_job(client: Client, name: str) -> None:
    first_job = client.create_job(endless(), name=name, request_id="r-" + name)
    again = client.create_job(endless(), name=name, request_id="r-" + name)
    assert again.uid == first_job.uid
    client.delete_job(name)


def test_validate_only_starts_nothing(client: Client, name: str) -> None:
    client.create_job(fake(), name=name, validate_only=True)
    with pytest.raises(errors.JobNotFound):
        client.read_job(name)


def test_status_fresh_and_from_memory(client: Client, name: str) -> None:
    client.create_job(endless(), name=name)
    for event in client.watch_status(name):
        if event.status.state == JobState.JOB_STATE_RUNNING:
            break
    assert client.read_status(name).active == 1
    assert client.read_status(name, fresh=True).active == 1
    client.delete_job(name)


def test_cancel_then_wait(client: Client, name: str) -> None:
    client.create_job(endless(), name=name)
    client.cancel_job(name, grace_seconds=1.5)
    status = client.wait(name)
    assert status.state == JobState.JOB_STATE_CANCELLED
    assert status.reason == JobReason.JOB_REASON_CANCELLED


def test_delete_and_wait_until_gone(client: Client, name: str) -> None:
    client.create_job(endless(), name=name)
    client.delete_job(name, wait=True)
    with pytest.raises(errors.JobNotFound):
        client.read_status(name)
    client.delete_job(name, allow_missing=True)


def test_list_goes_through_all_pages(client: Client, name: str) -> None:
    names = {f"{name}-{number}" for number in range(120)}
    for one in names:
        client.create_job(fake(labels={"test": name}), name=one)
    assert {job.name for job in client.list_jobs(f"test={name}")} == names


def test_list_by_state(client: Client, name: str) -> None:
    client.create_job(endless(), name=name)
    client.cancel_job(name)
    client.wait(name)
    cancelled = client.list_jobs(states=[JobState.JOB_STATE_CANCELLED])
    assert name in {job.name for job in cancelled}
    succeeded = client.list_jobs(states=[JobState.JOB_STATE_SUCCEEDED])
    assert name not in {job.name for job in succeeded}


def test_watch_tells_each_change_once_and_ends(client: Client, name: str) -> None:
    client.create_job(fake(pending_for=0.2, run_for=0.2), name=name)
    events = list(client.watch_status(name))
    statuses = [event.status for event in events]
    assert all(before != after for before, after in itertools.pairwise(statuses))
    states = [status.state for status in statuses]
    assert states == sorted(states)
    assert states[-1] == JobState.JOB_STATE_SUCCEEDED


def test_watch_with_the_last_cursor_has_nothing_more_to_tell(client: Client, name: str) -> None:
    client.create_job(fake(), name=name)
    *_, last = client.watch_status(name)
    assert list(client.watch_status(name, cursor=last.cursor)) == []


def test_watch_tells_of_deletion(client: Client, name: str) -> None:
    client.create_job(endless(), name=name)
    with closing(client.watch_status(name)) as events:
        next(events)
        client.delete_job(name)
        *_, last = events
    assert is_terminal(last.status)
    assert last.status.reason == JobReason.JOB_REASON_DELETED


def test_watch_jobs(client: Client, name: str) -> None:
    selector = f"test={name}"
    client.create_job(endless(labels={"test": name}), name=name)
    with closing(client.watch_jobs(selector)) as events:
        assert next(events).job.name == name
        synced = next(event for event in events if event.event != WatchEvent.WATCH_EVENT_STATUS)
        assert synced.event == WatchEvent.WATCH_EVENT_SYNCED
        assert synced.full
        client.delete_job(name)
        deleted = next(event for event in events if event.event == WatchEvent.WATCH_EVENT_DELETED)
    assert deleted.job.name == name
    resumed = first(client.watch_jobs(selector, cursor=deleted.cursor))
    assert resumed.event == WatchEvent.WATCH_EVENT_SYNCED
    assert not resumed.full


def test_run_says_how_it_ended(client: Client, name: str) -> None:
    status = client.run(fake(exit_code=3), name=name)
    assert status.state == JobState.JOB_STATE_FAILED
    assert status.exit_code == 3


def test_wait_has_a_deadline(client: Client, name: str) -> None:
    client.create_job(endless(), name=name)
    with pytest.raises(errors.DeadlineExceeded):
        client.wait(name, timeout_seconds=0.2)
    assert not is_terminal(client.read_status(name))
    client.delete_job(name)


def test_logs(client: Client, name: str) -> None:
    client.run(fake(output="one\n!two\nthree"), name=name)
    chunks = list(client.logs(name))
    assert b"".join(chunk.data for chunk in chunks) == b"one\ntwo\nthree\n"
    stderr = client.logs(name, stream=LogStream.LOG_STREAM_STDERR)
    assert b"".join(chunk.data for chunk in stderr) == b"two\n"
    assert b"".join(chunk.data for chunk in client.logs(name, tail_lines=1)) == b"three\n"
    rest = client.logs(name, cursor=chunks[0].cursor)
    assert b"".join(chunk.data for chunk in rest) == b"two\nthree\n"


def test_logs_follow_until_the_end(client: Client, name: str) -> None:
    client.create_job(fake(output="one\ntwo", run_for=0.3), name=name)
    assert b"".join(c.data for c in client.logs(name, follow=True)) == b"one\ntwo\n"
    assert is_terminal(client.wait(name, timeout_seconds=10))


def test_engine_and_health(client: Client) -> None:
    engine = client.read_engine()
    assert engine.name == "fake"
    assert engine.health == EngineHealth.ENGINE_HEALTH_OK
    assert client.check_health("")
    assert client.check_health()
    assert not client.check_health("no.such.Service")


def test_knob_annotations_are_those_of_the_engine(client: Client) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        client.create_job(fake(no_such_knob=1))
    assert caught.value.violations[0].field == f"spec.annotations[{PREFIX}no-such-knob]"
