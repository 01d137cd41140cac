"""From a pod to the attempt that it is, and to what it waits for."""

from typing import Any

import pytest

from engines.base import Reason
from engines.kubernetes import pods
from engines.kubernetes.pods import Attempt, hopeless, pull_fails, read_attempts, waiting
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Stop
from tests.engines.kubernetes.objects import (
    CREATED,
    FINISHED,
    OVER,
    STARTED,
    a_job,
    a_pod,
    at,
    condition,
    ended,
    running,
    start_error,
    terminated,
    unknown_state,
    waits,
)
from tests.engines.kubernetes.specs import IMAGE

CANCEL = Stop(facts.CANCELLED, FINISHED - 0.5, 1.0)
GONE = "the node was low on memory"


def taken(reason: str) -> dict[str, Any]:
    return condition("DisruptionTarget", reason, GONE)


def attempt(pod: dict[str, Any]) -> Attempt:
    (found,) = read_attempts([pod])
    return found


def end_of(pod: dict[str, Any]) -> End:
    end = attempt(pod).end
    assert end is not None
    return end


EXITS = [
    ("success", terminated(0), End(facts.EXITED, FINISHED, 0)),
    ("only a child out of memory", terminated(0, "OOMKilled"), End(facts.EXITED, FINISHED, 0)),
    ("code", terminated(7), End(facts.EXITED, FINISHED, 7)),
    ("child, and failed", terminated(7, "OOMKilled"), End(facts.EXITED, FINISHED, 7)),
    ("killed", terminated(137), End(facts.EXITED, FINISHED, None, 9)),
    (
        "out of memory",
        terminated(137, "OOMKilled"),
        End(facts.EXITED, FINISHED, None, 9, oom=True),
    ),
    ("terminated", terminated(143, "OOMKilled"), End(facts.EXITED, FINISHED, None, 15)),
    ("a signal of its own", terminated(1, signal=6), End(facts.EXITED, FINISHED, None, 6)),
    ("128 is no signal", terminated(128), End(facts.EXITED, FINISHED, 128)),
    ("the last signal", terminated(192), End(facts.EXITED, FINISHED, None, 64)),
    ("beyond it", terminated(193), End(facts.EXITED, FINISHED, 193)),
    ("255 of the command", terminated(255), End(facts.EXITED, FINISHED, 255)),
    ("no such file for a shell", terminated(127), End(facts.EXITED, FINISHED, 127)),
]


@pytest.mark.parametrize(
    ("state", "end"), [row[1:] for row in EXITS], ids=[row[0] for row in EXITS]
)
def test_exits(state: dict[str, Any], end: End) -> None:
    phase = "Failed" if state["terminated"]["exitCode"] else "Succeeded"
    found = attempt(a_pod(phase, state))
    assert found.end == end
    assert found.start_time == STARTED
    assert not found.disrupted


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (start_error('exec: "/nope": no such file'), 'exec: "/nope": no such file'),
        (
            terminated(127, "ContainerCannotRun", startedAt=None),
            "ContainerCannotRun, exit code 127",
        ),
        (terminated(128, "RunContainerError", startedAt=None), "RunContainerError, exit code 128"),
    ],
)
def test_what_could_not_be_started(state: dict[str, Any], message: str) -> None:
    found = attempt(a_pod("Failed", state))
    assert found.end == End(facts.START_FAILED, FINISHED, message=message)
    assert found.start_time == 0.0


