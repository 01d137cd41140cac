"""Says how a job is doing, from its Job and the pods of that.

A Job's conditions say that it is over, never its counts: those say failed before a retry
(sikalabs/slu#423). What ended it is told by its pods.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from engines.base import Reason, State, Status
from engines.kubernetes import pods as pods_
from engines.kubernetes.pods import Attempt, condition, read_attempts, waiting, words_of
from engines.kubernetes.record import Json, read_end, read_start, read_time
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Intent, Stop
from engines.lifecycle.status import Progress, status

_SETTLING: Final = ("FailureTarget", "Failed", "SuccessCriteriaMet", "Complete")
"""Conditions of a Job whose outcome is decided. The first and third are set while pods still end
(Kubernetes 1.31, k8s#125510)."""

_BY_PODS: Final = frozenset(
    {"BackoffLimitExceeded", "PodFailurePolicy", "FailedIndexes", "MaxFailedIndexesExceeded"}
)
"""Why a Job failed where one of its pods is to blame."""

_VERDICTS: Final = {
    pods_.EVICTED: (State.FAILED, Reason.EVICTED),
    pods_.NODE_LOST: (State.LOST, Reason.NODE_LOST),
    pods_.REFUSED: (State.FAILED, Reason.ENGINE_ERROR),
    pods_.VANISHED: (State.LOST, Reason.UNKNOWN),
}


def status_of(
    intent: Intent,
    job: Json,
    pods: Sequence[Json],
    stop: Stop | None,
    known: Status | None = None,
) -> Status:
    """The status of the job that a Job and its pods are.

    The job is over by its Job's conditions, or once it was stopped or deleted and nothing of it
    runs or can run any more.

    `known` is the newest status of it before this one, and the Job may have noted its start: the
    state never goes back where pods are gone. `pods` may have ended ones that are gone meanwhile:
    one that somebody deleted is removed some milliseconds before its Job is told to have failed by
    that, and tells how.
    """
    if (end := read_end(job)) is not None:
        return end
    known = known or Status()
    if known.start_time is None:
        known = replace(known, start_time=read_start(job))
    if stop is None and (deleted := _deletion_time(job)) is not None:
        stop = Stop(facts.DELETED, deleted, 0.0)
    attempts = read_attempts(pods)
    if (complete := condition(job["status"], "Complete")) is not None:
        found = _succeeded(intent, job, _ended(attempts, complete))
        return _completed(found, intent, job, stop, known)
    if (failed := condition(job["status"], "Failed")) is not None:
        found = _failed(intent, job, _ended(attempts, failed), stop, known)
        return _completed(found, intent, job, stop, known)
    settled = _settled(job)
    found = _judged(intent, _progress(attempts, stop, settled), stop)
    if stop is None or not found.state.terminal or not _halted(job, attempts):
        ends = stop is not None or settled is not None
        waits = (Reason.NONE, "") if ends else waiting(job, pods)
        found = replace(
            _unfinished(found, known, waits),
            active=sum(attempt.running for attempt in attempts) or None,
        )
    return _completed(found, intent, job, stop, known)


def accounted_for(job: Json, pods: Iterable[Json]) -> bool:
    """Whether the pods that are known tell of everything that their Job has counted.

    Jobs and pods are watched apart, and either may be ahead. Before a job's end is noted for
    good, pods that don't account for it are to be asked for anew.
    """
    ends = [attempt.end for attempt in read_attempts(pods)]
    successes = sum(end is not None and end.code == 0 for end in ends)
    failures = sum(end is not None and end.code != 0 for end in ends)
    return (
        None not in ends
        and successes >= _count(job, "succeeded")
        and failures >= _count(job, "failed")
    )


def _progress(attempts: Iterable[Attempt], *stops: Stop | None) -> Progress[Attempt]:
    """What counts: neither what was stopped nor what was taken away."""
    progress = Progress[Attempt]()
    for attempt in attempts:
        for stop in stops:
            attempt = attempt.settled(stop)  # noqa: PLW2901
        end = attempt.end
        if end is not None and attempt.disrupted and end.code != 0:
            attempt = attempt._replace(end=end._replace(reason=facts.STOPPED))  # noqa: PLW2901
        progress.add(attempt)
    return progress


def _judged(intent: Intent, progress: Progress[Attempt], stop: Stop | None) -> Status:
    """The portable status, with what only Kubernetes knows of how attempts end."""
    found = status(intent, progress, stop)
    decisive = progress.decisive(intent.max_retries)
    end = None if decisive is None else decisive.end
    if end is None or end.reason not in _VERDICTS or found.reason is not Reason.NON_ZERO_EXIT:
        return found
    state, reason = _VERDICTS[end.reason]
    return replace(found, state=state, reason=reason, message=end.message)


def _ended(attempts: Iterable[Attempt], over: Json) -> list[Attempt]:
    """The attempts of a Job that says that it is over: it has stopped what hasn't ended by itself.

    Up to Kubernetes 1.30 that may still be ending, and forever where its node is gone.
    """
    end = End(facts.STOPPED, _time(over))
    return [attempt._replace(end=end) if attempt.end is None else attempt for attempt in attempts]


def _succeeded(intent: Intent, job: Json, attempts: Iterable[Attempt]) -> Status:
    # The Job has counted them, whichever of its pods are still there.
    found = status(intent._replace(completions=0), _progress(attempts, _settled(job)), None)
    over = read_time(job["status"].get("completionTime"))
    complete = condition(job["status"], "Complete") or {}
    return replace(found, exit_code=0, end_time=over or _time(complete))


def _failed(
    intent: Intent, job: Json, attempts: Sequence[Attempt], stop: Stop | None, known: Status
) -> Status:
    """How a Job failed: by a stop before that, by the pod that is to blame, or in its own words."""
    failed = condition(job["status"], "Failed") or {}
    settled = _settled(job)
    assert settled is not None  # noqa: S101  (it has failed)
    reason = failed.get("reason")
    if stop is None and reason == "DeadlineExceeded":
        started = known.start_time or any(attempt.start_time for attempt in attempts)
        stop = Stop(facts.DEADLINE if started else facts.START_TIMEOUT, settled.time, 0.0)
    # What failed hasn't succeeded, even if its pods have meanwhile.
    intent = intent._replace(completions=sys.maxsize)
    found = Status()
    if stop is not None or reason in _BY_PODS:
        counted = _progress(attempts, stop, settled)
        found = _judged(_counting(intent, reason, counted), counted, stop)
    if not found.state.terminal and reason in _BY_PODS:
        # It counts otherwise than we do: then whatever ended before it failed is to blame.
        ended = [
            attempt for attempt in attempts if attempt.end and attempt.end.time <= settled.time
        ]
        counted = Progress(ended)
        found = _judged(_counting(intent, reason, counted), counted, None)
    if not found.state.terminal:
        found = replace(
            status(intent, _progress(attempts, settled), None),
            state=State.FAILED,
            reason=Reason.UNKNOWN if reason in _BY_PODS else Reason.ENGINE_ERROR,
            message=words_of(failed) or "its Job failed",
        )
    return replace(found, end_time=max(found.end_time or 0.0, _time(failed)))


def _counting(intent: Intent, reason: str | None, progress: Progress[Attempt]) -> Intent:
    """The last failure decides where a Job failed for another reason than too many of them."""
    if reason == "BackoffLimitExceeded":
        return intent
    return intent._replace(max_retries=len(progress.failures) - 1)


def under_way(found: Status) -> Status:
    """The status of a job that has started, as long as its end isn't to be told."""
    return replace(
        found,
        state=State.RUNNING,
        reason=Reason.NONE,
        message="",
        exit_code=None,
        signal=0,
        end_time=None,
    )


def _unfinished(found: Status, known: Status, waits: tuple[Reason, str]) -> Status:
    """What isn't over by its Job, whatever its pods may come to."""
    running = under_way(found)
    if found.start_time is not None or known.start_time is not None:
        return running
    reason, message = waits
    return replace(running, state=State.PENDING, reason=reason, message=message)


def _halted(job: Json, attempts: Iterable[Attempt]) -> bool:
    """Whether no pod of a stopped job runs or can come any more.

    The Job's controller must have seen that it shall run none: it notes that a Job is suspended,
    and the startTime of one that isn't (a status has no observedGeneration). What it counts as
    done may complete the job yet, which it says next.
    """
    if any(attempt.end is None for attempt in attempts):
        return False
    if _deletion_time(job) is not None:
        return True
    spec, told = job["spec"], job["status"]
    suspended = spec.get("suspend") and condition(told, "Suspended") is not None
    emptied = spec.get("parallelism") == 0 and told.get("startTime")
    busy = told.get("active") or told.get("terminating")
    counting = _uncounted(job, "succeeded") or _uncounted(job, "failed")
    return bool(suspended or emptied) and not (busy or counting)


def _completed(
    found: Status, intent: Intent, job: Json, stop: Stop | None, known: Status
) -> Status:
    """The status with what its pods don't tell any more, and with times in their order.

    A Job counts as failed what was deleted to stop it as well.
    """
    stopped = stop is not None or any(condition(job["status"], kind) for kind in _SETTLING[:2])
    failed = max(found.failed or 0, known.failed or 0, 0 if stopped else _count(job, "failed"))
    succeed = max(found.succeed or 0, known.succeed or 0, _count(job, "succeeded"))
    start, end = known.start_time or found.start_time, found.end_time
    if start is not None:  # the clocks of nodes differ
        start = max(start, intent.create_time)
    if end is not None:
        end = max(end, start or 0.0, intent.create_time)
    return replace(
        found,
        succeed=succeed or None,
        failed=failed or None,
        retries=min(failed, intent.max_retries),
        start_time=start,
        end_time=end,
    )


def _settled(job: Json) -> Stop | None:
    """The Job's own decision to end what still runs of it, once its outcome is settled."""
    found = (condition(job["status"], kind) for kind in _SETTLING)
    times = [_time(condition) for condition in found if condition is not None]
    return Stop(facts.SETTLED, min(times), 0.0) if times else None


def _count(job: Json, kind: str) -> int:
    """How many pods have ended so, with those that are noted but not counted yet (KEP-2307)."""
    return int(job["status"].get(kind) or 0) + _uncounted(job, kind)


def _uncounted(job: Json, kind: str) -> int:
    uids: Mapping[str, Sequence[str]] = job["status"].get("uncountedTerminatedPods") or {}
    return len(uids.get(kind) or ())


def _deletion_time(job: Json) -> float | None:
    return read_time(job["metadata"].get("deletionTimestamp"))


def _time(found: Json) -> float:
    return read_time(found.get("lastTransitionTime")) or 0.0
