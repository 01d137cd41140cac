"""A job's pods as Kubernetes describes them, and what that says about its attempts.

Kubernetes keeps times as whole seconds, cut off: what ended at 12.9 ended at 12.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from engines.base import Reason
from engines.kubernetes.record import Json, read_time
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Stop

CONTAINER: Final = "job"
"""The container that runs a job's command. Others come from webhooks or engine options."""

# How an attempt ended, beside what `facts` has. Kubernetes runs all of these again.
EVICTED: Final = "evicted"
NODE_LOST: Final = "node-lost"
REFUSED: Final = "refused"  # its pod failed, and not because of its command
VANISHED: Final = "vanished"  # its container is gone, and with it how that ended

_INDEX: Final = "batch.kubernetes.io/job-completion-index"
_INDEX_FAILURES: Final = "batch.kubernetes.io/job-index-failure-count"

_NOTHING: Final[Json] = {}
_SIGNAL_BASE: Final = 128
_SIGKILL: Final = 9
_LAST_SIGNAL: Final = 64
_OVER: Final = frozenset({"Succeeded", "Failed"})
_NOT_STARTED: Final = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})
_TAKEN_AWAY: Final = frozenset({"Evicted", "Preempting", "Terminated", "Shutdown", "NodeShutdown"})
_NO_IMAGE: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_NEVER_MENDS: Final = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_NO_CONTAINER: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


class Attempt(NamedTuple):
    """One run of one instance, as its pod has it. Times in seconds since the epoch.

    `start_time` is 0 where its command never ran; while such a pod has no end it waits.
    - `running`: its command runs. That is over some seconds before its pod is.
    - `deleted`: somebody has deleted the pod.
    - `disrupted`: Kubernetes says that it took the pod away (the condition DisruptionTarget of
      KEP-3329). Our Jobs have a rule that makes them run it again without counting it.
    """

    instance: int
    attempt: int
    start_time: float
    pod: str  # its name
    uid: str
    node: str = ""
    running: bool = False
    deleted: bool = False
    disrupted: bool = False
    end: End | None = None

    def settled(self, stop: Stop | None) -> "Attempt":
        """The attempt, where it counts as stopped what was deleted since the decision to stop.

        A job is stopped by deleting its pods, so what wasn't deleted ended by itself. That both
        may be in one second doesn't tell which was first: then it was stopped.
        """
        end = self.end
        if stop is None or not self.deleted or end is None or end.reason != facts.EXITED:
            return self
        if end.code == 0 or end.time < int(stop.time):
            return self
        return self._replace(end=end._replace(reason=facts.STOPPED))


def read_attempts(pods: Iterable[Json]) -> list[Attempt]:
    """The attempts that the pods of one job are, the oldest first.

    Attempts are numbered by age among the pods that there are: where an earlier one was deleted,
    those after it move up.
    """
    places = Counter[int]()
    attempts: list[Attempt] = []
    for pod in sorted(pods, key=_age):
        instance = _instance(pod)
        attempts.append(_attempt(pod, instance, places[instance]))
        places[instance] += 1
    return attempts


def waiting(job: Json, pods: Sequence[Json]) -> tuple[Reason, str]:
    """Why nothing of a job has started yet: the reason, where there is one, and words for it."""
    waits = [_wait(pod) for pod in sorted(pods, key=_age) if _waits(pod)]
    if waits:
        return max(waits, key=lambda wait: wait.weight)[1:]
    if job["spec"].get("suspend"):
        return Reason.NONE, "suspended, for example by Kueue"
    if pods or job["spec"].get("parallelism") == 0:
        return Reason.NONE, ""  # between two tries, or being stopped
    # Why it can't be made is told by events alone (FailedCreate), not by the Job (dagster#24595).
    return Reason.NONE, (
        "Kubernetes hasn't made its pod yet; the events of its Job tell if something forbids it"
    )


def hopeless(pods: Iterable[Json]) -> str | None:
    """Why to stop a job that waits for what can never come, None if there is hope.

    An image that can't be pulled may be pushed yet, and a secret that is missing be made: that is
    left to start_timeout.
    """
    return facts.PULL_FAILED if _wait_reasons(pods) & _NEVER_MENDS else None