@pytest.mark.parametrize(
    ("pod", "end"),
    [
        (
            a_pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu"),
            End(pods.REFUSED, CREATED, message="OutOfcpu: Node didn't have enough resource: cpu"),
        ),
        (
            a_pod("Failed", reason="NodeAffinity", message="Predicate NodeAffinity failed"),
            End(pods.REFUSED, CREATED, message="NodeAffinity: Predicate NodeAffinity failed"),
        ),
        (
            a_pod("Failed", reason="UnexpectedAdmissionError"),
            End(pods.REFUSED, CREATED, message="UnexpectedAdmissionError"),
        ),
        (
            a_pod("Failed", None, condition("Ready", lastTransitionTime=at(FINISHED))),
            End(pods.REFUSED, FINISHED, message="its pod failed"),
        ),
        (
            a_pod("Failed", terminated(0), message="a sidecar failed"),
            End(pods.REFUSED, FINISHED, message="a sidecar failed"),
        ),
        (
            a_pod(
                "Failed",
                waits("PodInitializing"),
                initContainerStatuses=[
                    {"name": "zero", "state": terminated(0)},
                    {"name": "first", "state": terminated(6)},
                ],
            ),
            End(pods.REFUSED, CREATED, message="its pod's container first exited with code 6"),
        ),
    ],
)
def test_pods_that_failed_by_themselves(pod: dict[str, Any], end: End) -> None:
    """A kubelet that refuses a pod tells nothing of containers (airflow#68328)."""
    assert end_of(pod) == end


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (a_pod("Failed", reason="Evicted", message=GONE), pods.EVICTED),
        (a_pod("Failed", terminated(137), reason="Evicted", message=GONE), pods.EVICTED),
        (a_pod("Failed", terminated(143), reason="Terminated", message=GONE), pods.EVICTED),
        (a_pod("Failed", terminated(143), reason="Shutdown", message=GONE), pods.EVICTED),
        (a_pod("Failed", reason="NodeShutdown", message=GONE), pods.EVICTED),
        (a_pod("Failed", terminated(137), reason="Preempting", message=GONE), pods.EVICTED),
        (a_pod("Failed", terminated(143), reason="DeadlineExceeded"), facts.TIMED_OUT),
        (a_pod("Failed", running(), reason="NodeLost"), pods.NODE_LOST),
        (a_pod("Failed", running()), pods.NODE_LOST),
    ],
)
def test_pods_that_were_taken_away(pod: dict[str, Any], reason: str) -> None:
    found = attempt(pod)
    assert found.end is not None
    assert found.end.reason == reason
    assert not found.disrupted
    if "message" in pod["status"]:
        assert GONE in found.end.message


@pytest.mark.parametrize(
    ("cause", "state", "reason"),
    [
        ("PreemptionByScheduler", terminated(143), pods.EVICTED),
        ("EvictionByEvictionAPI", terminated(143), pods.EVICTED),
        ("TerminationByKubelet", terminated(137), pods.EVICTED),
        ("DeletionByTaintManager", terminated(143), pods.EVICTED),
        ("DeletionByTaintManager", running(), pods.NODE_LOST),
        ("DeletionByPodGC", running(), pods.NODE_LOST),
        ("DeletionByPodGC", terminated(137), pods.NODE_LOST),
    ],
)
def test_disruptions(cause: str, state: dict[str, Any], reason: str) -> None:
    found = attempt(a_pod("Failed", state, taken(cause)))
    assert found.end is not None
    assert (found.end.reason, found.disrupted) == (reason, True)


def test_a_disruption_that_did_not_come_to_pass() -> None:
    """Whoever announced it and didn't do it has the condition set to False after two minutes."""
    over = a_pod("Failed", terminated(7), taken("PreemptionByScheduler") | {"status": "False"})
    assert end_of(over) == End(facts.EXITED, FINISHED, 7)
    assert not attempt(over).disrupted
    assert end_of(ended(0, "", FINISHED, taken("EvictionByEvictionAPI"))).code == 0


@pytest.mark.parametrize(
    ("state", "container"),
    [
        (unknown_state(), {"lastState": {"terminated": {"exitCode": 137}}}),
        (terminated(137, "ContainerStatusUnknown"), {}),
        (terminated(255, "Unknown"), {}),
    ],
)
@pytest.mark.parametrize("deleted", [None, FINISHED])
def test_nobody_knows_how_its_container_ended(
    state: dict[str, Any], container: dict[str, Any], deleted: float | None
) -> None:
    end = end_of(a_pod("Failed", state, container=container, deleted=deleted))
    assert (end.reason, end.code, end.signal) == (pods.VANISHED, None, 0)
    assert "nobody knows" in end.message


@pytest.mark.parametrize("state", [None, waits(), unknown_state()])
def test_deleted_before_its_container_was_made(state: dict[str, Any] | None) -> None:
    found = attempt(a_pod("Failed", state, deleted=FINISHED))
    assert found.end == End(facts.NEVER_RAN, CREATED)
    assert found.start_time == 0.0


@pytest.mark.parametrize(
    "pod",
    [
        a_pod("Pending", node=""),
        a_pod("Pending"),
        a_pod("Pending", waits()),
        a_pod("Pending", waits("ImagePullBackOff")),
        a_pod("Pending", waits(), deleted=FINISHED),
        {**a_pod(), "status": {}},
    ],
)
def test_not_started_yet(pod: dict[str, Any]) -> None:
    assert (attempt(pod).start_time, attempt(pod).end) == (0.0, None)
    assert not attempt(pod).running


