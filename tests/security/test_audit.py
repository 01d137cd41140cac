"""One line for each change: who, what, which job, from where, and what came of it."""

from typing import Any

import grpc
import pytest
import structlog

from jobengine.v1 import job_engine_pb2 as api
from tests.security.conftest import LONG, Door, Open, spec
from tests.security.test_tenants import create


@pytest.fixture
def lines() -> Any:
    with structlog.testing.capture_logs() as entries:
        yield entries


def audited(lines: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    columns = ("verb", "job", "subject", "identity", "outcome")
    return [tuple(line[c] for c in columns) for line in lines if line["event"] == "audit"]


async def test_every_change_has_a_line(lines: list[dict[str, Any]], door: Door) -> None:
    red, blue, auditor = [await door.tenant(name) for name in ("red", "blue", "auditor")]
    nobody = await door.caller("jobengine_guessed")
    job = await create(red, "mine", request_id="1")
    refused: list[tuple[Any, Any]] = [
        (blue.DeleteJob, api.DeleteJobRequest(name="mine")),
        (auditor.CancelJob, api.CancelJobRequest(name="mine")),
        (nobody.CreateJob, api.CreateJobRequest(name="other", spec=LONG)),
        (red.CreateJob, api.CreateJobRequest(name="No Name", spec=LONG)),
    ]
    for method, request in refused:
        with pytest.raises(grpc.aio.AioRpcError):
            await method(request)
    await red.CancelJob(api.CancelJobRequest(name="mine"))
    await red.DeleteJob(api.DeleteJobRequest(name="mine", wait=True))
    unnamed = (await red.CreateJob(api.CreateJobRequest(spec=spec()))).job
    await red.ReadJob(api.ReadJobRequest(name=unnamed.name))
    assert audited(lines) == [
        ("create", "mine", "red", "token:red", "OK"),
        ("delete", "mine", "blue", "token:blue", "NOT_FOUND"),
        ("cancel", "mine", "auditor", "token:auditor", "PERMISSION_DENIED"),
        ("create", "", "", "", "UNAUTHENTICATED"),
        ("create", "No Name", "red", "token:red", "INVALID_ARGUMENT"),
        ("cancel", "mine", "red", "token:red", "OK"),
        ("delete", "mine", "red", "token:red", "OK"),
        ("create", unnamed.name, "red", "token:red", "OK"),
    ]
    first = next(line for line in lines if line["event"] == "audit")
    assert (first["uid"], first["request_id"]) == (job.uid, "1")
    assert first["peer"].startswith("ipv4:127.0.0.1:")
    assert door.server.metrics.audit_lines == 8


async def test_a_caller_that_leaves_is_written_down(
    lines: list[dict[str, Any]], open_door: Open
) -> None:
    async with open_door(policy=None) as door:
        red = await door.tenant("red")
        call: Any = red.CreateJob(
            api.CreateJobRequest(name="a", spec=spec(hang="create_job")), timeout=0.5
        )
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    assert audited(lines) == [("create", "a", "red", "token:red", "CANCELLED")]


async def test_lines_are_bounded(lines: list[dict[str, Any]], door: Door) -> None:
    red = await door.tenant("red")
    with pytest.raises(grpc.aio.AioRpcError):
        await red.DeleteJob(api.DeleteJobRequest(name="x" * 1_000_000, uid="y" * 1_000_000))
    (line,) = [line for line in lines if line["event"] == "audit"]
    assert len(str(line)) < 1000