def pull_fails(pods: Iterable[Json]) -> bool:
    """Whether it's for its image that a job waits."""
    return bool(_wait_reasons(pods) & _NO_IMAGE)


def condition(status: Json, kind: str) -> Json | None:
    """The condition of that type where it is true. Their order means nothing."""
    for found in conditions(status):
        if found["type"] == kind and found["status"] == "True":
            return found
    return None


def conditions(status: Json) -> Sequence[Json]:
    """All conditions of a Job or pod."""
    return status.get("conditions") or ()


def _age(pod: Json) -> tuple[float, int, str]:
    metadata: Json = pod["metadata"]
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    failures = int(annotations.get(_INDEX_FAILURES) or 0)
    return read_time(metadata["creationTimestamp"]) or 0.0, failures, metadata["name"]


def _instance(pod: Json) -> int:
    annotations: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    return int(annotations.get(_INDEX) or 0)  # a Job that isn't Indexed has none


def _attempt(pod: Json, instance: int, place: int) -> Attempt:
    metadata: Json = pod["metadata"]
    status = _status(pod)
    container = _container(status)
    state: Json = container.get("state") or _NOTHING
    over = status.get("phase") in _OVER
    return Attempt(
        instance=instance,
        attempt=place,
        start_time=_start_time(container),
        pod=metadata["name"],
        uid=metadata["uid"],
        node=pod["spec"].get("nodeName") or "",
        running=not over and bool(state.get("running")),
        deleted=_is_deleted(pod),
        disrupted=condition(status, "DisruptionTarget") is not None,
        end=_end(pod) if over else None,
    )


def _status(pod: Json) -> Json:
    return pod.get("status") or {}


def _is_deleted(pod: Json) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _container(status: Json) -> Json:
    containers: Sequence[Json] = status.get("containerStatuses") or ()
    return next((found for found in containers if found["name"] == CONTAINER), _NOTHING)


def _start_time(container: Json) -> float:
    """When a container first ran. One that couldn't be started did so in 1970."""
    states: tuple[Json, ...] = (container.get("state") or {}, container.get("lastState") or {})
    times = (
        read_time(state[kind].get("startedAt")) or 0.0
        for state in states
        for kind in ("running", "terminated")
        if state.get(kind)
    )
    return min(filter(None, times), default=0.0)


def _end(pod: Json) -> End:
    """How a pod ended whose phase says that it did.

    The phase is what the Job goes by, and not the container: a sidecar may fail the pod. It comes
    2 to 4 s after the end of the container, seen on Kubernetes 1.34.
    """
    status = _status(pod)
    container = _container(status)
    state: Json = container.get("state") or {}
    terminated: Json | None = state.get("terminated")
    time = _end_time(pod, terminated)
    if status["phase"] == "Succeeded":
        return End(facts.EXITED, time, 0)
    words = words_of(status) or words_of(condition(status, "DisruptionTarget") or _NOTHING)
    words = words or "its pod failed"
    if (taken := _taken(status, state)) is not None:
        return End(taken, time, message=words)
    if _never_ran(pod, container):
        return End(facts.NEVER_RAN, time)
    # Nothing but the pod's own reason is there where a kubelet refused it (airflow#68328).
    if terminated is None or terminated["exitCode"] == 0:
        return End(REFUSED, time, message=_failed_beside(status) or words)
    return _exit(terminated, time)


def _end_time(pod: Json, terminated: Json | None) -> float:
    """When a pod ended; by its conditions where its container tells nothing."""
    status = _status(pod)
    start = _start_time(_container(status))
    if terminated is not None and (finished := read_time(terminated.get("finishedAt"))):
        return max(finished, start)
    times = [found.get("lastTransitionTime") for found in conditions(status)]
    times += [status.get("startTime"), pod["metadata"]["creationTimestamp"]]
    return max(start, *(read_time(time) or 0.0 for time in times))


def _taken(status: Json, state: Json) -> str | None:
    """How a failed pod was taken away, if it was (conditions and reasons: KEP-3329).

    A container that still runs though its pod is over: nobody can ask its node any more.
    """
    reason = status.get("reason")
    target = condition(status, "DisruptionTarget")
    cause = None if target is None else target.get("reason")
    if reason == "DeadlineExceeded":  # of the pod, which isn't the Job's
        return facts.TIMED_OUT
    if reason == "NodeLost" or cause == "DeletionByPodGC" or state.get("running"):
        return NODE_LOST
    return EVICTED if target is not None or reason in _TAKEN_AWAY else None