@pytest.mark.parametrize(
    "pod",
    [
        a_pod("Running", running()),
        a_pod("Running", running(), deleted=FINISHED),
        a_pod("Running", running(), taken("DeletionByTaintManager"), deleted=FINISHED),
        a_pod("Unknown", running(), reason="NodeLost"),
        a_pod("Running", terminated(0)),  # a sidecar still runs, or it ended just now
        a_pod("Pending", terminated(0)),  # it was over at once
        a_pod("Running", terminated(7)),
        a_pod(
            "Running",
            waits("CrashLoopBackOff"),
            container={"lastState": terminated(7), "restartCount": 1},
        ),
    ],
)
def test_running(pod: dict[str, Any]) -> None:
    assert (attempt(pod).start_time, attempt(pod).end) == (STARTED, None)
    state = pod["status"]["containerStatuses"][1]["state"]
    assert attempt(pod).running is ("running" in state)


def test_the_first_start_counts_where_a_container_is_run_again() -> None:
    last = terminated(7, startedAt=at(STARTED - 5))
    assert attempt(a_pod("Running", running(), container={"lastState": last})).start_time == (
        STARTED - 5
    )
    refused = {"lastState": start_error()}
    assert attempt(a_pod("Running", running(), container=refused)).start_time == STARTED


def test_an_end_is_never_before_its_start() -> None:
    assert end_of(ended(0, time=STARTED - 1)).time == STARTED


@pytest.mark.parametrize(
    ("stop", "pod", "reason"),
    [
        (CANCEL, ended(143, deleted=FINISHED - 1), facts.STOPPED),
        (CANCEL, ended(137, deleted=FINISHED - 1), facts.STOPPED),
        (CANCEL, ended(7, deleted=FINISHED - 1), facts.STOPPED),
        (CANCEL, ended(0, deleted=FINISHED - 1), facts.EXITED),
        (CANCEL, ended(143), facts.EXITED),  # by somebody else: a stop deletes the pod
        (CANCEL, a_pod("Failed", start_error(), deleted=FINISHED), facts.START_FAILED),
        (CANCEL._replace(time=FINISHED + 0.9), ended(143, deleted=FINISHED), facts.STOPPED),
        (CANCEL._replace(time=FINISHED + 1.0), ended(143, deleted=FINISHED), facts.EXITED),
        (None, ended(143, deleted=FINISHED), facts.EXITED),
    ],
)
def test_what_was_deleted_since_the_stop_was_stopped(
    stop: Stop | None, pod: dict[str, Any], reason: str
) -> None:
    found = attempt(pod).settled(stop).end
    assert found is not None
    assert (found.reason, found.time) == (reason, FINISHED)


def test_a_pod_that_runs_has_nothing_to_settle() -> None:
    found = attempt(a_pod("Running", running(), deleted=FINISHED))
    assert found.settled(CANCEL) is found


def test_which_attempt_it_is() -> None:
    found = attempt(a_pod("Running", running(), instance=3))
    assert found[:2] == (3, 0)
    assert (found.pod, found.uid, found.node) == ("job-3-p0", "uid-job-3-p0", "node1")
    assert found.deleted is False
    assert attempt(a_pod(deleted=OVER)).deleted is True
    assert attempt(a_pod(node="")).node == ""


def test_attempts_are_numbered_by_age() -> None:
    late, early = a_pod(instance=1, number=12), a_pod(instance=1, number=3)
    other = a_pod(instance=0, number=5)
    found = [attempt.pod for attempt in read_attempts([late, other, early])]
    assert found == ["job-1-p3", "job-0-p5", "job-1-p12"]
    keys = [facts.key_of(attempt) for attempt in read_attempts([late, other, early])]
    assert keys == [(1, 0), (0, 0), (1, 1)]


