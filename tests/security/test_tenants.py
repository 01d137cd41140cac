"""One tenant tries to see or touch the jobs of another, by every RPC."""

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from jobengine.v1 import job_engine_pb2 as api
from server import rpc
from server.ownership import OWNER_LABEL
from tests.security.conftest import LONG, Door, refusal, spec

if TYPE_CHECKING:
    from jobengine.v1.job_engine_pb2_grpc import JobEngineAsyncStub

NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")

ABOUT_A_JOB: dict[str, Any] = {
    "ReadJob": api.ReadJobRequest(name="secret"),
    "ReadStatus": api.ReadStatusRequest(name="secret"),
    "WatchStatus": api.WatchStatusRequest(name="secret"),
    "CancelJob": api.CancelJobRequest(name="secret"),
    "DeleteJob": api.DeleteJobRequest(name="secret"),
    "ReadLogs": api.ReadLogsRequest(name="secret"),
}
"""Every RPC that names a job that is there."""

OTHERS = {"CreateJob", "ListJobs", "WatchJobs", "ReadEngine"}


def test_every_rpc_is_tried_here() -> None:
    assert {method.name for method in rpc.SERVICE.methods} == ABOUT_A_JOB.keys() | OTHERS


async def answer(stub: "JobEngineAsyncStub", method: str, request: Any) -> Any:
    """The first thing that a call says."""
    call = getattr(stub, method)(request, timeout=20)
    if not isinstance(call, grpc.aio.UnaryStreamCall):
        return await call
    async for message in call:
        call.cancel()
        return message
    return None


async def create(stub: "JobEngineAsyncStub", name: str, request_id: str = "", **labels: str) -> Any:
    wanted = type(LONG)()
    wanted.CopyFrom(LONG)
    wanted.labels.update(labels)
    request = api.CreateJobRequest(name=name, spec=wanted, request_id=request_id)
    return (await stub.CreateJob(request)).job


@pytest.mark.parametrize("method", ABOUT_A_JOB)
async def test_the_job_of_another_is_not_found(door: Door, method: str) -> None:
    """Word for word what is said of a job that isn't there."""
    red, blue = await door.tenant("red"), await door.tenant("blue")
    missing = type(ABOUT_A_JOB[method])()
    missing.CopyFrom(ABOUT_A_JOB[method])
    with pytest.raises(grpc.aio.AioRpcError) as nothing:
        await answer(blue, method, missing)
    job = await create(red, "secret")
    with pytest.raises(grpc.aio.AioRpcError) as foreign:
        await answer(blue, method, ABOUT_A_JOB[method])
    assert refusal(foreign.value) == NOT_FOUND
    assert foreign.value.details() == nothing.value.details()
    assert foreign.value.trailing_metadata() == nothing.value.trailing_metadata()
    after = await red.ReadStatus(api.ReadStatusRequest(name="secret", fresh=True))
    assert after.uid == job.uid
    assert after.status.state < 3, "it must still run"


@pytest.mark.parametrize("method", ["CancelJob", "DeleteJob"])
async def test_knowing_the_uid_does_not_help(door: Door, method: str) -> None:
    red, blue = await door.tenant("red"), await door.tenant("blue")
    job = await create(red, "secret")
    request = type(ABOUT_A_JOB[method])(name="secret", uid=job.uid)
    with pytest.raises(grpc.aio.AioRpcError) as foreign:
        await answer(blue, method, request)
    assert refusal(foreign.value) == NOT_FOUND


async def test_deleting_what_may_be_missing_leaves_the_job_of_another(door: Door) -> None:
    red, blue = await door.tenant("red"), await door.tenant("blue")
    job = await create(red, "secret")
    await blue.DeleteJob(api.DeleteJobRequest(name="secret", allow_missing=True, wait=True))
    assert (await red.ReadJob(api.ReadJobRequest(name="secret"))).job.uid == job.uid


async def test_a_name_that_another_has_is_taken_and_nothing_more_is_told(door: Door) -> None:
    red, blue = await door.tenant("red"), await door.tenant("blue")
    job = await create(red, "secret", request_id="1")
    for request_id in ("", "1"):
        with pytest.raises(grpc.aio.AioRpcError) as taken:
            await create(blue, "secret", request_id=request_id)
        assert refusal(taken.value)[1] == "JOB_ALREADY_EXISTS"
        assert job.uid not in str(taken.value.trailing_metadata())
        assert "red" not in (taken.value.details() or "")


async def test_the_request_id_of_another_gives_another_job(door: Door) -> None:
    red, blue = await door.tenant("red"), await door.tenant("blue")
    request = api.CreateJobRequest(spec=LONG, request_id="guessed")
    first = (await red.CreateJob(request)).job
    second = (await blue.CreateJob(request)).job
    assert first.name != second.name
    assert (await red.CreateJob(request)).job.uid == first.uid


async def test_lists_and_watches_show_ones_own(door: Door) -> None:
    red, blue, auditor = [await door.tenant(name) for name in ("red", "blue", "auditor")]
    for number in range(5):
        await create(red, f"r{number}", team="shared")
        await create(blue, f"b{number}", team="shared")
    for stub, wanted in ((red, "r"), (blue, "b")):
        for selector in ("", "team=shared", f"{OWNER_LABEL} in (red,blue)", f"!{'nothing'}"):
            listed = await stub.ListJobs(api.ListJobsRequest(label_selector=selector))
            assert [job.name for job in listed.jobs] == [f"{wanted}{n}" for n in range(5)]
            watched = await until_synced(stub, selector)
            assert sorted(watched) == [f"{wanted}{n}" for n in range(5)]
    foreign = api.ListJobsRequest(label_selector=f"{OWNER_LABEL}=red")
    assert not (await blue.ListJobs(foreign)).jobs
    assert await until_synced(blue, f"{OWNER_LABEL}=red") == []
    assert len((await auditor.ListJobs(api.ListJobsRequest())).jobs) == 10


