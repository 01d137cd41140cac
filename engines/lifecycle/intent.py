"""What has to be known of a spec to schedule the job."""

import uuid

from google.protobuf.duration_pb2 import Duration

from engines.base import spec_hash
from engines.lifecycle.facts import Intent
from jobengine.v1.job_pb2 import JobSpec


def make_intent(
    name: str, spec: JobSpec, request_id: str, start_timeout: float | None, *, now: float
) -> Intent:
    """What has to be known to schedule a job that is accepted now.

    `start_timeout` is for a spec that says none. All in seconds.
    """
    return Intent(
        name=name,
        uid=uuid.uuid4().hex,
        request_id=request_id,
        spec_hash=spec_hash(spec),
        create_time=now,
        labels=dict(spec.labels),
        completions=spec.completions or 1,
        parallelism=spec.parallelism or 1,
        max_retries=spec.max_retries,
        timeout=seconds(spec.timeout) if spec.HasField("timeout") else None,
        start_timeout=(
            seconds(spec.start_timeout) if spec.HasField("start_timeout") else start_timeout
        ),
        ttl=seconds(spec.ttl_after_finished) if spec.HasField("ttl_after_finished") else None,
    )


def seconds(duration: Duration) -> float:
    """A Duration in seconds."""
    return duration.seconds + duration.nanos / 1e9
