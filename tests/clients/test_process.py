"""What a client does when its process forks, its connection closes, or heartbeats stay away."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import closing

import grpc
import pytest

from jobengine import AsyncClient, Client, JobState, RetryPolicy, errors
from jobengine.v1 import job_engine_pb2 as pb
from jobengine.v1 import job_pb2
from tests.clients.blocking import NewClient
from tests.clients.server import Server
from tests.clients.specs import endless

FORKS = """
import os, sys
from jobengine import Client
client = Client(sys.argv[1])
assert client.read_engine().name == "fake"
child = os.fork()
if not child:
    ok = client.read_engine().name == "fake"
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert client.read_engine().name == "fake"
client.close()
"""


def test_client_works_in_a_forked_child(fake_server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS, fake_server.address],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_async_client_works_in_one_loop_after_another(fake_server: Server) -> None:
    client = AsyncClient(fake_server.address)

    async def ask() -> str:
        return (await client.read_engine()).name

    assert asyncio.run(ask()) == asyncio.run(ask()) == "fake"


def test_closing_ends_a_watch_in_another_thread(fake_server: Server, name: str) -> None:
    client = Client(fake_server.address)
    client.create_job(endless(), name=name)
    watching = threading.Event()

    def watch() -> None:
        for event in client.watch_status(name):
            if event.status.state == JobState.JOB_STATE_RUNNING:
                watching.set()

    with futures.ThreadPoolExecutor() as pool:
        result = pool.submit(watch)
        assert watching.wait(10)
        client.close()
        with pytest.raises(errors.ClientClosed):
            result.result(10)


async def test_closing_ends_a_watch_in_another_task(fake_server: Server, name: str) -> None:
    client = AsyncClient(fake_server.address)
    await client.create_job(endless(), name=name)
    watching = asyncio.Event()

    async def watch() -> None:
        async for event in client.watch_status(name):
            if event.status.state == JobState.JOB_STATE_RUNNING:
                watching.set()

    task = asyncio.create_task(watch())
    await asyncio.wait_for(watching.wait(), 10)
    await client.close()
    with pytest.raises(errors.ClientClosed):
        await asyncio.wait_for(task, 10)


class Mute:
    """A service gone wrong: its first watch says one thing, then nothing, not even heartbeats."""

    def __init__(self) -> None:
        self.cursors: list[str] = []
        self.left = threading.Event()

    def handler(self) -> grpc.GenericRpcHandler:
        watch = grpc.unary_stream_rpc_method_handler(
            self.watch_status,
            request_deserializer=pb.WatchStatusRequest.FromString,
            response_serializer=pb.WatchStatusResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(
            "jobengine.v1.JobEngine", {"WatchStatus": watch}
        )

    def watch_status(
        self, request: pb.WatchStatusRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchStatusResponse]:
        self.cursors.append(request.cursor)
        first = len(self.cursors) == 1
        state = job_pb2.JOB_STATE_RUNNING if first else job_pb2.JOB_STATE_SUCCEEDED
        yield pb.WatchStatusResponse(
            event=pb.WATCH_EVENT_STATUS,
            status=job_pb2.JobStatus(state=state),
            uid="u",
            cursor=f"c{len(self.cursors)}",
        )
        if first:
            context.add_callback(self.left.set)
            self.left.wait(30)


def test_silence_is_noticed(new_client: NewClient) -> None:
    mute = Mute()
    with futures.ThreadPoolExecutor() as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((mute.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            client = new_client(f"127.0.0.1:{port}", retry=RetryPolicy(heartbeat_seconds=1))
            with closing(client.watch_status("x")) as events:
                states = [event.status.state for event in events]
        finally:
            server.stop(None).wait(10)
    assert states == [JobState.JOB_STATE_RUNNING, JobState.JOB_STATE_SUCCEEDED]
    assert mute.cursors == ["", "c1"]
