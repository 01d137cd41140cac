"""A single WatchJobs as it is sent: heartbeats are told, and interruptions aren't bridged."""

from collections.abc import Generator
from contextlib import closing

import pytest

from jobengine import RetryPolicy, WatchEvent, errors
from tests.clients.blocking import NewClient
from tests.clients.proxy import Proxy
from tests.clients.server import Server
from tests.clients.specs import endless

QUICK = RetryPolicy(heartbeat_seconds=1)


@pytest.fixture
def proxy(fake_server: Server) -> Generator[Proxy]:
    with Proxy(fake_server.address) as proxy:
        yield proxy


def test_all_messages_are_told(new_client: NewClient, fake_server: Server, name: str) -> None:
    client = new_client(fake_server.address, retry=QUICK)
    job = client.create_job(endless(labels={"test": name}), name=name)
    with closing(client.watch_jobs_once(f"test={name}")) as messages:
        listed, synced, heartbeat = (next(messages) for _ in range(3))
        assert (listed.event, listed.job.uid) == (WatchEvent.WATCH_EVENT_STATUS, job.uid)
        assert (synced.event, synced.full) == (WatchEvent.WATCH_EVENT_SYNCED, True)
        assert heartbeat.event == WatchEvent.WATCH_EVENT_HEARTBEAT
    with closing(client.watch_jobs_once(f"test={name}", cursor=heartbeat.cursor)) as messages:
        again = next(messages)
        assert (again.event, again.full) == (WatchEvent.WATCH_EVENT_SYNCED, False)
    client.delete_job(name)


def test_an_interruption_ends_it(new_client: NewClient, proxy: Proxy) -> None:
    client = new_client(proxy.address)
    with closing(client.watch_jobs_once("test=nothing")) as messages:
        assert next(messages).event == WatchEvent.WATCH_EVENT_SYNCED
        proxy.cut()
        with pytest.raises(errors.Unavailable):
            next(messages)


def test_silence_ends_it_and_the_connection(new_client: NewClient, proxy: Proxy) -> None:
    client = new_client(proxy.address, retry=QUICK)
    with closing(client.watch_jobs_once("test=nothing")) as messages:
        assert next(messages).event == WatchEvent.WATCH_EVENT_SYNCED
        proxy.fall_silent()
        with pytest.raises(errors.ConnectionSilent):
            list(messages)
    assert client.read_engine().name == "fake"
    assert proxy.connections == 2


def test_its_client_may_be_closed(new_client: NewClient, fake_server: Server) -> None:
    client = new_client(fake_server.address)
    client.close()
    with pytest.raises(errors.ClientClosed):
        next(client.watch_jobs_once())
