"""The status as a function of a Job and its pods."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import Reason, State, Status
from engines.kubernetes import record
from engines.kubernetes.status import accounted_for, status_of
from engines.lifecycle import facts
from engines.lifecycle.facts import Intent, Stop
from tests.engines.kubernetes.objects import (
    CREATED,
    FINISHED,
    OVER,
    STARTED,
    a_job,
    a_pod,
    at,
    complete_job,
    condition,
    ended,
    failed_job,
    running,
    start_error,
    terminated,
    unknown_state,
    waits,
)
from tests.engines.kubernetes.specs import NEW_YEAR

Json = dict[str, Any]

MIDWAY = FINISHED - 1.5


def intent(completions: int = 1, max_retries: int = 0) -> Intent:
    return Intent(
        "job", "uid", "", "", NEW_YEAR, {}, completions, completions, max_retries, None, None, None
    )


def stop(reason: str = facts.CANCELLED, time: float = MIDWAY, message: str = "") -> Stop:
    return Stop(reason, time, 1.0, message)


def taken(reason: str = "TerminationByKubelet") -> Json:
    return condition("DisruptionTarget", reason, "taken away")


RUNS = a_pod("Running", running())
OK = ended(0)
THREE = ended(3)
FOUR_LATER = ended(4, time=FINISHED + 1, number=1)
SIGNAL = ended(137)
STOPPED = ended(143, deleted=MIDWAY)
DISRUPTED = ended(143, "", FINISHED, taken())
NO_PROGRAM = a_pod("Failed", start_error())
REFUSED = a_pod("Failed", reason="OutOfcpu", message="no cpu")
VANISHED = a_pod("Failed", unknown_state(), container={"lastState": unknown_state()})
UNPLACED = a_pod(
    "Pending",
    None,
    condition("PodScheduled", "Unschedulable", "0/1 nodes", status="False"),
    node="",
)
HALTED = {"spec": {"parallelism": 0}}
SUSPENDED = condition("Suspended", "JobSuspended")
DELETED = {"metadata": {"deletionTimestamp": at(MIDWAY)}}

S, R = State, Reason

GOING_ON: list[tuple[str, Intent, Json, list[Json], Stop | None, State, Reason]] = [
    ("nothing yet", intent(), a_job(), [], None, S.PENDING, R.NONE),
    ("no startTime", intent(), a_job(startTime=None), [], None, S.PENDING, R.NONE),
    ("pod waits", intent(), a_job(active=1), [a_pod("Pending")], None, S.PENDING, R.NONE),
    ("no place", intent(), a_job(active=1), [UNPLACED], None, S.PENDING, R.UNSCHEDULABLE),
    (
        "image",
        intent(),
        a_job(),
        [a_pod("Pending", waits("ErrImagePull"))],
        None,
        S.PENDING,
        R.NONE,
    ),
    ("running", intent(), a_job(active=1), [RUNS], None, S.RUNNING, R.NONE),
    ("success seen, not told", intent(), a_job(), [OK], None, S.RUNNING, R.NONE),
    ("failure seen, not told", intent(), a_job(), [THREE], None, S.RUNNING, R.NONE),
    ("failed start, retry to come", intent(1, 1), a_job(), [NO_PROGRAM], None, S.PENDING, R.NONE),
    ("retry to come", intent(1, 1), a_job(failed=1), [THREE], None, S.RUNNING, R.NONE),
    ("counts prove nothing", intent(), a_job(failed=7), [THREE], None, S.RUNNING, R.NONE),
    (
        "next one has no place",
        intent(1, 1),
        a_job(failed=1),
        [THREE, {**UNPLACED, "metadata": FOUR_LATER["metadata"]}],
        None,
        S.RUNNING,
        R.NONE,
    ),
    ("taken away, to be run again", intent(), a_job(), [DISRUPTED], None, S.RUNNING, R.NONE),
    (
        "succeeding",
        intent(),
        a_job(condition("SuccessCriteriaMet", "CompletionsReached"), succeeded=1),
        [OK],
        None,
        S.RUNNING,
        R.NONE,
    ),
    (
        "failing",
        intent(2),
        a_job(condition("FailureTarget", "BackoffLimitExceeded"), terminating=1),
        [THREE, a_pod("Running", running(), instance=1, deleted=OVER)],
        None,
        S.RUNNING,
        R.NONE,
    ),
    (
        "conditions that aren't true",
        intent(),
        a_job(*(condition(kind, status="False") for kind in ("Failed", "Complete"))),
        [THREE],
        None,
        S.RUNNING,
        R.NONE,
    ),
    ("stopped, still runs", intent(), a_job(active=1, **HALTED), [RUNS], stop(), S.RUNNING, R.NONE),
    ("stopped, pod not seen", intent(), a_job(active=1, **HALTED), [], stop(), S.PENDING, R.NONE),
    ("stopped, ending", intent(), a_job(terminating=1, **HALTED), [], stop(), S.PENDING, R.NONE),
    ("stopped, not told yet", intent(), a_job(), [], stop(), S.PENDING, R.NONE),
    (
        "stopped, the controller hasn't seen it",
        intent(),
        a_job(startTime=None, **HALTED),
        [],
        stop(),
        S.PENDING,
        R.NONE,
    ),
    (
        "stopped, pod may yet start",
        intent(),
        a_job(**HALTED),
        [a_pod("Pending", deleted=MIDWAY)],
        stop(),
        S.PENDING,
        R.NONE,
    ),
    (
        "stopped, success about to be counted",
        intent(),
        a_job(uncountedTerminatedPods={"succeeded": ["u"]}, **HALTED),
        [],
        stop(),
        S.PENDING,
        R.NONE,
    ),
    (
        "suspended, not told yet",
        intent(),
        a_job(spec={"suspend": True}),
        [],
        stop(),
        S.PENDING,
        R.NONE,
    ),
    ("suspended, no stop", intent(), a_job(SUSPENDED, **HALTED), [], None, S.PENDING, R.NONE),
    ("deleted, still runs", intent(), a_job(**DELETED), [RUNS], None, S.RUNNING, R.NONE),
]

OVER_TABLE: list[tuple[str, Intent, Json, list[Json], Stop | None, State, Reason]] = [
    ("success", intent(), complete_job(), [OK], None, S.SUCCEEDED, R.COMPLETED),
    ("success, pod gone", intent(), complete_job(), [], None, S.SUCCEEDED, R.COMPLETED),
    ("success, pod not seen yet", intent(), complete_job(), [RUNS], None, S.SUCCEEDED, R.COMPLETED),
    ("retry did it", intent(1, 1), complete_job(), [THREE, OK], None, S.SUCCEEDED, R.COMPLETED),
    ("stopped too late", intent(), complete_job(), [OK], stop(), S.SUCCEEDED, R.COMPLETED),
    ("exit code", intent(), failed_job(), [THREE], None, S.FAILED, R.NON_ZERO_EXIT),
    ("signal", intent(), failed_job(), [SIGNAL], None, S.FAILED, R.SIGNALLED),
    ("memory", intent(), failed_job(), [ended(137, "OOMKilled")], None, S.FAILED, R.OOM_KILLED),
    ("no program", intent(), failed_job(), [NO_PROGRAM], None, S.FAILED, R.START_FAILED),
    ("refused by a node", intent(), failed_job(), [REFUSED], None, S.FAILED, R.ENGINE_ERROR),
    ("nobody knows", intent(), failed_job(), [VANISHED], None, S.LOST, R.UNKNOWN),
    (
        "nobody knew, and then it failed",
        intent(1, 1),
        failed_job(),
        [VANISHED, FOUR_LATER],
        None,
        S.FAILED,
        R.NON_ZERO_EXIT,
    ),
    (
        "evicted without the condition",
        intent(),
        failed_job(),
        [a_pod("Failed", reason="Evicted", message="low on memory")],
        None,
        S.FAILED,
        R.EVICTED,
    ),
    ("taken away, and counted", intent(), failed_job(), [DISRUPTED], None, S.FAILED, R.EVICTED),
    (
        "node lost, and counted",
        intent(),
        failed_job(),
        [a_pod("Failed", running(), taken("DeletionByPodGC"))],
        None,
        S.LOST,
        R.NODE_LOST,
    ),
    (
        "taken away, then failed",
        intent(),
        failed_job(),
        [DISRUPTED, FOUR_LATER],
        None,
        S.FAILED,
        R.NON_ZERO_EXIT,
    ),
    (
        "the pod's own deadline",
        intent(),
        failed_job(),
        [a_pod("Failed", terminated(143), reason="DeadlineExceeded")],
        None,
        S.FAILED,
        R.DEADLINE_EXCEEDED,
    ),
    ("failed, pod gone", intent(), failed_job(), [], None, S.FAILED, R.UNKNOWN),
    ("failed, one of two gone", intent(1, 1), failed_job(), [THREE], None, S.FAILED, R.UNKNOWN),
    ("failed, pod not seen", intent(), failed_job(), [RUNS], None, S.FAILED, R.UNKNOWN),
    (
        "deleted behind its back",
        intent(),
        failed_job(),
        [ended(143, deleted=FINISHED)],
        None,
        S.FAILED,
        R.SIGNALLED,
    ),
    (
        "deleted before it started",
        intent(),
        failed_job(),
        [a_pod("Failed", waits(), deleted=FINISHED)],
        None,
        S.FAILED,
        R.UNKNOWN,
    ),
    (
        "its pod gone, another stopped for that",
        intent(2),
        failed_job(failed=2),
        [ended(143, time=OVER + 1, instance=1, deleted=OVER)],
        None,
        S.FAILED,
        R.UNKNOWN,
    ),
    (
        "a rule of podFailurePolicy",
        intent(1, 5),
        failed_job("PodFailurePolicy"),
        [THREE],
        None,
        S.FAILED,
        R.NON_ZERO_EXIT,
    ),
    ("the same, pod gone", intent(), failed_job("PodFailurePolicy"), [], None, S.FAILED, R.UNKNOWN),
    ("another reason", intent(), failed_job("Quota"), [THREE], None, S.FAILED, R.ENGINE_ERROR),
    ("no reason", intent(), failed_job(""), [], None, S.FAILED, R.ENGINE_ERROR),
    ("failed, pods say success", intent(), failed_job(), [OK], None, S.FAILED, R.UNKNOWN),
    (
        "timeout",
        intent(),
        failed_job("DeadlineExceeded"),
        [ended(143, time=OVER + 1, deleted=OVER)],
        None,
        S.FAILED,
        R.DEADLINE_EXCEEDED,
    ),
    (
        "never started",
        intent(),
        failed_job("DeadlineExceeded"),
        [a_pod("Pending", deleted=OVER)],
        None,
        S.FAILED,
        R.START_TIMEOUT,
    ),
    (
        "never had a pod",
        intent(),
        failed_job("DeadlineExceeded"),
        [],
        None,
        S.FAILED,
        R.START_TIMEOUT,
    ),
    ("cancelled", intent(), a_job(**HALTED), [STOPPED], stop(), S.CANCELLED, R.CANCELLED),
    ("cancelled, pod gone", intent(), a_job(**HALTED), [], stop(), S.CANCELLED, R.CANCELLED),
    ("and failed by that", intent(), failed_job(), [STOPPED], stop(), S.CANCELLED, R.CANCELLED),
    (
        "and out of time by that",
        intent(),
        failed_job("DeadlineExceeded"),
        [STOPPED],
        stop(),
        S.CANCELLED,
        R.CANCELLED,
    ),
    ("failed by that, pod gone", intent(), failed_job(), [], stop(), S.CANCELLED, R.CANCELLED),
    (
        "cancelled before it started",
        intent(),
        a_job(**HALTED),
        [a_pod("Failed", unknown_state(), deleted=MIDWAY)],
        stop(),
        S.CANCELLED,
        R.CANCELLED,
    ),
    (
        "cancelled while suspended",
        intent(),
        a_job(SUSPENDED, startTime=None, spec={"suspend": True}),
        [],
        stop(),
        S.CANCELLED,
        R.CANCELLED,
    ),
    (
        "cancelled after it failed",
        intent(),
        failed_job(),
        [THREE],
        stop(time=FINISHED + 0.5),
        S.FAILED,
        R.NON_ZERO_EXIT,
    ),
    (
        "cancelled after a rule made it fail",
        intent(1, 5),
        failed_job("PodFailurePolicy"),
        [THREE],
        stop(time=FINISHED + 0.5),
        S.FAILED,
        R.NON_ZERO_EXIT,
    ),
    ("cancelled while failing", intent(), failed_job(), [THREE], stop(), S.CANCELLED, R.CANCELLED),
    (
        "cancelled, and nobody knows how it ended",
        intent(),
        failed_job(),
        [a_pod("Failed", terminated(255, "Unknown"))],
        stop(),
        S.CANCELLED,
        R.CANCELLED,
    ),
    (
        "deleted, says the stop",
        intent(),
        a_job(**HALTED),
        [STOPPED],
        stop(facts.DELETED),
        S.CANCELLED,
        R.DELETED,
    ),
    ("its Job is deleted", intent(), a_job(**DELETED), [STOPPED], None, S.CANCELLED, R.DELETED),
    ("the same, pods gone", intent(), a_job(active=1, **DELETED), [], None, S.CANCELLED, R.DELETED),
    ("deleted after the cancel", intent(), a_job(**DELETED), [], stop(), S.CANCELLED, R.CANCELLED),
    (
        "deleted after its end",
        intent(),
        failed_job(metadata={"deletionTimestamp": at(OVER + 5)}),
        [THREE],
        None,
        S.FAILED,
        R.NON_ZERO_EXIT,
    ),
    (
        "deleted, and failed by that",
        intent(),
        failed_job(metadata=DELETED["metadata"]),
        [STOPPED],
        None,
        S.CANCELLED,
        R.DELETED,
    ),
    ("succeeded, then deleted", intent(), a_job(**DELETED), [OK], None, S.SUCCEEDED, R.COMPLETED),
    (
        "deadline",
        intent(),
        a_job(**HALTED),
        [STOPPED],
        stop(facts.DEADLINE),
        S.FAILED,
        R.DEADLINE_EXCEEDED,
    ),
    (
        "start_timeout",
        intent(),
        a_job(**HALTED),
        [],
        stop(facts.START_TIMEOUT),
        S.FAILED,
        R.START_TIMEOUT,
    ),
    (
        "image",
        intent(),
        failed_job("DeadlineExceeded"),
        [],
        stop(facts.PULL_FAILED),
        S.FAILED,
        R.IMAGE_PULL_FAILED,
    ),
]


@pytest.mark.parametrize(
    ("wanted", "job", "pods", "decided", "state", "reason"),
    [row[1:] for row in GOING_ON + OVER_TABLE],
    ids=[row[0] for row in GOING_ON + OVER_TABLE],
)
def test_state_and_reason(
    wanted: Intent,
    job: Json,
    pods: list[Json],
    decided: Stop | None,
    state: State,
    reason: Reason,
) -> None:
    results = {status_of(wanted, job, order, decided) for order in itertools.permutations(pods)}
    assert len(results) == 1
    found = results.pop()
    assert (found.state, found.reason) == (state, reason)
    check(found)


def check(found: Status) -> None:
    """What is true of every status."""
    assert 0 not in (found.active, found.succeed, found.failed)
    assert (found.end_time is not None) == found.state.terminal
    times = [found.create_time, found.start_time, found.end_time]
    told = [time for time in times if time is not None]
    assert told == sorted(told)
    if found.state.terminal:
        assert found.active is None
        assert found.reason is not Reason.NONE
    else:
        assert (found.exit_code, found.signal) == (None, 0)
        assert found.reason in {Reason.NONE, Reason.UNSCHEDULABLE}
    if found.state is not State.PENDING:
        assert found.reason is not Reason.UNSCHEDULABLE


def test_every_reason_is_reached() -> None:
    reached = {(row[5], row[6]) for row in GOING_ON + OVER_TABLE}
    assert reached >= {
        (S.SUCCEEDED, R.COMPLETED),
        (S.FAILED, R.NON_ZERO_EXIT),
        (S.FAILED, R.SIGNALLED),
        (S.FAILED, R.OOM_KILLED),
        (S.FAILED, R.DEADLINE_EXCEEDED),
        (S.FAILED, R.START_TIMEOUT),
        (S.FAILED, R.IMAGE_PULL_FAILED),
        (S.FAILED, R.START_FAILED),
        (S.PENDING, R.UNSCHEDULABLE),
        (S.FAILED, R.EVICTED),
        (S.LOST, R.NODE_LOST),
        (S.CANCELLED, R.CANCELLED),
        (S.CANCELLED, R.DELETED),
        (S.FAILED, R.ENGINE_ERROR),
        (S.LOST, R.UNKNOWN),
        (S.FAILED, R.UNKNOWN),
    }


def test_conditions_are_found_wherever_they_are() -> None:
    """Kubernetes 1.31 put others first (trivy-kubernetes#403)."""
    job = complete_job()
    for order in itertools.permutations(
        [*job["status"]["conditions"], SUSPENDED | {"status": "False"}]
    ):
        job["status"]["conditions"] = list(order)
        assert status_of(intent(), job, [OK], None).state is State.SUCCEEDED


def test_the_end_that_was_noted_stands() -> None:
    noted = Status(state=State.LOST, reason=Reason.UNKNOWN, create_time=1.0, end_time=2.0)
    job = complete_job(metadata={"annotations": record.end_annotation(noted)})
    assert status_of(intent(), job, [OK], stop()) == noted


def test_what_a_success_tells() -> None:
    job = complete_job(succeeded=2, completionTime=at(OVER + 1))
    pods = [ended(3, instance=0), ended(0, instance=0, number=1), ended(0, instance=1)]
    assert status_of(intent(2, 3), job, pods, None) == Status(
        active=None,
        succeed=2,
        failed=1,
        state=State.SUCCEEDED,
        reason=Reason.COMPLETED,
        exit_code=0,
        create_time=NEW_YEAR,
        start_time=STARTED,
        end_time=OVER + 1,
        retries=1,
    )


def test_a_success_without_its_pods() -> None:
    job = complete_job(succeeded=2, failed=1, completionTime=None)
    found = status_of(intent(2, 3), job, [], None)
    assert (found.succeed, found.failed, found.retries) == (2, 1, 1)
    assert (found.exit_code, found.start_time, found.end_time) == (0, None, OVER)


def test_what_a_failure_tells() -> None:
    found = status_of(intent(1, 1), failed_job(failed=2), [THREE, FOUR_LATER], None)
    assert (found.exit_code, found.signal, found.failed, found.retries) == (4, 0, 2, 1)
    assert (found.start_time, found.end_time) == (STARTED, OVER)
    assert found.message == "instance 0 exited with code 4"


def test_the_first_failure_for_good_decides() -> None:
    pods = [ended(3 + n, time=FINISHED + n, instance=n) for n in range(3)]
    assert status_of(intent(3, 1), failed_job(), pods, None).exit_code == 4
    assert (
        status_of(intent(3, 9), failed_job("MaxFailedIndexesExceeded"), pods, None).exit_code == 5
    )


@pytest.mark.parametrize(
    ("job", "pods", "words"),
    [
        (failed_job(), [REFUSED], "OutOfcpu: no cpu"),
        (failed_job(), [NO_PROGRAM], 'could not be started: exec: "/nope"'),
        (failed_job(), [DISRUPTED], "TerminationByKubelet: taken away"),
        (failed_job(), [a_pod("Failed", running())], "its pod failed"),
        (failed_job(""), [], "in other words"),
        (failed_job(), [VANISHED], "nobody knows how its container ended"),
        (failed_job(), [], "BackoffLimitExceeded: Job has reached the specified backoff limit"),
        (failed_job("Quota"), [THREE], "Quota: in other words"),
        (failed_job("DeadlineExceeded"), [], "it didn't start within its start_timeout"),
    ],
)
def test_messages(job: Json, pods: list[Json], words: str) -> None:
    assert words in status_of(intent(), job, pods, None).message


def test_the_message_of_a_stop_is_told() -> None:
    decided = stop(facts.PULL_FAILED, message="image nope:1 can't be had")
    found = status_of(intent(), a_job(**HALTED), [], decided)
    assert (found.message, found.end_time) == ("image nope:1 can't be had", MIDWAY)


def test_what_the_job_stopped_itself_is_no_failure() -> None:
    """A Job that fails deletes what else runs of it, and counts that as failed."""
    killed = [ended(143, time=OVER + n, instance=n, deleted=OVER) for n in (1, 2)]
    failing = a_job(condition("FailureTarget", "BackoffLimitExceeded"), failed=3)
    assert status_of(intent(3), failing, [ended(3, instance=0), *killed], None).failed == 1
    job = failed_job(failed=3, later=5)
    for pods in ([ended(3, instance=0), *killed], [ended(3, instance=0)]):
        found = status_of(intent(3), job, pods, None)
        assert (found.failed, found.exit_code, found.signal) == (1, 3, 0)


def test_what_was_stopped_is_no_failure() -> None:
    found = status_of(intent(), failed_job("DeadlineExceeded"), [STOPPED], stop())
    assert (found.failed, found.retries, found.exit_code, found.signal) == (None, 0, None, 0)


def test_what_was_taken_away_is_no_failure() -> None:
    pods = [DISRUPTED, ended(0, number=1)]
    found = status_of(intent(1, 3), complete_job(), pods, None)
    assert (found.failed, found.retries) == (None, 0)


def test_pods_that_wait_are_not_active() -> None:
    pods = [
        a_pod("Running", running(), instance=0),
        a_pod("Pending", waits(), instance=1),
        a_pod("Running", running(), instance=2, deleted=MIDWAY),
        a_pod("Running", terminated(0), instance=3),
        ended(0, instance=4),
    ]
    assert status_of(intent(5), a_job(active=2, ready=1), pods, None).active == 2
    assert status_of(intent(5), a_job(active=1), pods[1:2], None).active is None
    ending = status_of(intent(5), a_job(active=1), pods[3:4], None)
    assert (ending.state, ending.active) == (State.RUNNING, None)


@pytest.mark.parametrize(
    ("job", "decided"),
    [
        (a_job(), stop()),
        (a_job(**DELETED), None),
        (a_job(condition("FailureTarget", "DeadlineExceeded"), terminating=1), None),
    ],
)
def test_what_is_ending_waits_for_nothing(job: Json, decided: Stop | None) -> None:
    for pods in ([], [a_pod("Pending", waits("ErrImagePull"))], [UNPLACED]):
        found = status_of(intent(), job, pods, decided)
        if not found.state.terminal:
            assert (found.state, found.reason, found.message) == (State.PENDING, Reason.NONE, "")


def test_a_pod_that_is_gone_tells_how_it_ended() -> None:
    """It goes as soon as its Job has counted it, which is before that has failed."""
    gone = ended(5, deleted=FINISHED - 1)
    found = status_of(intent(), failed_job(), [gone], None)
    assert (found.reason, found.exit_code) == (Reason.NON_ZERO_EXIT, 5)


def test_counts_of_pods_that_are_gone() -> None:
    job = a_job(
        active=1,
        succeeded=1,
        failed=1,
        uncountedTerminatedPods={"succeeded": ["a"], "failed": ["b"]},
    )
    found = status_of(intent(9, 1), job, [a_pod("Running", running(), instance=4)], None)
    assert (found.active, found.succeed, found.failed, found.retries) == (1, 2, 2, 1)


def test_nothing_goes_back_when_pods_are_gone() -> None:
    known = status_of(intent(2, 3), a_job(failed=1), [THREE, ended(0, number=1)], None)
    assert known.state is State.RUNNING
    found = status_of(intent(2, 3), a_job(), [], None, known)
    assert found == replace(known, active=None)
    again = status_of(intent(2, 3), a_job(active=1), [UNPLACED], None, found)
    assert (again.state, again.reason, again.message) == (State.RUNNING, Reason.NONE, "")


def test_the_first_start_that_was_told_stays() -> None:
    known = Status(state=State.RUNNING, start_time=STARTED, create_time=NEW_YEAR)
    later = a_pod("Running", running(STARTED + 5))
    assert status_of(intent(), a_job(), [later], None, known).start_time == STARTED
    failed = status_of(intent(), failed_job("DeadlineExceeded"), [], None, known)
    assert (failed.reason, failed.start_time) == (Reason.DEADLINE_EXCEEDED, STARTED)


def test_a_start_that_was_noted_outlives_its_pods() -> None:
    job = a_job()
    job["metadata"]["annotations"] = record.start_annotation(STARTED)
    found = status_of(intent(), job, [], None)
    assert (found.state, found.start_time) == (State.RUNNING, STARTED)


def test_clocks_of_nodes_differ() -> None:
    early = a_pod("Failed", terminated(3, startedAt=at(NEW_YEAR - 5), finishedAt=at(NEW_YEAR - 4)))
    found = status_of(intent(), failed_job(time=NEW_YEAR - 3), [early], None)
    assert (found.start_time, found.end_time) == (NEW_YEAR, NEW_YEAR)
    late = ended(0, time=OVER + 9)
    assert status_of(intent(), complete_job(), [late], None).end_time == OVER


def test_a_stop_in_the_second_of_the_end() -> None:
    """Times of Kubernetes are cut off: what a stop at 18.5 ended at 18.9 ended at 18."""
    decided = stop(time=FINISHED + 0.5)
    killed = ended(143, deleted=FINISHED)
    assert status_of(intent(), failed_job(), [killed], decided).reason is Reason.CANCELLED
    assert status_of(intent(), failed_job(), [SIGNAL], decided).reason is Reason.SIGNALLED


@pytest.mark.parametrize(
    ("job", "pods", "enough"),
    [
        (complete_job(), [OK], True),
        (complete_job(), [], False),
        (complete_job(), [RUNS], False),
        (failed_job(), [THREE], True),
        (failed_job(), [OK], False),
        (failed_job(), [DISRUPTED, a_pod("Running", running(), number=1)], False),
        (a_job(uncountedTerminatedPods={"failed": ["u"]}), [], False),
        (a_job(), [], True),
    ],
)
def test_pods_that_account_for_their_job(job: Json, pods: list[Json], *, enough: bool) -> None:
    assert accounted_for(job, pods) is enough


KINDS = ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget", "Suspended")
CONDITIONS = st.builds(
    condition,
    st.sampled_from(KINDS),
    st.sampled_from(["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", ""]),
    status=st.sampled_from(["True", "False"]),
    lastTransitionTime=st.sampled_from([at(CREATED), at(OVER)]),
)
COUNTS = st.integers(0, 3)
JOBS = st.builds(
    lambda conditions, **fields: a_job(*conditions, **fields),
    st.lists(CONDITIONS, max_size=4),
    active=COUNTS,
    terminating=st.none() | COUNTS,
    succeeded=COUNTS,
    failed=COUNTS,
    startTime=st.none() | st.just(at(NEW_YEAR)),
    spec=st.fixed_dictionaries({"parallelism": st.integers(0, 1), "suspend": st.booleans()}),
    metadata=st.sampled_from([{}, DELETED["metadata"]]),
)
STATES = st.sampled_from(
    [
        None,
        waits(),
        waits("ImagePullBackOff"),
        running(),
        terminated(0),
        terminated(3),
        terminated(137, "OOMKilled"),
        start_error(),
        unknown_state(),
    ]
)
PODS = st.lists(
    st.builds(
        lambda phase, state, conditions, **fields: a_pod(phase, state, *conditions, **fields),
        st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
        STATES,
        st.sampled_from([(), (taken(),), (taken("DeletionByPodGC"),)]),
        instance=st.integers(0, 1),
        number=st.integers(0, 9),
        deleted=st.none() | st.sampled_from([MIDWAY, OVER]),
        reason=st.sampled_from(["", "Evicted", "DeadlineExceeded", "OutOfcpu"]),
    ),
    max_size=4,
)
STOPS = st.none() | st.builds(
    stop,
    st.sampled_from([facts.CANCELLED, facts.DELETED, facts.START_TIMEOUT, facts.PULL_FAILED]),
    st.sampled_from([NEW_YEAR + 0.5, MIDWAY, OVER + 0.5]),
)
KNOWN = st.sampled_from(
    [None, Status(), Status(state=State.RUNNING, start_time=STARTED, failed=1, succeed=1)]
)
INTENTS = st.builds(intent, st.integers(1, 2), st.integers(0, 2))


@given(INTENTS, JOBS, PODS, STOPS, KNOWN)
def test_what_is_true_of_every_status(
    wanted: Intent, job: Json, pods: list[Json], decided: Stop | None, known: Status | None
) -> None:
    found = status_of(wanted, job, pods, decided, known)
    check(found)
    over = {
        each["type"] for each in job["status"].get("conditions", ()) if each["status"] == "True"
    } & {"Complete", "Failed"}
    if found.state.terminal:
        assert over or decided or "deletionTimestamp" in job["metadata"]
    if over:
        assert found.state.terminal
    if "Complete" in over:
        assert (found.state, found.exit_code) == (State.SUCCEEDED, 0)
    elif found.state is State.SUCCEEDED:
        assert not over
        assert found.exit_code == 0
    if not over and any(pod["status"]["phase"] not in {"Succeeded", "Failed"} for pod in pods):
        assert not found.state.terminal
    if known is not None and known.state is State.RUNNING:
        assert found.state is not State.PENDING
        assert (found.failed or 0) >= (known.failed or 0)
    assert found.retries <= wanted.max_retries
