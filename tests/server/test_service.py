"""The RPCs over a real channel: what each promises, and what each refuses."""

import asyncio
import random
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.base import Changed, Job, Snapshot, State, Status
from engines.memory import MemoryEngine
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2
from server import rpc
from tests.server.conftest import Running, Start
from tests.server.scripted import ScriptedEngine

RUN_FOR = "fake.jobengine.dev/run-for"
LONG = {RUN_FOR: "600"}


def spec(**annotations: str) -> job_pb2.JobSpec:
    named = {f"fake.jobengine.dev/{key.replace('_', '-')}": v for key, v in annotations.items()}
    return job_pb2.JobSpec(command=["true"], annotations=named)


async def create(running: Running, name: str, wanted: job_pb2.JobSpec | None = None) -> job_pb2.Job:
    request = api.CreateJobRequest(name=name, spec=wanted or spec())
    return (await running.stub.CreateJob(request)).job


def reason_and_fields(error: grpc.RpcError) -> tuple[str, list[str]]:
    status = rpc_status.from_call(error)
    reason, fields = "", []
    for packed in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if packed.Unpack(info):
            reason = info.reason
        if packed.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
    return reason, fields


async def test_a_repeat_with_the_request_id_returns_the_first_job(running: Running) -> None:
    request = api.CreateJobRequest(name="a", request_id="1", spec=spec())
    first = await running.stub.CreateJob(request)
    second = await running.stub.CreateJob(request)
    assert first.job.uid == second.job.uid


async def test_a_repeat_without_a_name_meets_by_its_request_id(running: Running) -> None:
    request = api.CreateJobRequest(request_id="1", spec=spec())
    first, second = await asyncio.gather(
        running.stub.CreateJob(request), running.stub.CreateJob(request)
    )
    assert first.job.uid == second.job.uid
    assert first.job.name == second.job.name
    other = await running.stub.CreateJob(api.CreateJobRequest(request_id="2", spec=spec()))
    assert other.job.name != first.job.name


@pytest.mark.parametrize(
    "again",
    [
        api.CreateJobRequest(name="a", request_id="2", spec=spec()),
        api.CreateJobRequest(name="a", spec=spec()),
        api.CreateJobRequest(name="a", request_id="1", spec=spec(exit_code="1")),
    ],
)
async def test_another_job_of_the_same_name_is_refused(
    running: Running, again: api.CreateJobRequest
) -> None:
    await running.stub.CreateJob(api.CreateJobRequest(name="a", request_id="1", spec=spec()))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.stub.CreateJob(again)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reason_and_fields(refused.value)[0] == "JOB_ALREADY_EXISTS"


async def test_validate_only_starts_nothing(running: Running) -> None:
    request = api.CreateJobRequest(name="a", spec=spec(), validate_only=True)
    assert (await running.stub.CreateJob(request)).job.uid == ""
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await running.stub.ReadJob(api.ReadJobRequest(name="a"))
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    request.spec.command[0] = ""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.stub.CreateJob(request)
    assert reason_and_fields(refused.value) == ("INVALID_FIELD", ["spec.command[0]"])


async def test_what_the_engine_cannot_do_is_refused(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(running, "a", spec(run_for="long"))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    reason, fields = reason_and_fields(refused.value)
    assert reason == "UNSUPPORTED_FIELD"
    assert "run-for" in fields[0]


async def test_the_engines_view_is_named_along(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(running, "Bad Name", spec(run_for="long"))
    reason, fields = reason_and_fields(refused.value)
    assert reason == "INVALID_FIELD"
    assert fields[0] == "name"
    assert "run-for" in fields[1]


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("ReadJob", api.ReadJobRequest(name="missing")),
        ("ReadStatus", api.ReadStatusRequest(name="missing")),
        ("ReadStatus", api.ReadStatusRequest(name="missing", fresh=True)),
        ("CancelJob", api.CancelJobRequest(name="missing")),
        ("DeleteJob", api.DeleteJobRequest(name="missing")),
    ],
)
async def test_unknown_jobs(running: Running, method: str, request_message: object) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await getattr(running.stub, method)(request_message)
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    assert reason_and_fields(missing.value)[0] == "JOB_NOT_FOUND"
    assert "missing" in (missing.value.details() or "")


async def test_delete_with_allow_missing(running: Running) -> None:
    await running.stub.DeleteJob(api.DeleteJobRequest(name="missing", allow_missing=True))