def _never_ran(pod: Json, container: Json) -> bool:
    """Whether a pod was deleted before its container was made.

    A kubelet says that such a container is unknown and was killed with 137, as it does of one that
    it lost; that one has run before.
    """
    state: Json = container.get("state") or {}
    if not _is_deleted(pod) or _start_time(container) or container.get("lastState"):
        return False
    return state.get("terminated") is None or _is_unknown(state["terminated"])


def _failed_beside(status: Json) -> str:
    """Which other container made a pod fail: an init container or a sidecar."""
    beside: Sequence[Json] = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    for found in beside:
        terminated: Json = found["state"].get("terminated") or _NOTHING
        if code := terminated.get("exitCode"):
            return f"its pod's container {found['name']} exited with code {code}"
    return ""


def _is_unknown(terminated: Json) -> bool:
    """Whether nobody knows how a container ended: what the kubelet or containerd say then."""
    return terminated.get("reason") in {"ContainerStatusUnknown", "Unknown"}


def _exit(terminated: Json, time: float) -> End:
    """The end of a container that failed.

    - One that can't be started has a reason of its own; its code (128, 127) isn't the command's.
    - A code above 128 is a signal's. Whether the command itself chose it isn't told.
    - OOMKilled counts where the container died of SIGKILL: it is said as well where only a child
      of the command was killed. 137 alone is anybody's SIGKILL.
    """
    code, reason = int(terminated["exitCode"]), terminated.get("reason")
    message = str(terminated.get("message") or "")
    if reason in _NOT_STARTED:
        return End(facts.START_FAILED, time, message=message or f"{reason}, exit code {code}")
    if _is_unknown(terminated):
        return End(VANISHED, time, message=f"nobody knows how its container ended: {message}")
    signal = int(terminated.get("signal") or 0) or code - _SIGNAL_BASE
    if 0 < signal <= _LAST_SIGNAL:
        oom = reason == "OOMKilled" and signal == _SIGKILL
        return End(facts.EXITED, time, None, signal, oom=oom)
    return End(facts.EXITED, time, code)


def words_of(said: Json) -> str:
    """The reason and message that Kubernetes gives, in a line."""
    return ": ".join(filter(None, (said.get("reason"), said.get("message"))))


class _Wait(NamedTuple):
    """Why a pod waits. The heaviest of several is what to tell."""

    weight: int
    reason: Reason
    message: str


def _waits(pod: Json) -> bool:
    status = _status(pod)
    started = _start_time(_container(status)) > 0
    return not (status.get("phase") in _OVER or started or _is_deleted(pod))


def _waiting(pod: Json) -> Mapping[str, str]:
    state: Json = _container(_status(pod)).get("state") or {}
    return state.get("waiting") or {}


def _wait_reasons(pods: Iterable[Json]) -> set[str | None]:
    return {_waiting(pod).get("reason") for pod in pods if _waits(pod)}


def _wait(pod: Json) -> _Wait:
    waits = _waiting(pod)
    words = words_of(waits)
    if waits.get("reason") in _NO_IMAGE:
        return _Wait(3, Reason.NONE, f"image {_image(pod)} can't be had: {words}")
    if waits.get("reason") in _NO_CONTAINER:
        return _Wait(3, Reason.NONE, f"its container can't be made: {words}")
    for found in conditions(_status(pod)):
        if found["type"] == "PodScheduled" and found["status"] == "False":
            unplaced = found.get("reason") == "Unschedulable"
            reason = Reason.UNSCHEDULABLE if unplaced else Reason.NONE
            text = found.get("message") if unplaced else None
            return _Wait(2, reason, text or words_of(found))
    if not (node := pod["spec"].get("nodeName")):
        return _Wait(1, Reason.NONE, "no node was chosen for it yet")
    said = words if waits.get("reason") not in {None, "ContainerCreating"} else "its image, volumes"
    return _Wait(1, Reason.NONE, f"its container is being made on node {node} ({said})")


def _image(pod: Json) -> str:
    containers: Sequence[Json] = pod["spec"].get("containers") or ()
    return next((str(found["image"]) for found in containers if found["name"] == CONTAINER), "")
