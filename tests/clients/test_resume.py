"""Streams go on by themselves when the connection or the server fails under them."""

import itertools
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from jobengine import JobReason, JobState, RetryPolicy, WatchEvent, WatchStatusResponse, errors
from tests.clients.blocking import NewClient
from tests.clients.proxy import Proxy
from tests.clients.server import NewServer, Server
from tests.clients.specs import endless, fake

QUICK = RetryPolicy(heartbeat_seconds=1)


@pytest.fixture
def proxy(fake_server: Server) -> Generator[Proxy]:
    with Proxy(fake_server.address) as proxy:
        yield proxy


def until_running(events: Iterator[WatchStatusResponse]) -> WatchStatusResponse:
    return next(e for e in events if e.status.state == JobState.JOB_STATE_RUNNING)


def test_watch_goes_on_after_a_cut(
    new_client: NewClient, fake_server: Server, proxy: Proxy, name: str
) -> None:
    client = new_client(proxy.address)
    other = new_client(fake_server.address)
    other.create_job(endless(), name=name)
    with closing(client.watch_status(name)) as events:
        seen = [until_running(events)]
        for _ in range(3):
            proxy.cut()
        other.cancel_job(name)
        seen += events
    assert proxy.connections > 1
    assert seen[-1].status.state == JobState.JOB_STATE_CANCELLED
    assert all(a.status != b.status for a, b in itertools.pairwise(seen))


def test_watch_of_all_jobs_goes_on_after_a_cut(
    new_client: NewClient, fake_server: Server, proxy: Proxy, name: str
) -> None:
    client = new_client(proxy.address)
    other = new_client(fake_server.address)
    job = endless(labels={"test": name})
    other.create_job(job, name=name)
    with closing(client.watch_jobs(f"test={name}")) as events:
        synced = next(e for e in events if e.event == WatchEvent.WATCH_EVENT_SYNCED)
        assert synced.full
        proxy.cut()
        other.create_job(job, name=f"{name}-2")
        added = next(e for e in events if e.event == WatchEvent.WATCH_EVENT_STATUS)
        assert added.job.name == f"{name}-2"
        other.delete_job(name)
        gone = next(e for e in events if e.event == WatchEvent.WATCH_EVENT_DELETED)
        assert gone.job.name == name
    other.delete_job(f"{name}-2")


def test_logs_have_no_gap_and_no_repeat_over_cuts(
    new_client: NewClient, fake_server: Server, proxy: Proxy, name: str
) -> None:
    client = new_client(proxy.address)
    lines = [f"line {number}" for number in range(200)]
    new_client(fake_server.address).create_job(fake(output="\n".join(lines), run_for=1), name=name)
    data = b""
    for number, chunk in enumerate(client.logs(name, follow=True)):
        data += chunk.data
        if number % 50 == 20:
            proxy.cut()
    assert data.decode().splitlines() == lines
    assert proxy.connections >= 3


def test_dead_connection_is_noticed(
    new_client: NewClient, fake_server: Server, proxy: Proxy, name: str
) -> None:
    client = new_client(proxy.address, retry=QUICK)
    other = new_client(fake_server.address)
    other.create_job(endless(), name=name)
    with closing(client.watch_status(name)) as events:
        until_running(events)
        proxy.fall_silent()
        other.cancel_job(name)
        *_, last = events
    assert last.status.state == JobState.JOB_STATE_CANCELLED
    assert proxy.connections == 2


def test_dead_connection_is_noticed_by_a_log_reader(
    new_client: NewClient, fake_server: Server, proxy: Proxy, name: str
) -> None:
    options = [
        ("grpc.keepalive_time_ms", 1_000),
        ("grpc.keepalive_timeout_ms", 1_000),
        ("grpc.http2.ping_timeout_ms", 1_000),
    ]
    client = new_client(proxy.address, options=options)
    other = new_client(fake_server.address)
    other.create_job(endless(output="one\ntwo"), name=name)
    with closing(client.logs(name, follow=True)) as chunks:
        assert next(chunks).data == b"one\n"
        proxy.fall_silent()
        other.cancel_job(name)
        assert list(chunks) == []
    assert proxy.connections == 2