async def test_delete_waits_until_gone_and_frees_the_name(running: Running) -> None:
    first = await create(running, "a", job_pb2.JobSpec(command=["true"], annotations=LONG))
    await running.stub.DeleteJob(api.DeleteJobRequest(name="a", wait=True))
    with pytest.raises(grpc.aio.AioRpcError):
        await running.stub.ReadStatus(api.ReadStatusRequest(name="a"))
    second = await create(running, "a")
    assert second.uid != first.uid


async def test_delete_and_cancel_only_the_job_that_is_meant(running: Running) -> None:
    await create(running, "a", job_pb2.JobSpec(command=["true"], annotations=LONG))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.stub.DeleteJob(api.DeleteJobRequest(name="a", uid="other"))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.stub.CancelJob(api.CancelJobRequest(name="a", uid="other"))
    assert reason_and_fields(refused.value)[0] == "UID_MISMATCH"


async def test_pages_are_complete_under_change(running: Running) -> None:
    for number in range(25):
        await create(running, f"job-{number:02}")
    names: list[str] = []
    request = api.ListJobsRequest(page_size=10)
    while True:
        page = await running.stub.ListJobs(request)
        assert len(page.jobs) <= 10
        names += [job.name for job in page.jobs]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        await running.stub.DeleteJob(api.DeleteJobRequest(name=page.jobs[0].name, wait=True))
        await create(running, f"job-new-{len(names)}")
    assert [name for name in names if "new" not in name] == [f"job-{n:02}" for n in range(25)]
    assert len(set(names)) == len(names)


async def test_lists_by_label_and_state(running: Running) -> None:
    for name, label in (("a", "x"), ("b", "y"), ("c", "x")):
        wanted = spec(run_for="0" if name == "a" else "600")
        wanted.labels["app"] = label
        await create(running, name, wanted)
    await ends(running, "a")
    by_label = await running.stub.ListJobs(api.ListJobsRequest(label_selector="app=x"))
    assert [job.name for job in by_label.jobs] == ["a", "c"]
    assert not by_label.jobs[0].HasField("spec")
    both = api.ListJobsRequest(label_selector="app=x", states=[job_pb2.JOB_STATE_SUCCEEDED])
    assert [job.name for job in (await running.stub.ListJobs(both)).jobs] == ["a"]


