"""Makes a Status of the three counts that are all that a plain engine tells."""

from dataclasses import replace
from typing import Final

from engines.base import Reason, State, Status
from engines.errors import EngineFailed
from jobengine.v1.job_pb2 import JobSpec

MAX_COUNT: Final = 2**31 - 1
"""What the counts' type on the wire holds."""


def next_status(
    before: Status, told: object, spec: JobSpec | None, *, retries: int, now: float
) -> Status:
    """The status after `before`, when the engine tells this.

    `told` is a Status, or anything with `active`, `succeed` and `failed`. A job has
    succeeded when as many instances have as its spec wants, has failed when more than
    `retries` did and none is active, and never goes back. Without exit codes the reason of a
    failure is UNKNOWN. A Status that says by itself that the job has ended is taken at its
    word.

    Raises:
        EngineFailed: `told` is nonsense; the message says what.
    """
    if before.state.terminal:
        return before
    after = replace(
        before,
        active=_count(told, "active"),
        succeed=_count(told, "succeed"),
        failed=_count(told, "failed"),
    )
    if isinstance(told, Status) and told.state.terminal:
        after = replace(
            after,
            state=told.state,
            reason=told.reason or Reason.UNKNOWN,
            message=told.message,
            exit_code=told.exit_code,
            signal=told.signal,
        )
    else:
        after = replace(after, state=_state(after, spec, retries))
        if after.state is State.SUCCEEDED:
            after = replace(after, reason=Reason.COMPLETED)
        elif after.state is State.FAILED:
            message = f"{after.failed} failed; the engine doesn't tell exit codes"
            after = replace(after, reason=Reason.UNKNOWN, message=message)
    started = after.state is not State.PENDING
    return replace(
        after,
        active=None if after.state.terminal else after.active,
        start_time=before.start_time or (now if started else None),
        end_time=now if after.state.terminal else None,
    )


def deleted_status(before: Status, *, now: float) -> Status:
    """The last status of a job that was deleted."""
    if before.state.terminal:
        return before
    return replace(before, active=None, state=State.CANCELLED, reason=Reason.DELETED, end_time=now)


def _state(status: Status, spec: JobSpec | None, retries: int) -> State:
    """The state that these counts mean, where that of `status` was the one before."""
    wanted = max(1, spec.completions) if spec is not None else 1
    if (status.succeed or 0) >= wanted and (spec is not None or not status.active):
        return State.SUCCEEDED
    if (status.failed or 0) > retries and not status.active:
        return State.FAILED
    if status.active or status.succeed or status.failed:
        return State.RUNNING
    return status.state


def _count(told: object, field: str) -> int | None:
    try:
        count: object = getattr(told, field)
    except AttributeError:
        raise EngineFailed(f"a {type(told).__name__} without {field!r} is no status") from None
    if count is None:
        return None
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_COUNT:
        raise EngineFailed(f"the status has {field}={count!r}: no positive number or None")
    return count or None
