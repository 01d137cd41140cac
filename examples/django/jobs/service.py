"""The job engine's service: the connections to it, and a row as what it takes."""

from functools import cache

from django.conf import settings

from jobengine import AsyncClient, Client, JobSpec
from jobs.models import Job

SELECTOR = f"app={settings.JOBENGINE_LABEL}"


@cache
def client() -> Client:
    """The connection of this process; it opens when it is used, and anew after a fork."""
    return Client(settings.JOBENGINE_ADDRESS)


@cache
def async_client() -> AsyncClient:
    """The same for the event loop of this process."""
    return AsyncClient(settings.JOBENGINE_ADDRESS)


def spec_of(job: Job) -> JobSpec:
    """What a row asks the service to run. The same row always gives the same."""
    spec = JobSpec(image=job.image, command=job.command, labels={"app": settings.JOBENGINE_LABEL})
    spec.ttl_after_finished.FromSeconds(settings.JOBENGINE_KEEP_SECONDS)
    return spec
