"""What tests of the Slurm engine begin with."""

from typing import Any

from engines.lifecycle.facts import Intent
from jobengine.v1.job_pb2 import JobSpec

UID = "0123456789abcdef0123456789abcdef"


def intent(**given: Any) -> Intent:
    fields: dict[str, Any] = {
        "name": "job",
        "uid": UID,
        "request_id": "",
        "spec_hash": "",
        "create_time": 1.0,
        "labels": {},
        "completions": 1,
        "parallelism": 1,
        "max_retries": 0,
        "timeout": None,
        "start_timeout": None,
        "ttl": None,
    }
    return Intent(**{**fields, **given})


def shell(script: str, **given: Any) -> JobSpec:
    return JobSpec(command=["/bin/sh", "-c"], args=[script], **given)
