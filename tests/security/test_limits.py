"""One subject can't take what the others need: each limit is told, with when to come back."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_pb2 import Mount
from tests.http2 import connect
from tests.security.conftest import ALL, LONG, Open, refusal, retry_seconds, spec
from tests.security.test_tenants import create

LIMIT = (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")


def red_with(limits: str = "", allow: str = 'keys = ["fake.jobengine.dev/*"]') -> str:
    return f"""
[[subjects]]
name = "red"
identities = ["token:red"]
grants = [{{ verbs = {ALL}, own = true }}]
limits = {{ {limits} }}
allow = {{ {allow} }}

[[subjects]]
name = "blue"
identities = ["token:blue"]
grants = [{{ verbs = {ALL} }}]
allow = {{ keys = ["*"] }}
"""


async def test_unfinished_jobs(open_door: Open) -> None:
    async with open_door(policy=red_with("jobs = 2")) as door:
        red, blue = await door.tenant("red"), await door.tenant("blue")
        await create(red, "a", request_id="1")
        await create(red, "b")
        with pytest.raises(grpc.aio.AioRpcError) as full:
            await create(red, "c")
        assert refusal(full.value) == LIMIT
        assert retry_seconds(full.value) is not None
        await create(blue, "c")
        # A repeat is no further job; and one that has ended makes room.
        await create(red, "a", request_id="1")
        await red.CancelJob(api.CancelJobRequest(name="b", grace_period=None))
        call: Any = red.WatchStatus(api.WatchStatusRequest(name="b"), timeout=20)
        while await call.read() is not grpc.aio.EOF:
            pass
        await create(red, "d")


async def test_unfinished_jobs_created_at_once(open_door: Open) -> None:
    async with open_door(policy=red_with("jobs = 3")) as door:
        red = await door.tenant("red")
        tries = [create(red, f"j{number}") for number in range(20)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, grpc.aio.AioRpcError)]
        assert len(refused) == 17
        assert {refusal(error) for error in refused} == {LIMIT}


async def test_requests_per_second(open_door: Open) -> None:
    async with open_door(policy=red_with("requests_per_second = 0.5, burst = 3")) as door:
        red, blue = await door.tenant("red"), await door.tenant("blue")
        for _ in range(3):
            await red.ListJobs(api.ListJobsRequest())
        for call in (red.ListJobs(api.ListJobsRequest()), red.ReadEngine(api.ReadEngineRequest())):
            with pytest.raises(grpc.aio.AioRpcError) as fast:
                await call
            assert refusal(fast.value) == LIMIT
            assert 1.0 <= (retry_seconds(fast.value) or 0.0) <= 3.0
        with pytest.raises(grpc.aio.AioRpcError) as fast:
            await red.WatchJobs(api.WatchJobsRequest()).read()
        assert refusal(fast.value) == LIMIT
        for _ in range(10):
            await blue.ListJobs(api.ListJobsRequest())


async def test_streams(open_door: Open) -> None:
    async with open_door(policy=red_with("streams = 2"), max_streams=3) as door:
        red, blue = await door.tenant("red"), await door.tenant("blue")
        calls: list[Any] = [red.WatchJobs(api.WatchJobsRequest()) for _ in range(2)]
        for call in calls:
            await call.read()
        with pytest.raises(grpc.aio.AioRpcError, match="that you may have open") as full:
            await red.WatchJobs(api.WatchJobsRequest()).read()
        assert refusal(full.value) == LIMIT
        calls.append(blue.WatchJobs(api.WatchJobsRequest()))
        await calls[-1].read()
        with pytest.raises(grpc.aio.AioRpcError, match="that this server may have open") as full:
            await blue.WatchJobs(api.WatchJobsRequest()).read()
        assert refusal(full.value) == LIMIT
        assert retry_seconds(full.value) is not None
        # One that ends makes room.
        calls[0].cancel()
        async with asyncio.timeout(20):
            while True:
                again: Any = red.WatchJobs(api.WatchJobsRequest())
                try:
                    await again.read()
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.02)
        for call in (*calls, again):
            call.cancel()


async def test_calls_under_way(open_door: Open) -> None:
    """An overloaded server says so at once; what it holds stays bounded."""
    async with open_door(policy=None, max_calls=2) as door:
        red = await door.tenant("red")
        hanging: list[Any] = [
            red.CreateJob(api.CreateJobRequest(name=f"h{number}", spec=spec(hang="create_job")))
            for number in range(2)
        ]
        refused = None
        async with asyncio.timeout(20):
            while refused is None:  # until both have arrived
                try:
                    await red.ReadEngine(api.ReadEngineRequest())
                except grpc.aio.AioRpcError as error:
                    refused = error
        assert refusal(refused) == LIMIT
        assert retry_seconds(refused) is not None
        for call in hanging:
            call.cancel()
        async with asyncio.timeout(20):
            while True:
                try:
                    await red.ReadEngine(api.ReadEngineRequest())
                    break
                except grpc.aio.AioRpcError as error:
                    assert refusal(error) == LIMIT


@pytest.mark.parametrize(
    ("limits", "fields", "changes"),
    [
        ("max_timeout = '1h'", ["spec.timeout"], {}),
        ("cpu_millis = 1000", ["spec.resources.cpu_millis"], {}),
        ("instances = 2", ["spec.parallelism"], {"parallelism": 3, "completions": 3}),
    ],
)
async def test_what_one_job_may_take(
    open_door: Open, limits: str, fields: list[str], changes: dict[str, int]
) -> None:
    async with open_door(policy=red_with(limits)) as door:
        red = await door.tenant("red")
        wanted = type(LONG)()
        wanted.CopyFrom(LONG)
        for field, value in changes.items():
            setattr(wanted, field, value)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await red.CreateJob(api.CreateJobRequest(name="a", spec=wanted))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert named(refused.value) == fields


def named(error: grpc.aio.AioRpcError) -> list[str]:
    status: Any = rpc_status.from_call(error)
    bad = error_details_pb2.BadRequest()
    for packed in status.details:
        packed.Unpack(bad)
    return [violation.field for violation in bad.field_violations]


HOSTILE = {
    "spec.engine_options": lambda s: s.engine_options.update({"privileged": True}),
    "spec.mounts[0].host_path": lambda s: s.mounts.append(Mount(target="/m", host_path="/etc")),
    "spec.image": lambda s: setattr(s, "image", "evil.example/registry.example/red/x"),
    "spec.image_pull_secret": lambda s: setattr(s, "image_pull_secret", "admin"),
    "spec.user": lambda s: setattr(s, "user", "0"),
    "spec.secret_env['S'].name": lambda s: s.secret_env["S"].MergeFrom(
        type(s.secret_env["S"])(name="admin", key="k")
    ),
    "spec.mounts[0].secret": lambda s: s.mounts.append(Mount(target="/m", secret="admin")),
    "spec.mounts[0].volume": lambda s: s.mounts.append(Mount(target="/m", volume="theirs")),
    "spec.labels['other.example/x']": lambda s: s.labels.update({"other.example/x": "y"}),
}


@pytest.mark.parametrize("field", HOSTILE)
async def test_what_a_job_may_not_reach(open_door: Open, field: str) -> None:
    policy = red_with("images = ['registry.example/red/*']")
    async with open_door(policy=policy) as door:
        red = await door.tenant("red")
        wanted = type(LONG)()
        wanted.CopyFrom(LONG)
        wanted.image = "registry.example/red/x"
        hostile = type(LONG)()
        hostile.CopyFrom(wanted)
        HOSTILE[field](hostile)  # type: ignore[no-untyped-call]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await red.CreateJob(api.CreateJobRequest(name="a", spec=hostile))
        assert refusal(refused.value) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        assert named(refused.value) == [field]
        assert not (await red.ListJobs(api.ListJobsRequest())).jobs
        await red.CreateJob(api.CreateJobRequest(name="a", spec=wanted))


async def test_connections(open_door: Open) -> None:
    """One more is closed before it has said anything."""
    async with open_door(max_connections=2) as door:
        host, _, port = door.server.address.rpartition(":")
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(connect(door.server.address))
            reader, writer = await asyncio.open_connection(host, int(port))
            assert await asyncio.wait_for(reader.read(1), 20) == b""
            writer.close()