def test_pods_of_one_second_are_told_apart() -> None:
    """By their failures where the Job counts them for each index, else by their names."""
    one, other = a_pod(instance=0), a_pod(instance=0)
    one["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] = "10"
    other["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] = "9"
    other["metadata"]["name"] = "zzz"
    assert [attempt.pod for attempt in read_attempts([one, other])] == ["zzz", "job-0-p0"]
    del one["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"]
    del other["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"]
    assert [attempt.pod for attempt in read_attempts([other, one])] == ["job-0-p0", "zzz"]


SCHEDULER = "0/1 nodes are available: 1 Insufficient cpu."


def unscheduled(reason: str = "Unschedulable", message: str = SCHEDULER) -> dict[str, Any]:
    unplaced = condition("PodScheduled", reason, message, status="False")
    return a_pod("Pending", None, unplaced, node="")


PULL = a_pod("Pending", waits("ErrImagePull", "not found"))
BACK_OFF = a_pod("Pending", waits("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'))
NEVER = a_pod("Pending", waits("ErrImageNeverPull", f'Container image "{IMAGE}" is not present'))
INVALID = a_pod("Pending", waits("InvalidImageName", "couldn't parse image name"))
NO_SECRET = a_pod("Pending", waits("CreateContainerConfigError", 'secret "nope" not found'))
NO_USER = a_pod("Pending", waits("CreateContainerError", "unable to find user nope"))

WAITS = [
    ("unschedulable", unscheduled(), Reason.UNSCHEDULABLE, SCHEDULER),
    ("gated", unscheduled("SchedulingGated", "on gates"), Reason.NONE, "SchedulingGated: on gates"),
    ("not scheduled yet", a_pod("Pending", node=""), Reason.NONE, "no node was chosen"),
    ("pull", PULL, Reason.NONE, f"image {IMAGE} can't be had: ErrImagePull: not found"),
    ("back-off", BACK_OFF, Reason.NONE, "ImagePullBackOff: Back-off"),
    ("never", NEVER, Reason.NONE, "is not present"),
    ("invalid", INVALID, Reason.NONE, "InvalidImageName: couldn't parse"),
    ("secret", NO_SECRET, Reason.NONE, 'can\'t be made: CreateContainerConfigError: secret "nope"'),
    ("user", NO_USER, Reason.NONE, "can't be made: CreateContainerError: unable to find user"),
    ("scheduled", a_pod("Pending"), Reason.NONE, "node node1"),
    ("creating", a_pod("Pending", waits()), Reason.NONE, "node node1 (its image, volumes)"),
    (
        "initializing",
        a_pod("Pending", waits("PodInitializing")),
        Reason.NONE,
        "node node1 (PodInitializing)",
    ),
]


@pytest.mark.parametrize(
    ("pod", "reason", "words"), [row[1:] for row in WAITS], ids=[row[0] for row in WAITS]
)
def test_what_it_waits_for(pod: dict[str, Any], reason: Reason, words: str) -> None:
    found, message = waiting(a_job(), [pod])
    assert found is reason
    assert words in message


def test_the_heaviest_hindrance_is_told() -> None:
    creating = a_pod("Pending", waits(), number=1)
    for order in ([creating, unscheduled(), NO_SECRET], [NO_SECRET, unscheduled(), creating]):
        assert "can't be made" in waiting(a_job(), order)[1]
        assert waiting(a_job(), order[:2])[1] == waiting(a_job(), order[1::-1])[1]
    assert waiting(a_job(), [creating, unscheduled()])[0] is Reason.UNSCHEDULABLE


@pytest.mark.parametrize(
    ("spec", "pods", "words"),
    [
        ({}, [], "hasn't made its pod yet"),
        ({"suspend": True}, [], "suspended"),
        ({"suspend": True}, [a_pod("Pending", deleted=OVER)], "suspended"),
        ({"parallelism": 0}, [], ""),
        ({}, [a_pod("Failed", start_error())], ""),
        ({}, [a_pod("Pending", waits("ErrImagePull"), deleted=OVER)], ""),
    ],
)
def test_without_a_pod_that_waits(
    spec: dict[str, Any], pods: list[dict[str, Any]], words: str
) -> None:
    reason, message = waiting(a_job(spec=spec), pods)
    assert reason is Reason.NONE
    assert words in message
    assert bool(words) == bool(message)


@pytest.mark.parametrize(
    ("pod", "reason", "pulls"),
    [
        (NEVER, facts.PULL_FAILED, True),
        (INVALID, facts.PULL_FAILED, True),
        (PULL, None, True),
        (BACK_OFF, None, True),
        (NO_SECRET, None, False),
        (NO_USER, None, False),
        (unscheduled(), None, False),
        (a_pod("Running", running()), None, False),
        (ended(7), None, False),
        (a_pod("Pending", waits("ErrImageNeverPull"), deleted=OVER), None, False),
    ],
)
def test_what_never_mends(pod: dict[str, Any], reason: str | None, *, pulls: bool) -> None:
    assert hopeless([a_pod("Pending", waits(), number=1), pod]) == reason
    assert pull_fails([a_pod("Pending", waits(), number=1), pod]) is pulls
