"""Says how a job is doing, from what is known of it alone."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from engines.base import Reason, State, Status
from engines.lifecycle import facts
from engines.lifecycle.facts import Attempt, End, Intent, Key, Stop, key_of

A = TypeVar("A", bound=Attempt)

_STOPS = {
    facts.CANCELLED: (State.CANCELLED, Reason.CANCELLED, "cancelled"),
    facts.DELETED: (State.CANCELLED, Reason.DELETED, "deleted while it was running"),
    facts.START_TIMEOUT: (
        State.FAILED,
        Reason.START_TIMEOUT,
        "it didn't start within its start_timeout",
    ),
    facts.DEADLINE: (State.FAILED, Reason.DEADLINE_EXCEEDED, "its timeout ran out"),
    facts.PULL_FAILED: (State.FAILED, Reason.IMAGE_PULL_FAILED, "its image can't be had"),
}


class Progress(Generic[A]):
    """What a job's attempts come to. The order in which they are added makes no difference."""

    def __init__(self, attempts: Iterable[A] = ()) -> None:
        self.active: dict[Key, float | None] = {}  # with their start times
        self.succeeded: set[int] = set()
        self.failures: list[A] = []
        self.last_success: A | None = None
        self._first_start: float | None = None
        self.last_end: float | None = None
        for attempt in attempts:
            self.add(attempt)

    def add(self, attempt: A) -> None:
        """Take in an attempt that has started, or again once it has ended."""
        key, end = key_of(attempt), attempt.end
        if end is None:
            self.active[key] = attempt.start_time
            return
        self.active.pop(key, None)
        if end.reason == facts.NEVER_RAN:
            return
        self._first_start = _first((self._first_start, attempt.start_time))
        self.last_end = max(self.last_end or 0.0, end.time)
        if end.reason == facts.EXITED and end.code == 0:
            self.succeeded.add(attempt.instance)
            if self.last_success is None or _order(attempt) > _order(self.last_success):
                self.last_success = attempt
        elif end.reason != facts.STOPPED:
            self.failures.append(attempt)

    @property
    def first_start(self) -> float | None:
        """When the first attempt started of those that run or ran.

        One that was claimed as the job was stopped looks as if it ran, until it says that it
        never did: then it doesn't count, as if only that had been seen of it.
        """
        return _first((self._first_start, *self.active.values()))

    def decisive(self, max_retries: int) -> A | None:
        """The failure that settled the job's outcome, if one has."""
        if len(self.failures) <= max_retries and all(map(_retriable, self.failures)):
            return None
        ordered = sorted(self.failures, key=_order)
        for count, attempt in enumerate(ordered, 1):
            if count > max_retries or not _retriable(attempt):
                return attempt
        return None


def _first(times: Iterable[float | None]) -> float | None:
    return min((time for time in times if time), default=None)


def _order(attempt: Attempt) -> tuple[float, int, int]:
    return (attempt.end.time if attempt.end else 0.0, attempt.instance, attempt.attempt)


def _retriable(attempt: Attempt) -> bool:
    return attempt.end is None or attempt.end.reason not in _FINAL


_FINAL = (facts.LOST, facts.NODE_LOST, facts.TIMED_OUT, facts.WITHDRAWN)
"""After these nothing is run again: it may run still, or nobody wants it to."""


def status(
    intent: Intent,
    progress: Progress[A],
    stop: Stop | None,
    waiting: str = "",
    waiting_reason: Reason = Reason.NONE,
) -> Status:
    """The job's status. Terminal only once nothing of it runs any more.

    `waiting` is the message while nothing has started yet, and `waiting_reason` the reason.
    """
    decisive = progress.decisive(intent.max_retries)
    state, reason, message = State.RUNNING, Reason.NONE, ""
    deciding: End | None = None
    if len(progress.succeeded) >= intent.completions:
        deciding = progress.last_success.end if progress.last_success else None
        state, reason = State.SUCCEEDED, Reason.COMPLETED
    elif progress.active:
        pass
    elif decisive is not None and decisive.end is not None and _stands(decisive.end, stop):
        deciding = decisive.end
        state, reason, message = _failure(decisive, deciding)
    elif stop is not None and stop.reason in _STOPS:
        state, reason, message = _STOPS[stop.reason]
        message = stop.message or message
    elif progress.first_start is None:
        state, reason, message = State.PENDING, waiting_reason, waiting
    ended = (progress.last_end, stop.time if stop and reason in _STOP_REASONS else None)
    return Status(
        active=len(progress.active) or None,
        succeed=len(progress.succeeded) or None,
        failed=len(progress.failures) or None,
        state=state,
        reason=reason,
        message=message,
        exit_code=deciding.code if deciding else None,
        signal=deciding.signal if deciding else 0,
        create_time=intent.create_time,
        start_time=progress.first_start,
        end_time=max((t for t in ended if t), default=None) if state.terminal else None,
        retries=min(sum(map(_retriable, progress.failures)), intent.max_retries),
    )


_STOP_REASONS = {reason for _, reason, _ in _STOPS.values()}


def _stands(failure: End, stop: Stop | None) -> bool:
    """Whether a failure decides, because nobody had stopped the job before."""
    return stop is None or stop.reason not in _STOPS or failure.time <= stop.time


def _failure(attempt: Attempt, end: End) -> tuple[State, Reason, str]:
    where = f"instance {attempt.instance}"
    if end.reason in _ENDS:
        state, reason, words = _ENDS[end.reason]
        return state, reason, end.message or words.format(where)
    if end.reason == facts.START_FAILED:
        return State.FAILED, Reason.START_FAILED, f"{where} could not be started: {end.message}"
    if end.oom:
        message = f"{where} used more memory than spec.resources.memory_bytes"
        return State.FAILED, Reason.OOM_KILLED, end.message or message
    if end.signal:
        message = f"{where} was ended by signal {end.signal}"
        return State.FAILED, Reason.SIGNALLED, message
    return State.FAILED, Reason.NON_ZERO_EXIT, f"{where} exited with code {end.code}"


_ENDS = {
    facts.LOST: (
        State.LOST,
        Reason.UNKNOWN,
        "the process that looked after {} is gone, and with it how that ended",
    ),
    facts.NODE_LOST: (State.LOST, Reason.NODE_LOST, "the machine under {} is gone"),
    facts.WITHDRAWN: (State.CANCELLED, Reason.CANCELLED, "{} was cancelled by somebody else"),
    facts.EVICTED: (State.FAILED, Reason.EVICTED, "{} lost its place"),
    facts.TIMED_OUT: (State.FAILED, Reason.DEADLINE_EXCEEDED, "its timeout ran out"),
}
"""By how an attempt ended: what that is for the job, and the words where the end has none."""
