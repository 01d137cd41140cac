"""Like `endings`, on Kubernetes, beside when the official client's watch tells of the same ends.

Kubernetes writes its times in whole seconds, so that nothing can be measured against them.
"""

import contextlib
import importlib
import queue
import threading
import time
from typing import Any

import uvloop

from benchmarks.kubernetes_cluster import official_client
from benchmarks.loads import answer, arguments
from benchmarks.loads.endings import hear
from jobengine import AsyncClient, JobSpec
from tests.cluster.images import IMAGE

EVENT_SECONDS = 30.0
Told = queue.SimpleQueue[tuple[str, float]]


def listen(sdk: Any, namespace: str, told: Told) -> None:
    """Note when the official client hears of which Job's end."""
    watch = importlib.import_module("kubernetes.watch").Watch()
    for event in watch.stream(sdk.list_namespaced_job, namespace):
        job = event["object"]
        for condition in job.status.conditions or ():
            if condition.type in {"Complete", "Failed"} and condition.status == "True":
                told.put((job.metadata.name, time.time()))


def time_of(told: Told, name: str) -> float:
    """When the official client has first heard of this one; earlier ones are passed over."""
    while True:
        ended, when = told.get(timeout=EVENT_SECONDS)
        if ended == name:
            return when


async def main(*, address: str, kubeconfig: str, namespace: str, count: int) -> None:
    """Run and watch so many jobs."""
    late: list[float] = []
    told: Told = queue.SimpleQueue()
    sdk = official_client(kubeconfig)
    threading.Thread(target=listen, args=(sdk, namespace, told), daemon=True).start()
    async with AsyncClient(address) as client:
        while len(late) < count:
            job = await client.create_job(JobSpec(command=["true"], image=IMAGE))
            heard = await hear(client, job.name)
            assert heard is not None, "a job of Kubernetes takes seconds, and has ended at once"
            late.append(heard.time - time_of(told, job.name))
            with contextlib.suppress(TimeoutError):
                await client.delete_job(job.name, wait=True)
    answer(seconds=late)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
