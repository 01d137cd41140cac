"""What the table tests of the Kubernetes engine are about."""

from typing import Any

from engines.kubernetes.settings import Settings
from engines.lifecycle.facts import Intent
from engines.lifecycle.intent import make_intent
from jobengine.v1.job_pb2 import JobSpec

IMAGE = "jobengine.test/busybox:1"
UID = "01234567-89ab-cdef-0123-456789abcdef"

NEW_YEAR = 1767225600.0
"""2026-01-01T00:00:00Z."""


def image_spec(**fields: Any) -> JobSpec:
    """A spec with the image of the tests."""
    return JobSpec(image=IMAGE, **fields)


def shell(script: str, **fields: Any) -> JobSpec:
    """A script in the image of the tests."""
    return image_spec(command=["/bin/sh", "-c"], args=[script], **fields)


def an_intent(
    spec: JobSpec | None = None, name: str = "job", settings: Settings | None = None
) -> Intent:
    """What is known of a job, its uid as Kubernetes gives them."""
    settings = settings or Settings()
    spec = shell("true") if spec is None else spec
    made = make_intent(name, spec, "request", settings.default_start_timeout, now=NEW_YEAR)
    return made._replace(uid=UID)
