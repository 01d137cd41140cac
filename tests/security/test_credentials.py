"""Nobody gets in without a credential, and nobody stays who has lost it."""

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from jobengine.v1 import job_engine_pb2 as api
from server import rpc
from tests.security.conftest import POLICY, Door, Open, refusal, retry_seconds, spec
from tests.security.test_tenants import answer, create

if TYPE_CHECKING:
    from jobengine.v1.job_engine_pb2_grpc import JobEngineAsyncStub

UNAUTHENTICATED = (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
REAUTHENTICATE = (grpc.StatusCode.UNAVAILABLE, "REAUTHENTICATE")

METHODS = [method.name for method in rpc.SERVICE.methods]


@pytest.mark.parametrize("token", ["", "jobengine_guessed"])
@pytest.mark.parametrize("method", METHODS)
async def test_every_rpc_asks_who_calls(door: Door, method: str, token: str) -> None:
    """Also before it looks at what is asked: garbage is answered alike."""
    channel = await door.channel()
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    kind = rpc.SERVICE.methods_by_name[method]
    request = message_factory.GetMessageClass(kind.input_type)().SerializeToString()
    for raw in (request, b"\xff garbage"):
        make: Any = channel.unary_stream if kind.server_streaming else channel.unary_unary
        call = make(f"/jobengine.v1.JobEngine/{method}")(raw, metadata=metadata, timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await (call.read() if kind.server_streaming else call)
        assert refusal(refused.value) == UNAUTHENTICATED
        assert not token or token not in str(refused.value)


async def reflect(channel: grpc.aio.Channel) -> Any:
    call: Any = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(timeout=20)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    response = await call.read()
    await call.done_writing()
    return response


async def check_health(channel: grpc.aio.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    status: int = (await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)).status
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
    assert (await watch.read()).status == status
    watch.cancel()
    assert (await stub.List(health_pb2.HealthListRequest(), timeout=20)).statuses[""].status == 1
    return status


async def test_health_is_for_all_and_the_protos_are_not(door: Door) -> None:
    channel = await door.channel()
    assert await check_health(channel) == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await reflect(channel)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_health_closed_and_protos_open(open_door: Open) -> None:
    async with open_door(public_health=False, public_reflection=True) as door:
        channel = await door.channel()
        assert (await reflect(channel)).list_services_response.service
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check_health(channel)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def watching(stub: "JobEngineAsyncStub") -> tuple[Any, Any, str]:
    """A watch of a job and one of all, both under way, and the latter's cursor."""
    one: Any = stub.WatchStatus(api.WatchStatusRequest(name="mine"), timeout=60)
    await one.read()
    everything: Any = stub.WatchJobs(api.WatchJobsRequest(), timeout=60)
    while (message := await everything.read()).event != api.WATCH_EVENT_SYNCED:
        pass
    return one, everything, message.cursor


async def read_to_the_end(call: Any) -> list[Any]:
    return [message async for message in call]


async def ended(*calls: Any) -> None:
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as over:
            await asyncio.wait_for(read_to_the_end(call), 20)
        assert refusal(over.value) == REAUTHENTICATE
        assert 0.5 <= (retry_seconds(over.value) or 0.0) <= 1.5


async def test_a_token_that_is_withdrawn_ends_its_streams_and_no_others(door: Door) -> None:
    red, blue = await door.tenant("red"), await door.tenant("blue")
    await create(red, "mine")
    await create(blue, "other")
    red_calls = await watching(red)
    blue_call: Any = blue.WatchStatus(api.WatchStatusRequest(name="other"), timeout=60)
    await blue_call.read()
    door.write_tokens({name: token for name, token in door.tokens.items() if name != "red"})
    await ended(*red_calls[:2])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await red.ReadStatus(api.ReadStatusRequest(name="mine"))
    assert refusal(refused.value) == UNAUTHENTICATED
    # The other one's goes on, and tells the end.
    await blue.CancelJob(api.CancelJobRequest(name="other"))
    while (message := await blue_call.read()) is not grpc.aio.EOF:
        last = message
    assert last.status.state == 5


async def test_another_token_of_the_same_name_goes_on_from_the_cursor(door: Door) -> None:
    red = await door.tenant("red")
    await create(red, "mine")
    one, everything, cursor = await watching(red)
    door.write_tokens({**door.tokens, "red": door.tokens["auditor"][::-1]})
    await ended(one, everything)
    successor = await door.caller(door.tokens["auditor"][::-1])
    call: Any = successor.WatchJobs(api.WatchJobsRequest(cursor=cursor), timeout=20)
    message = await call.read()
    assert (message.event, message.full) == (api.WATCH_EVENT_SYNCED, False), "told anew"
    call.cancel()


async def test_a_policy_that_takes_rights_away_ends_streams(door: Door) -> None:
    red, auditor = await door.tenant("red"), await door.tenant("auditor")
    await create(red, "mine")
    one, everything, _ = await watching(auditor)
    mine, all_mine, _ = await watching(red)
    door.write_policy(POLICY.replace('["read"]', '["create"]'))
    await ended(one, everything)
    with pytest.raises(grpc.aio.AioRpcError, match="may read no jobs") as refused:
        await answer(auditor, "ReadJob", api.ReadJobRequest(name="mine"))
    assert refusal(refused.value)[1] == "PERMISSION_DENIED"
    # Whose rights haven't changed notices nothing.
    await create(red, "another")
    assert (await all_mine.read()).job.name == "another"
    mine.cancel()
    all_mine.cancel()


@pytest.mark.parametrize("broken", ["", "subjects = 3", "[[subjects]]\nname = 'x'", "= nonsense"])
async def test_a_broken_policy_changes_nothing(door: Door, broken: str) -> None:
    """Neither locks all out nor lets all in; the next good one counts."""
    red, auditor = await door.tenant("red"), await door.tenant("auditor")
    await create(red, "mine")
    door.write_policy(broken)
    async with asyncio.timeout(20):
        while door.server.policy.file is not None and door.server.policy.file.fine:
            await asyncio.sleep(0.05)
    assert (await answer(auditor, "ReadJob", api.ReadJobRequest(name="mine"))).job.name == "mine"
    with pytest.raises(grpc.aio.AioRpcError):
        await create(auditor, "other")
    door.write_policy(POLICY.replace('["read"]', '["create"]'))
    async with asyncio.timeout(20):
        while True:
            try:
                await auditor.CreateJob(api.CreateJobRequest(name="other", spec=spec()))
            except grpc.aio.AioRpcError as error:
                assert error.code() == grpc.StatusCode.PERMISSION_DENIED
                await asyncio.sleep(0.05)
            else:
                break
