"""What a Job carries of what was asked for and decided, and how that is read.

A job is the batch/v1 Job of its name. Beside the labels that its creator gave it, the Job and
its pods have

    app.kubernetes.io/managed-by: jobengine
    jobengine.dev/job: its name

and the Job has annotations:

    jobengine.dev/intent    what has to be known to carry it on (JSON)
    jobengine.dev/spec      the spec as it was sent (the message's bytes, zlib, base64)
    jobengine.dev/start     when its command first ran, noted some seconds later (seconds)
    jobengine.dev/stop      the decision that it has to end, where there was one (JSON)
    jobengine.dev/end       its terminal status, once it was seen (JSON)

The end is noted before anybody is told, since pods may go before their Job does, and what was
noted first stands.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, cast

import structlog
from google.protobuf.message import DecodeError

from engines.base import Reason, State, Status
from engines.lifecycle.facts import Intent, Stop
from jobengine.v1.job_pb2 import JobSpec

Json = Mapping[str, Any]

VERSION: Final = 1
"""Of labels and annotations, as the intent has it. A server leaves alone what has another one."""

PREFIX: Final = "jobengine.dev/"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "jobengine"
JOB: Final = f"{PREFIX}job"
INTENT: Final = f"{PREFIX}intent"
SPEC: Final = f"{PREFIX}spec"
START: Final = f"{PREFIX}start"
STOP: Final = f"{PREFIX}stop"
END: Final = f"{PREFIX}end"

SELECTOR: Final = f"{MANAGED_BY}={MANAGER},{JOB}"
"""Of all Jobs and pods that are ours."""

_VERSION_CHARACTERS: Final = 20
_OURS: Final = frozenset({MANAGED_BY, JOB})
_DAMAGED: Final = (KeyError, TypeError, ValueError)
"""What reading raises where somebody has edited an annotation, or it isn't there."""

_log = structlog.get_logger(__name__)


def labels_of(intent: Intent) -> dict[str, str]:
    """The labels of a job's Job and of its pods."""
    return {**intent.labels, MANAGED_BY: MANAGER, JOB: intent.name}


def annotations_of(intent: Intent, spec: JobSpec) -> dict[str, str]:
    """The annotations of a new Job."""
    kept = {
        "version": VERSION,
        "request_id": intent.request_id,
        "spec_hash": intent.spec_hash,
        "completions": intent.completions,
        "parallelism": intent.parallelism,
        "max_retries": intent.max_retries,
        "timeout": intent.timeout,
        "start_timeout": intent.start_timeout,
        "ttl": intent.ttl,
    }
    return {INTENT: _dump(kept), SPEC: encode_spec(spec)}


def encode_spec(spec: JobSpec) -> str:
    """A spec as its annotation has it."""
    return base64.b64encode(zlib.compress(spec.SerializeToString(deterministic=True))).decode()


def read_intent(job: Json) -> Intent | None:
    """What a Job was asked to do; None if it isn't one that this engine made, or is damaged.

    One of another version is left alone, too. The uid is that of the Job: the API server gives
    each its own.
    """
    metadata: Json = job["metadata"]
    labels: Mapping[str, str] = metadata.get("labels") or {}
    if labels.get(MANAGED_BY) != MANAGER or labels.get(JOB) != metadata["name"]:
        return None
    try:
        kept = _kept(job, INTENT)
        if (version := kept["version"]) != VERSION:
            _tell_of_foreign(json.dumps(version)[:_VERSION_CHARACTERS], str(metadata["name"]))
            return None
        return _intent(metadata, labels, kept)
    except _DAMAGED:
        return None


@lru_cache(maxsize=1024)
def _tell_of_foreign(version: str, name: str) -> None:
    """Log a Job that is left alone, once: it is met with each list, and each of its changes."""
    _log.warning("a Job is of another release's version and left alone", job=name, version=version)


def _intent(metadata: Json, labels: Mapping[str, str], kept: Json) -> Intent:
    return Intent(
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        request_id=str(kept["request_id"]),
        spec_hash=str(kept["spec_hash"]),
        create_time=read_time(metadata["creationTimestamp"]) or 0.0,
        labels={key: value for key, value in labels.items() if key not in _OURS},
        completions=int(kept["completions"]),
        parallelism=int(kept["parallelism"]),
        max_retries=int(kept["max_retries"]),
        timeout=kept["timeout"],
        start_timeout=kept["start_timeout"],
        ttl=kept["ttl"],
    )


def read_spec(job: Json) -> JobSpec | None:
    """The spec that a Job was made from; None where somebody has damaged it."""
    try:
        packed = base64.b64decode(_annotations(job)[SPEC])
        return JobSpec.FromString(zlib.decompress(packed))
    except (KeyError, ValueError, zlib.error, DecodeError):
        return None


def start_annotation(time: float | None) -> dict[str, str]:
    """When a job's command first ran, as an annotation; none where it hasn't."""
    return {} if time is None else {START: _dump(time)}


def read_start(job: Json) -> float | None:
    """When a job's command first ran, if that was noted."""
    try:
        return float(json.loads(_annotations(job)[START]))
    except _DAMAGED:
        return None


def stop_annotation(stop: Stop) -> dict[str, str]:
    """A decision that a job has to end, as an annotation."""
    return {STOP: _dump(stop._asdict())}


def read_stop(job: Json) -> Stop | None:
    """The decision that a job has to end, if there was one."""
    try:
        kept = _kept(job, STOP)
        return Stop(
            str(kept["reason"]), float(kept["time"]), float(kept["grace"]), str(kept["message"])
        )
    except _DAMAGED:
        return None


def end_annotation(status: Status) -> dict[str, str]:
    """A terminal status, as an annotation."""
    kept = {name: value for name, value in asdict(status).items() if value}
    kept |= {"state": status.state.name, "reason": status.reason.name}
    if status.exit_code is not None:
        kept["exit_code"] = status.exit_code
    return {END: _dump(kept)}


def read_end(job: Json) -> Status | None:
    """The terminal status that was noted, if one was."""
    try:
        kept = _kept(job, END)
        state, reason = State[kept.pop("state")], Reason[kept.pop("reason")]
        return Status(state=state, reason=reason, **kept)
    except _DAMAGED:
        return None


def read_time(text: str | None) -> float | None:
    """Seconds since the epoch of a time as Kubernetes writes it."""
    return None if not text else datetime.fromisoformat(text).timestamp()


def _annotations(job: Json) -> Mapping[str, str]:
    return job["metadata"].get("annotations") or {}


def _dump(kept: Mapping[str, Any] | float) -> str:
    return json.dumps(kept, separators=(",", ":"))


def _kept(job: Json, annotation: str) -> dict[str, Any]:
    """What an annotation holds; KeyError where there is none."""
    return cast("dict[str, Any]", json.loads(_annotations(job)[annotation]))
