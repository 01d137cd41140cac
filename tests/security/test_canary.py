"""Secrets planted in a job and in credentials turn up nowhere: not in logs, errors, lists."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from jobengine import Client, JobSpec, errors
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub
from server import rpc
from server.authentication import make_token

JOBENGINE = Path(sys.executable).with_name("jobengine")


class Served:
    """A server process on the local engine, and all that it ever wrote."""

    def __init__(self, directory: Path) -> None:
        self.token, digest = make_token()
        (directory / "tokens").write_text(f"red {digest}\n")
        (directory / "tokens").chmod(0o600)
        self.logs = directory / "logs"
        with self.logs.open("w") as logs:
            self._process = subprocess.Popen(
                [
                    *(JOBENGINE, "serve", "--listen", "127.0.0.1:0", "--log-level", "DEBUG"),
                    *("--state-dir", directory / "jobs", "--tokens", directory / "tokens"),
                    *("--metrics-listen", "127.0.0.1:0"),
                ],
                stdout=subprocess.PIPE,
                stderr=logs,
                text=True,
                env={**os.environ, "JOBENGINE_JWT_ISSUERS": "", "JOBENGINE_CANARY": self.token},
            )
        assert self._process.stdout is not None
        line: dict[str, str] = json.loads(self._process.stdout.readline())
        self.address, self.metrics = line["address"], line["metrics"]

    def client(self) -> Client:
        return Client(self.address, metadata=[("authorization", f"Bearer {self.token}")])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.close()


def test_a_canary_is_seen_nowhere(served: Served) -> None:
    canary = f"canary{secrets.token_hex(8)}"
    told: list[str] = []
    spec = JobSpec(
        command=["sh", "-c", 'test -n "$SECRET"'],
        args=[canary],
        env={"SECRET": canary},
        annotations={"note": canary},
    )
    with served.client() as client:
        job = client.create_job(spec, name="mine")
        assert client.wait("mine").exit_code == 0
        told += [str(client.read_status("mine")), str(dict(job.labels))]
        told += [str(job) for job in client.list_jobs()]
        told += refusals(client, canary)
        told.append(asyncio.run(watched(served)))
        # The one place that gives a spec back is ReadJob, to those who may read the job.
        assert client.read_job("mine").spec.env["SECRET"] == canary
    with urllib.request.urlopen(f"http://{served.metrics}/metrics", timeout=20) as page:
        told.append(page.read().decode())
    served.close()
    told.append(served.logs.read_text())
    assert '"audit"' in told[-1]
    for text in told:
        assert canary not in text
        assert served.token not in text


def refusals(client: Client, canary: str) -> list[str]:
    """What is said of requests that are wrong in the very fields that have the canary."""
    wrong: list[dict[str, Any]] = [
        {"env": {"A=B": canary}},
        {"env": {"A": f"{canary}\0"}},
        {"args": [f"{canary}\0"], "command": ["true"]},
        {"annotations": {"no key!": canary}},
        {"env": {"A": canary}, "image": "not-on-this-engine"},
        {"env": {"A": canary}, "completions": -1},
        {"env": {"A": canary}, "command": ["/no/such/command"]},
    ]
    told: list[str] = []
    for number, fields in enumerate(wrong):
        try:
            client.create_job(JobSpec(**{"command": ["true"], **fields}), name=f"wrong-{number}")
            told.append(str(client.wait(f"wrong-{number}")))
        except errors.JobEngineError as error:
            told += [str(error), repr(error)]
    return told


async def watched(served: Served) -> str:
    """All that a watch of all jobs says until it is up to date; and calls with bad credentials."""
    async with grpc.aio.insecure_channel(served.address) as channel:
        stub: Any = JobEngineStub(channel)
        metadata = (("authorization", f"Bearer {served.token}"),)
        call: Any = stub.WatchJobs(api.WatchJobsRequest(), metadata=metadata, timeout=20)
        said: list[str] = []
        async for message in call:
            said.append(str(message))
            if message.event == api.WATCH_EVENT_SYNCED:
                call.cancel()
                break
        for header in (f"Bearer x{served.token}", f"Basic {served.token}", served.token):
            for method in rpc.SERVICE.methods:
                if not method.server_streaming:
                    call = channel.unary_unary(f"/jobengine.v1.JobEngine/{method.name}")
                    with pytest.raises(grpc.aio.AioRpcError) as refused:
                        await call(b"", metadata=(("authorization", header),), timeout=20)
                    said.append(str(refused.value))
        return "\n".join(said)


def test_the_environment_of_the_server_is_not_handed_on(served: Served) -> None:
    """Jobs don't see what the server itself was told by its environment."""
    with served.client() as client:
        client.run(JobSpec(command=["env"]), name="env")
        output = b"".join(chunk.data for chunk in client.logs("env")).decode()
    settings = [line for line in output.splitlines() if line.startswith("JOBENGINE_")]
    assert all(line.startswith("JOBENGINE_JOB_") for line in settings), settings
    assert served.token not in output
