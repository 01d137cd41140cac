"""A job that isn't over, as the server keeps it in memory, and what is kept of Jobs and pods."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from engines.base import State, Status
from engines.errors import EngineError
from engines.kubernetes import record
from engines.kubernetes.pods import condition, pull_fails, read_attempts
from engines.kubernetes.status import accounted_for, status_of
from engines.lifecycle.facts import Intent

Json = Mapping[str, Any]

OWNER: Final = "batch.kubernetes.io/controller-uid"

_METADATA: Final = (
    "name",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
)
_JOB_SPEC: Final = ("parallelism", "completions", "suspend", "activeDeadlineSeconds")
_POD_SPEC: Final = ("nodeName", "terminationGracePeriodSeconds")
_ANNOTATIONS: Final = (record.INTENT, record.START, record.STOP, record.END)


class Tracked:
    """A job: what was asked for, its Job and its pods as they were last seen, and its status.

    `words` are Kubernetes' own on why it has no pod. `trouble` is why something that has to be done
    about it can't be done at the moment.
    """

    def __init__(self, intent: Intent, job: Json, pods: dict[str, Json]) -> None:
        self.intent = intent
        self.job = job
        self.pods = pods
        self.status = Status(state=State.PENDING, create_time=intent.create_time)
        self.words = ""
        self.trouble: EngineError | None = None
        self.stopping = False
        self.ending = False
        self.start_seen = False
        self.start_noted = False
        self.deadline_set = False
        self.changed = asyncio.Event()

    def judge(self) -> Status:
        """Work out how the job is doing."""
        pods = list(self.pods.values())
        stop = record.read_stop(self.job)
        status = status_of(self.intent, self.job, pods, stop, self.status)
        if status.state is State.PENDING and not pods and self.words:
            status = replace(status, message=self.words)
        self.stopping = self.stopping or stop is not None
        self.status = status
        return status

    def replace_pods(self, pods: Iterable[Json]) -> None:
        """Its pods are these, beside those that have ended and were removed since.

        They are kept because they tell how the job ended: a pod may go before its Job has failed.
        """
        ended = {uid: pod for uid, pod in self.pods.items() if has_ended(pod)}
        self.pods = ended | {str(pod["metadata"]["uid"]): pod for pod in pods}

    def tell(self) -> None:
        """Wake whoever waits for news of it."""
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def deleted(self) -> bool:
        """Whether somebody has decided that the Job has to go."""
        return bool(self.job["metadata"].get("deletionTimestamp"))

    @property
    def start_goes(self) -> bool:
        """Whether no pod that stays tells that the job has started."""
        if self.status.start_time is None:
            return False
        return (
            self.deleted
            or self.stopping
            or not any(
                attempt.start_time and not (attempt.deleted or attempt.disrupted)
                for attempt in read_attempts(self.pods.values())
            )
        )

    @property
    def suspended(self) -> bool:
        """Whether it shall have no pods for now, for example by Kueue."""
        return bool(self.job["spec"].get("suspend"))

    @property
    def kubernetes_ends_it(self) -> bool:
        """Whether the Job is finished in Kubernetes' eyes, so that its own TTL applies."""
        return any(condition(self.job["status"], kind) for kind in ("Complete", "Failed"))

    @property
    def accounted_for(self) -> bool:
        """Whether the pods that are known tell of all that the Job counts."""
        return accounted_for(self.job, self.pods.values())

    @property
    def pull_fails(self) -> bool:
        """Whether it waits for an image that can't be had."""
        return pull_fails(self.pods.values())


def trim_job(job: Json) -> Json:
    """What is needed of a Job to follow it: its spec and its pods' template are large."""
    metadata: Json = job["metadata"]
    said: Mapping[str, str] = metadata.get("annotations") or {}
    kept = _only(metadata, _METADATA) | {"annotations": _only(said, _ANNOTATIONS)}
    return {
        "metadata": kept,
        "spec": _only(job["spec"], _JOB_SPEC),
        "status": job.get("status") or {},
    }


def trim_pod(pod: Json) -> Json:
    """The same of a pod."""
    metadata: Json = pod["metadata"]
    kept = _only(metadata, (*_METADATA, "annotations"))
    containers = [_only(each, ("name", "image")) for each in pod["spec"].get("containers") or ()]
    return {
        "metadata": kept,
        "spec": _only(pod["spec"], _POD_SPEC) | {"containers": containers},
        "status": pod.get("status") or {},
    }


def has_ended(pod: Json) -> bool:
    """Whether nothing of a pod runs any more."""
    return pod["status"].get("phase") in {"Succeeded", "Failed"}


def owner_of(pod: Json) -> str:
    """The uid of a pod's Job."""
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return labels.get(OWNER, "")


def is_newer(one: Json, other: Json) -> bool:
    """Whether the first of two versions of an object is the newer one, or the same.

    What was read and what is watched come by different ways. Versions are numbers on every API
    server there is, and comparable by KEP-5504; one that isn't is taken for newer.
    """
    version, another = (str(each["metadata"]["resourceVersion"]) for each in (one, other))
    return is_newer_version(version, another)


def is_newer_version(version: str, other: str) -> bool:
    """The same of versions alone."""
    if not (version.isdecimal() and other.isdecimal()):
        return True
    return int(version) >= int(other)


def _only(found: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: found[key] for key in keys if key in found}
