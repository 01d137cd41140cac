"""A CreateJob that was carried out and whose answer got lost: its repeat gives the first job."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobengine import Client, errors
from tests.clients.proxy import Proxy
from tests.faults.server import FaultyServer
from tests.faults.story import check_truth
from tests.faults.truth import Task, release, waiting


class OneWayProxy(Proxy):
    """Can swallow what the server answers, while requests still reach it."""

    swallowing = False

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_client = self.address.endswith(f":{writer.get_extra_info('sockname')[1]}")
        if to_client and self.swallowing:
            self._muted.add(writer)
        await super()._pass(reader, writer)

    def swallow(self) -> None:
        """Swallow all answers from now on, over present connections and new ones."""
        port = int(self.address.rpartition(":")[2])
        self.swallowing = True
        self._muted |= {w for w in self._writers if w.get_extra_info("sockname")[1] == port}


@pytest.fixture
def proxy(server: FaultyServer) -> Generator[OneWayProxy]:
    with OneWayProxy(server.address) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(proxy: OneWayProxy, new_client: Callable[[str], Client]) -> Client:
    """A client whose connection through the proxy is open."""
    client = new_client(proxy.address)
    client.read_engine()
    return client


@pytest.fixture
def threads() -> Generator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.mark.parametrize("name", ["job", ""])
def test_connection_is_cut(
    tmp_path: Path,
    server: FaultyServer,
    proxy: OneWayProxy,
    through_proxy: Client,
    client: Client,
    threads: ThreadPoolExecutor,
    name: str,
) -> None:
    task = waiting("job", tmp_path, 5)
    proxy.swallow()
    answer = threads.submit(through_proxy.create_job, task.spec, name=name, request_id="once")
    task.wait_for_start()
    proxy.swallowing = False
    proxy.cut()
    job = answer.result(20)
    assert proxy.connections == 2
    again = client.create_job(task.spec, name=name, request_id="once")
    assert (again.name, again.uid) == (job.name, job.uid)
    release(task)
    check_truth(task, client.wait(job.name))
    assert [run.code for run in task.runs()] == [5]


@pytest.mark.parametrize("when", ["while it runs", "after its end"])
def test_server_is_killed(
    tmp_path: Path,
    server: FaultyServer,
    proxy: OneWayProxy,
    through_proxy: Client,
    client: Client,
    threads: ThreadPoolExecutor,
    when: str,
) -> None:
    task = waiting("job", tmp_path, 5)
    proxy.swallow()
    answer = threads.submit(through_proxy.create_job, task.spec, request_id="once")
    task.wait_for_start()
    server.kill()
    if when == "after its end":
        release(task)
        task.wait_for("exit")
    proxy.swallowing = False
    proxy.cut()
    server.start()
    job = answer.result(20)
    if when == "while it runs":
        release(task)
    check_truth(task, client.wait(job.name))
    assert [run.code for run in task.runs()] == [5]


def test_repeat_from_another_client_meets_the_first(
    tmp_path: Path,
    client: Client,
    new_client: Callable[[str], Client],
    server: FaultyServer,
    threads: ThreadPoolExecutor,
) -> None:
    """Many at once, with one request id: one job, one run, one answer."""
    task = Task("job", tmp_path, "leave 0")
    clients = [new_client(server.address) for _ in range(8)]
    jobs = list(threads.map(lambda each: each.create_job(task.spec, request_id="once"), clients))
    assert len({(job.name, job.uid) for job in jobs}) == 1
    check_truth(task, client.wait(jobs[0].name))
    assert len(task.runs()) == 1


def test_name_is_not_given_twice(tmp_path: Path, client: Client, server: FaultyServer) -> None:
    """Another request for the name starts nothing, also after a restart."""
    first, second = Task("job", tmp_path, "leave 0"), Task("other", tmp_path, "leave 0")
    client.create_job(first.spec, name="job", request_id="first")
    client.wait("job")
    for restart in (False, True):
        if restart:
            server.kill()
            server.start()
        for request_id, task in (("second", first), ("first", second), ("second", second)):
            with pytest.raises(errors.JobAlreadyExists):
                client.create_job(task.spec, name="job", request_id=request_id)
    assert len(first.runs()) == 1
    assert not second.runs()
