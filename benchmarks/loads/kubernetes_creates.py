"""Creates jobs, in turns with bare Jobs of the same body that the official client creates."""

import math
import time
from typing import Any
from uuid import uuid4

import grpc
import uvloop

from benchmarks.kubernetes_cluster import official_client
from benchmarks.kubernetes_jobs import SPEC, body_of
from benchmarks.loads import answer, arguments
from jobengine import AsyncClient
from jobengine.v1.job_engine_pb2 import CreateJobRequest

TURN = 5


async def create(client: AsyncClient) -> float:
    """The seconds until CreateJob has answered."""
    began = time.perf_counter()
    job = await client.create_job(SPEC)
    seconds = time.perf_counter() - began
    await client.delete_job(job.name, grace_seconds=0)
    return seconds


def create_bare(sdk: Any, namespace: str) -> float:
    """The seconds that the official client takes for a Job with the same body."""
    name = f"bare-{uuid4().hex[:12]}"
    body = body_of(name)
    # Else the server under test would take it for one of its own.
    body["metadata"]["labels"] = {"bare": "yes"}
    began = time.perf_counter()
    sdk.create_namespaced_job(namespace, body)
    seconds = time.perf_counter() - began
    sdk.delete_namespaced_job(name, namespace, propagation_policy="Foreground")
    return seconds


async def main(*, address: str, echo: str, kubeconfig: str, namespace: str, count: int) -> None:
    """Create so many of each, and as often call the bare echo with a request of the same size."""
    ours: list[float] = []
    theirs: list[float] = []
    hops: list[float] = []
    sdk = official_client(kubeconfig)
    request = CreateJobRequest(spec=SPEC, request_id=str(uuid4())).SerializeToString()
    async with AsyncClient(address) as client, grpc.aio.insecure_channel(echo) as channel:
        bare: Any = channel.unary_unary("/jobengine.v1.JobEngine/ReadStatus")
        await create(client)
        create_bare(sdk, namespace)
        await bare(request)
        for _ in range(math.ceil(count / TURN)):
            ours += [await create(client) for _ in range(TURN)]
            for _ in range(TURN):
                began = time.perf_counter()
                await bare(request)
                hops.append(time.perf_counter() - began)
                theirs.append(create_bare(sdk, namespace))
    answer(ours=ours, theirs=theirs, hops=hops)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