def test_a_call_goes_on_when_others_give_its_connection_up(
    new_client: NewClient, fake_server: Server, proxy: Proxy, name: str
) -> None:
    """It has no heartbeats, and hangs on the first connection when the second one dies too."""
    client = new_client(proxy.address, retry=QUICK)
    other = new_client(fake_server.address)
    other.create_job(endless(output="one\ntwo"), name=name)
    with (
        closing(client.logs(name, follow=True)) as chunks,
        closing(client.watch_status(name)) as events,
    ):
        assert next(chunks).data == b"one\n"
        until_running(events)
        proxy.fall_silent()
        other.create_job(endless(), name=f"{name}-2")
        with closing(client.watch_status(f"{name}-2")) as more:
            until_running(more)  # over a new connection, once the first was given up
            proxy.fall_silent()
            other.cancel_job(f"{name}-2")
            *_, last = more
        assert last.status.state == JobState.JOB_STATE_CANCELLED
        other.cancel_job(name)
        assert list(chunks) == []
    other.delete_job(f"{name}-2")


@pytest.mark.parametrize("stop", ["kill", "terminate"])
def test_watch_of_a_job_that_the_restart_lost(
    new_client: NewClient, new_server: NewServer, name: str, stop: str
) -> None:
    server = new_server("fake")
    client = new_client(server.address)
    client.create_job(endless(), name=name)
    with closing(client.watch_status(name)) as events:
        until_running(events)
        getattr(server, stop)()
        server.start()
        with pytest.raises(errors.JobNotFound):
            next(events)


def test_watch_of_all_jobs_tells_what_the_restart_lost(
    new_client: NewClient, new_server: NewServer, name: str
) -> None:
    server = new_server("fake")
    client = new_client(server.address)
    uid = client.create_job(endless(), name=name).uid
    with closing(client.watch_jobs()) as events:
        next(e for e in events if e.event == WatchEvent.WATCH_EVENT_SYNCED)
        server.kill()
        server.start()
        told = next(e for e in events if e.event != WatchEvent.WATCH_EVENT_STATUS)
        assert told.event == WatchEvent.WATCH_EVENT_DELETED
        assert (told.job.name, told.job.uid) == (name, uid)
        assert told.job.status.state == JobState.JOB_STATE_LOST
        assert told.job.status.reason == JobReason.JOB_REASON_DELETED
        synced = next(events)
        assert synced.event == WatchEvent.WATCH_EVENT_SYNCED
        assert not synced.full


def test_resuming_ends_with_the_last_error(
    new_client: NewClient, new_server: NewServer, name: str
) -> None:
    server = new_server("fake")
    client = new_client(server.address, retry=RetryPolicy(resume_for_seconds=0.5))
    client.create_job(endless(), name=name)
    with closing(client.watch_status(name)) as events:
        until_running(events)
        server.kill()
        with pytest.raises(errors.Unavailable):
            next(events)


def test_calls_wait_for_a_server_that_restarts(
    new_client: NewClient, new_server: NewServer
) -> None:
    server = new_server("fake")
    client = new_client(server.address, retry=RetryPolicy(retry_for_seconds=20))
    assert client.read_engine().name == "fake"
    server.terminate()
    with ThreadPoolExecutor() as pool:
        starting = pool.submit(server.start)
        assert client.read_engine().name == "fake"
        starting.result()


def test_delete_whose_answer_was_lost_finds_the_job_gone(
    new_client: NewClient, new_server: NewServer, name: str
) -> None:
    server = new_server("fake")
    client = new_client(server.address, retry=RetryPolicy(retry_for_seconds=20))
    client.create_job(endless(), name=name)
    server.kill()
    with ThreadPoolExecutor() as pool:
        starting = pool.submit(server.start)
        client.delete_job(name)
        starting.result()
