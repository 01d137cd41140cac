"""Names and numbers that lead somewhere else."""

from typing import Any

import grpc
import pytest

from engines.local.engine import LocalEngine
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_pb2 import JobSpec
from tests.security.conftest import Open, refusal


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../other"},
        {"name": "mine/../other"},
        {"name": "/etc/passwd"},
        {"name": "mine\0"},
        {"name": "mine", "instance": -1},
        {"name": "mine", "instance": 7},
        {"name": "mine", "cursor": "../../tokens"},
        {"name": "mine", "cursor": "0:../../tokens:0"},
    ],
)
async def test_log_reads_stay_with_the_job(
    open_door: Open, tmp_path: Any, fields: dict[str, Any]
) -> None:
    engine = LocalEngine(state_dir=tmp_path / "jobs")
    async with open_door(engine, policy=None) as door:
        red = await door.tenant("red")
        request = api.CreateJobRequest(name="mine", spec=JobSpec(command=["echo", "hello"]))
        await red.CreateJob(request)
        watch: Any = red.WatchStatus(api.WatchStatusRequest(name="mine"), timeout=20)
        while await watch.read() is not grpc.aio.EOF:
            pass
        call: Any = red.ReadLogs(api.ReadLogsRequest(**fields), timeout=20)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert refusal(refused.value)[1] in (
            "INVALID_FIELD",
            "INVALID_TOKEN",
            "UNSUPPORTED_FIELD",  # this job has no such instance
        )
