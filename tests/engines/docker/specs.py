"""What the table tests of the Docker engine are about."""

from typing import Any

from engines.docker.container import Attempt
from engines.docker.record import KeptJob, Labels
from engines.docker.settings import About
from engines.lifecycle.facts import End, Intent
from engines.lifecycle.intent import make_intent
from jobengine.v1.job_pb2 import JobSpec
from tests.docker.place import IMAGE

LABELS = Labels("here")
DAEMON = About(version="20.10.24", processors=4)
GPU_DAEMON = About(version="20.10.24", processors=4, gpus=True)
UID = "0123456789abcdef0123456789abcdef"

NEW_YEAR = 1767225600.0
"""2026-01-01T00:00:00Z."""


def image_spec(**fields: Any) -> JobSpec:
    """A spec with the image of the tests."""
    return JobSpec(image=IMAGE, **fields)


def shell(script: str, **fields: Any) -> JobSpec:
    """A script in the image of the tests."""
    return image_spec(command=["/bin/sh", "-c"], args=[script], **fields)


def kept_job(spec: JobSpec | None = None, name: str = "job", uid: str = UID) -> KeptJob:
    """A job as it is kept, with a uid that is known."""
    spec = shell("true") if spec is None else spec
    return KeptJob(make_intent(name, spec, "request", 60.0, now=1.5)._replace(uid=uid), spec)


def an_intent(name: str = "job") -> Intent:
    return kept_job(name=name).intent


def ended(end: End, **fields: Any) -> Attempt:
    return Attempt(0, 0, NEW_YEAR, "c1", end=end, **fields)