@pytest.mark.parametrize("token", ["x", "eHh4", "!!!", "ü", "AAAAAAAAAAAAAAAA", "A" * 5000])
async def test_bad_page_tokens(running: Running, token: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.stub.ListJobs(api.ListJobsRequest(page_token=token))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_and_fields(refused.value) == ("INVALID_TOKEN", ["page_token"])


async def test_a_page_token_of_another_listing(running: Running) -> None:
    for name in ("a", "b"):
        await create(running, name)
    token = (await running.stub.ListJobs(api.ListJobsRequest(page_size=1))).next_page_token
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.stub.ListJobs(api.ListJobsRequest(page_token=token, label_selector="x=y"))
    assert reason_and_fields(refused.value) == ("INVALID_TOKEN", ["page_token"])


async def test_a_bad_selector(running: Running) -> None:
    request = api.ListJobsRequest(label_selector="a in b", page_size=-1)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.stub.ListJobs(request)
    assert reason_and_fields(refused.value) == ("INVALID_FIELD", ["page_size", "label_selector"])


async def test_a_5_mib_spec_is_refused_by_name(running: Running) -> None:
    big = job_pb2.JobSpec(command=["true"], env={"A": "x" * (5 * 1024 * 1024)})
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(running, "a", big)
    assert reason_and_fields(refused.value) == ("INVALID_FIELD", ["spec"])


async def ends(running: Running, name: str) -> list[api.WatchStatusResponse]:
    call = running.stub.WatchStatus(api.WatchStatusRequest(name=name))
    return [message async for message in call]


async def test_read_engine(running: Running) -> None:
    engine = await running.stub.ReadEngine(api.ReadEngineRequest())
    assert engine.name == "fake"
    assert engine.health == api.ENGINE_HEALTH_OK
    assert api.CAPABILITY_LOGS in engine.capabilities
    assert engine.limits.max_spec_bytes == 1024 * 1024
    assert engine.contact_time.seconds > 0


async def test_an_engine_that_is_away(running: Running, fake: MemoryEngine) -> None:
    await create(running, "a", job_pb2.JobSpec(command=["true"], annotations=LONG))
    fake.disconnect()
    async with asyncio.timeout(10):
        await running.server.mirror.out_of_touch.wait()
    status = await running.stub.ReadStatus(api.ReadStatusRequest(name="a"))
    assert status.HasField("age"), "answered from the mirror, marked with its age"
    engine = await running.stub.ReadEngine(api.ReadEngineRequest())
    assert engine.health == api.ENGINE_HEALTH_UNREACHABLE
    assert engine.message
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(running, "b")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_and_fields(refused.value)[0] == "ENGINE_UNAVAILABLE"
    fake.reconnect()
    async with asyncio.timeout(20):
        await running.server.mirror.in_touch.wait()
    status = await running.stub.ReadStatus(api.ReadStatusRequest(name="a"))
    assert not status.HasField("age")


async def test_before_the_first_contact(start: Start) -> None:
    async with start(ScriptedEngine()) as running:
        for call in (
            running.stub.ListJobs(api.ListJobsRequest()),
            running.stub.WatchJobs(api.WatchJobsRequest()).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_hanging_engine_meets_a_deadline(start: Start, fake: MemoryEngine) -> None:
    async with start(fake, engine_timeout_seconds=0.2) as running:
        assert await running.server.in_touch(10)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await create(running, "a", spec(hang="create_job"))
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert reason_and_fields(late.value)[0] == "ENGINE_TIMEOUT"
        await create(running, "b")


async def test_a_failing_engine_is_internal_with_its_words(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await create(running, "a", spec(start_error="the disk is purple"))
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert "the disk is purple" in (failed.value.details() or "")
    await create(running, "b")


@pytest.mark.parametrize("method", [method.name for method in rpc.SERVICE.methods])
async def test_random_bytes_as_messages(running: Running, method: str) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    source = random.Random(seed)
    descriptor = rpc.SERVICE.methods_by_name[method]
    path = f"/{rpc.SERVICE.full_name}/{method}"
    channel: Any = running.channel
    for _ in range(50):
        raw = source.randbytes(source.randrange(1, 64))
        try:
            if descriptor.server_streaming:
                await channel.unary_stream(path)(raw, timeout=0.2).read()
            else:
                await channel.unary_unary(path)(raw, timeout=5)
        except grpc.aio.AioRpcError as error:
            assert error.code() in (
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.NOT_FOUND,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            ), error
    assert (await running.stub.ReadEngine(api.ReadEngineRequest())).name == "fake"


texts = st.text(max_size=80)
numbers = st.integers(-(2**31), 2**31 - 1)
durations = st.builds(
    lambda s, n: {"seconds": s, "nanos": n}, st.integers(-(2**63), 2**63 - 1), numbers
)
specs = st.builds(
    job_pb2.JobSpec,
    image=texts,
    command=st.lists(texts, max_size=4),
    args=st.lists(texts, max_size=4),
    env=st.dictionaries(texts, texts, max_size=3),
    working_dir=texts,
    parallelism=numbers,
    completions=numbers,
    max_retries=numbers,
    timeout=durations,
    start_timeout=durations,
    ttl_after_finished=durations,
    user=texts,
    image_pull_policy=st.integers(-5, 50),
    labels=st.dictionaries(texts, texts, max_size=3),
    annotations=st.dictionaries(texts, texts, max_size=3),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(request=st.builds(api.CreateJobRequest, name=texts, request_id=texts, spec=specs))
async def test_any_request_is_answered_or_refused_by_field(
    start: Start, request: api.CreateJobRequest
) -> None:
    async with start(MemoryEngine()) as running:
        assert await running.server.in_touch(10)
        try:
            await running.stub.CreateJob(request)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            reason, fields = reason_and_fields(error)
            assert reason in ("INVALID_FIELD", "UNSUPPORTED_FIELD")
            assert fields
            assert not (await running.stub.ListJobs(api.ListJobsRequest())).jobs
        else:
            assert len((await running.stub.ListJobs(api.ListJobsRequest())).jobs) == 1


async def test_read_status_is_as_new_as_the_engines_news(start: Start) -> None:
    engine = ScriptedEngine()
    engine.script.put_nowait(Snapshot([], 0.0))
    async with start(engine) as running:
        assert await running.server.in_touch(10)
        await create(running, "a")
        request = api.ReadStatusRequest(name="a")
        assert (await running.stub.ReadStatus(request)).status.state == job_pb2.JOB_STATE_PENDING
        position = running.server.mirror.revision
        engine.script.put_nowait(
            Changed(Job("a", Status(active=2, state=State.RUNNING), uid="uid-of-a"))
        )
        while running.server.mirror.revision == position:
            await running.server.mirror.changed.wait(10)
        status = (await running.stub.ReadStatus(request)).status
        assert (status.state, status.active) == (job_pb2.JOB_STATE_RUNNING, 2)
        assert not status.HasField("succeed")