async def until_synced(stub: "JobEngineAsyncStub", selector: str, cursor: str = "") -> list[str]:
    call: Any = stub.WatchJobs(
        api.WatchJobsRequest(label_selector=selector, cursor=cursor), timeout=20
    )
    names: list[str] = []
    async for message in call:
        if message.event == api.WATCH_EVENT_SYNCED:
            call.cancel()
            break
        names.append(message.job.name)
    return names


async def test_news_of_others_are_not_told(door: Door) -> None:
    """Not while a watch goes on, nor from the cursor of somebody who may see all."""
    red, blue, auditor = [await door.tenant(name) for name in ("red", "blue", "auditor")]
    call: Any = auditor.WatchJobs(api.WatchJobsRequest(), timeout=20)
    synced = await call.read()
    assert synced.event == api.WATCH_EVENT_SYNCED
    blue_call: Any = blue.WatchJobs(api.WatchJobsRequest(), timeout=20)
    assert (await blue_call.read()).event == api.WATCH_EVENT_SYNCED
    await create(red, "secret")
    await red.DeleteJob(api.DeleteJobRequest(name="secret", wait=True))
    await create(blue, "mine")
    assert (await blue_call.read()).job.name == "mine"
    assert await until_synced(blue, "", cursor=synced.cursor) == ["mine"]
    assert sorted(await until_synced(auditor, "", cursor=synced.cursor)) == ["mine", "secret"]
    call.cancel()
    blue_call.cancel()


async def test_page_tokens_are_good_for_whom_they_were_given_to(door: Door) -> None:
    red, blue = await door.tenant("red"), await door.tenant("blue")
    for number in range(3):
        await create(red, f"r{number}")
        await create(blue, f"s{number}")
    page = await red.ListJobs(api.ListJobsRequest(page_size=1))
    with pytest.raises(grpc.aio.AioRpcError) as foreign:
        await blue.ListJobs(api.ListJobsRequest(page_size=1, page_token=page.next_page_token))
    assert refusal(foreign.value)[1] == "INVALID_TOKEN"
    # One that is made up goes on after a name, and shows no more than that listing would.
    own = await blue.ListJobs(api.ListJobsRequest(page_size=1))
    digest = base64.urlsafe_b64decode(own.next_page_token)[:8]
    forged = base64.urlsafe_b64encode(digest + b"a").decode()
    listed = await blue.ListJobs(api.ListJobsRequest(page_token=forged))
    assert [job.name for job in listed.jobs] == ["s0", "s1", "s2"]


@pytest.mark.parametrize("owner", ["red", "blue", ""])
async def test_the_owner_cannot_be_forged(door: Door, owner: str) -> None:
    blue = await door.tenant("blue")
    with pytest.raises(grpc.aio.AioRpcError) as forged:
        await create(blue, "mine", **{OWNER_LABEL: owner})
    assert refusal(forged.value)[1] == "INVALID_FIELD"
    job = await create(blue, "mine")
    assert dict(job.labels) == {OWNER_LABEL: "blue"}
    read = (await blue.ReadJob(api.ReadJobRequest(name="mine"))).job
    assert dict(read.labels) == {OWNER_LABEL: "blue"}
    assert read.spec == LONG, "the spec is as it was sent"
    planned = await blue.CreateJob(
        api.CreateJobRequest(name="other", spec=LONG, validate_only=True)
    )
    assert (planned.job.spec, dict(planned.job.labels)) == (LONG, {OWNER_LABEL: "blue"})


async def test_who_may_only_read_changes_nothing(door: Door) -> None:
    red, auditor = await door.tenant("red"), await door.tenant("auditor")
    job = await create(red, "secret")
    assert (await auditor.ReadJob(api.ReadJobRequest(name="secret"))).job.uid == job.uid
    for method in ("CancelJob", "DeleteJob", "ReadLogs"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await answer(auditor, method, ABOUT_A_JOB[method])
        assert refusal(refused.value) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await auditor.CreateJob(api.CreateJobRequest(name="mine", spec=spec()))
    assert refusal(refused.value)[0] == grpc.StatusCode.PERMISSION_DENIED
    assert (await red.ReadStatus(api.ReadStatusRequest(name="secret"))).uid == job.uid


async def test_a_name_that_changes_hands_never_shows_the_others_job(door: Door) -> None:
    """While two tenants fight for a name, each reads its own job, or none."""
    red, blue = await door.tenant("red"), await door.tenant("blue")
    stubs = {"red": red, "blue": blue}
    over = asyncio.Event()

    async def fight(name: str) -> None:
        stub = stubs[name]
        for _ in range(20):
            try:
                await create(stub, "prize")
            except grpc.aio.AioRpcError:
                continue
            await stub.DeleteJob(api.DeleteJobRequest(name="prize", allow_missing=True, wait=True))

    async def look(name: str) -> None:
        while not over.is_set():
            try:
                job = (await stubs[name].ReadJob(api.ReadJobRequest(name="prize"))).job
            except grpc.aio.AioRpcError as error:
                assert refusal(error) == NOT_FOUND
            else:
                assert job.labels[OWNER_LABEL] == name

    async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
        lookers = [tasks.create_task(look(name)) for name in stubs]
        await asyncio.gather(*(fight(name) for name in stubs))
        over.set()
        await asyncio.gather(*lookers)
