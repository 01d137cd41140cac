"""Jobs and pods as Kubernetes 1.34 tells them, with what the status is made of."""

from datetime import UTC, datetime
from typing import Any

from engines.kubernetes.pods import CONTAINER
from tests.engines.kubernetes.specs import IMAGE, NEW_YEAR, UID

INDEX = "batch.kubernetes.io/job-completion-index"
CREATED, STARTED, FINISHED = NEW_YEAR + 1, NEW_YEAR + 10, NEW_YEAR + 20
OVER = NEW_YEAR + 22
"""When Jobs notice that their pods have ended."""


def at(time: float) -> str:
    """A time as Kubernetes writes it."""
    return datetime.fromtimestamp(int(time), UTC).isoformat().replace("+00:00", "Z")


def condition(kind: str, reason: str = "", message: str = "", **fields: Any) -> dict[str, Any]:
    """A condition of a Job or pod that is true."""
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": at(OVER),
        **fields,
    }


def a_job(*conditions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A Job. `spec`, `metadata` and what its status has beside the conditions may be given."""
    metadata: dict[str, Any] = {
        "name": "job",
        "uid": UID,
        "creationTimestamp": at(NEW_YEAR),
        "annotations": {},
    }
    spec = {"parallelism": 1, "completions": 1, "backoffLimit": 0, "suspend": False}
    metadata |= fields.pop("metadata", {})
    spec |= fields.pop("spec", {})
    status: dict[str, Any] = {"startTime": at(NEW_YEAR), "terminating": 0, "ready": 0}
    status |= {"uncountedTerminatedPods": {}, **fields}
    if conditions:
        status["conditions"] = list(conditions)
    return {"metadata": metadata, "spec": spec, "status": status}


def failed_job(
    reason: str = "BackoffLimitExceeded", time: float = OVER, later: float = 0, **fields: Any
) -> dict[str, Any]:
    """A Job that failed: two conditions, of which the second came so much later."""
    words = {
        "BackoffLimitExceeded": "Job has reached the specified backoff limit",
        "DeadlineExceeded": "Job was active longer than specified deadline",
    }.get(reason, "in other words")
    conditions = [
        condition(kind, reason, words, lastTransitionTime=at(then))
        for kind, then in (("FailureTarget", time), ("Failed", time + later))
    ]
    return a_job(*conditions, **{"failed": 1, **fields})


def complete_job(**fields: Any) -> dict[str, Any]:
    """A Job that is complete."""
    words = ("CompletionsReached", "Reached expected number of succeeded pods")
    conditions = [condition(kind, *words) for kind in ("SuccessCriteriaMet", "Complete")]
    return a_job(*conditions, **{"succeeded": 1, "completionTime": at(OVER), **fields})


def a_pod(
    phase: str = "Running",
    state: dict[str, Any] | None = None,
    *conditions: dict[str, Any],
    instance: int | None = None,
    number: int = 0,
    **fields: Any,
) -> dict[str, Any]:
    """A pod: `state` of its container, no container's at all where it is None.

    `number` makes a later one. `deleted`, `container`, `node` and fields of the status may be
    given.
    """
    name = f"job-{'' if instance is None else f'{instance}-'}p{number}"
    metadata: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "creationTimestamp": at(CREATED + number),
        "labels": {},
    }
    if instance is not None:
        metadata["annotations"] = {INDEX: str(instance)}
    if (deleted := fields.pop("deleted", None)) is not None:
        metadata |= {"deletionTimestamp": at(deleted + 30), "deletionGracePeriodSeconds": 30}
    spec = {"containers": [{"name": CONTAINER, "image": IMAGE}]}
    if node := fields.pop("node", "node1"):
        spec["nodeName"] = node
    status: dict[str, Any] = {"phase": phase, "startTime": at(CREATED), **fields}
    container = status.pop("container", {})
    if conditions:
        status["conditions"] = list(conditions)
    if state is not None:
        status["containerStatuses"] = [
            {"name": "sidecar", "state": {"running": {"startedAt": at(CREATED)}}},
            {"name": CONTAINER, "state": state, "lastState": {}, "restartCount": 0, **container},
        ]
    return {"metadata": metadata, "spec": spec, "status": status}


def running(time: float = STARTED) -> dict[str, Any]:
    """The state of a container that runs."""
    return {"running": {"startedAt": at(time)}}


def waits(reason: str = "ContainerCreating", message: str = "") -> dict[str, Any]:
    """The state of a container that waits."""
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def terminated(code: int, reason: str = "", **fields: Any) -> dict[str, Any]:
    """The state of a container that has ended."""
    told = {
        "exitCode": code,
        "reason": reason or ("Error" if code else "Completed"),
        "startedAt": at(STARTED),
        "finishedAt": at(FINISHED),
    }
    return {"terminated": {**told, **fields}}


def ended(
    code: int, reason: str = "", time: float = FINISHED, *conditions: Any, **fields: Any
) -> dict[str, Any]:
    """A pod whose container has exited."""
    phase = "Failed" if code else "Succeeded"
    return a_pod(phase, terminated(code, reason, finishedAt=at(time)), *conditions, **fields)


def unknown_state(message: str = "The container could not be located") -> dict[str, Any]:
    """The state that the kubelet gives a container that it can't find."""
    return {
        "terminated": {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": message,
            "startedAt": None,
            "finishedAt": None,
        }
    }


def start_error(message: str = 'exec: "/nope": no such file') -> dict[str, Any]:
    """The state of a container that couldn't be started."""
    return terminated(128, "StartError", startedAt="1970-01-01T00:00:00Z", message=message)
