"""Jobs of the Kubernetes engine that are made past it, and take no container."""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from benchmarks.kubernetes_cluster import Place
from engines.kubernetes import record
from engines.kubernetes.api import Api
from engines.kubernetes.cluster import Cluster
from engines.kubernetes.manifest import make_job
from engines.kubernetes.pods import condition
from engines.kubernetes.reflector import Event, Gone, Listed, Reflector
from engines.kubernetes.settings import Settings
from engines.kubernetes.tracked import trim_job
from engines.lifecycle.intent import make_intent
from jobengine import JobSpec
from tests.cluster.images import IMAGE

SPEC = JobSpec(command=["sleep", "600"], image=IMAGE)
AT_ONCE = 16
"""Requests under way; more don't make an API server faster."""

SETTLING_SECONDS = 600.0
"""How long Kubernetes may take to look at all Jobs."""


def body_of(name: str) -> dict[str, Any]:
    """The very body that the engine makes for a job of SPEC."""
    timeout = Settings.default_start_timeout
    return make_job(make_intent(name, SPEC, str(uuid4()), timeout, now=0.0), SPEC, Settings())


def make_suspended_jobs(place: Place, names: Sequence[str]) -> None:
    """Jobs that the engine takes for its own, as a queue has them that lets none start.

    Kubernetes has noted that they are suspended when this returns, and is done with them.
    """
    asyncio.run(_make(place, names))


async def _make(place: Place, names: Sequence[str]) -> None:
    cluster = Cluster(place.kubeconfig, namespace=place.namespace)
    await cluster.connect()
    try:
        api, left = Api(cluster), iter(names)
        await asyncio.gather(*(_make_each(api, left) for _ in range(AT_ONCE)))
        async with asyncio.timeout(SETTLING_SECONDS):
            await _settle(cluster, api, set(names))
    finally:
        await cluster.close()


async def _make_each(api: Api, names: Iterable[str]) -> None:
    for name in names:
        body = body_of(name)
        body["spec"]["suspend"] = True
        assert await api.create_job(body) is not None, f"{name} is there already"


async def _settle(cluster: Cluster, api: Api, waiting: set[str]) -> None:
    """Return once all of these are noted to be suspended."""
    jobs = Reflector(cluster, api.jobs, record.SELECTOR, trim_job)
    async with contextlib.aclosing(jobs.follow()) as events:
        async for event in events:
            waiting.difference_update(_suspended(event))
            if not waiting:
                return


def _suspended(event: Event) -> Iterable[str]:
    """The names of the Jobs that are said to be suspended."""
    match event:
        case Listed(objects=found):
            pass
        case Gone():
            found = ()
        case _:
            found = (event.object,)
    return (job["metadata"]["name"] for job in found if condition(job["status"], "Suspended"))
