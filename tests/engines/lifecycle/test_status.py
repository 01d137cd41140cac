"""The status as a function of the records."""

import itertools

import pytest

from engines.base import Reason, State
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Intent, Stop
from engines.lifecycle.status import Progress, status
from engines.local.record import Attempt


def intent(completions: int = 1, max_retries: int = 0) -> Intent:
    return Intent(
        "job", "uid", "", "", 1.0, {}, completions, completions, max_retries, None, None, None
    )


def ran(
    instance: int = 0,
    attempt: int = 0,
    reason: str = facts.EXITED,
    time: float = 20.0,
    **end: object,
) -> Attempt:
    return Attempt(instance, attempt, 10.0, 1, 2, End(reason, time, **end))  # type: ignore[arg-type]


def runs(instance: int = 0, attempt: int = 0) -> Attempt:
    return Attempt(instance, attempt, 10.0, 1, 2)


OK = ran(code=0)
THREE = ran(code=3)
CANCEL = Stop(facts.CANCELLED, 15.0, 1.0)

TABLE = [
    ("nothing yet", intent(), [], None, State.PENDING, Reason.NONE),
    ("running", intent(), [runs()], None, State.RUNNING, Reason.NONE),
    ("success", intent(), [OK], None, State.SUCCEEDED, Reason.COMPLETED),
    ("exit code", intent(), [THREE], None, State.FAILED, Reason.NON_ZERO_EXIT),
    ("signal", intent(), [ran(signal=9)], None, State.FAILED, Reason.SIGNALLED),
    ("memory", intent(), [ran(signal=9, oom=True)], None, State.FAILED, Reason.OOM_KILLED),
    (
        "no program",
        intent(),
        [ran(reason=facts.START_FAILED)],
        None,
        State.FAILED,
        Reason.START_FAILED,
    ),
    (
        "timeout",
        intent(),
        [ran(reason=facts.TIMED_OUT, code=0)],
        None,
        State.FAILED,
        Reason.DEADLINE_EXCEEDED,
    ),
    (
        "timeout isn't retried",
        intent(1, 5),
        [ran(reason=facts.TIMED_OUT)],
        None,
        State.FAILED,
        Reason.DEADLINE_EXCEEDED,
    ),
    ("lost", intent(), [ran(reason=facts.LOST)], None, State.LOST, Reason.UNKNOWN),
    (
        "lost isn't retried",
        intent(1, 5),
        [ran(reason=facts.LOST)],
        None,
        State.LOST,
        Reason.UNKNOWN,
    ),
    (
        "node lost isn't retried",
        intent(1, 5),
        [ran(reason=facts.NODE_LOST)],
        None,
        State.LOST,
        Reason.NODE_LOST,
    ),
    (
        "cancelled elsewhere isn't retried",
        intent(1, 5),
        [ran(reason=facts.WITHDRAWN)],
        None,
        State.CANCELLED,
        Reason.CANCELLED,
    ),
    ("evicted", intent(), [ran(reason=facts.EVICTED)], None, State.FAILED, Reason.EVICTED),
    (
        "evicted is retried",
        intent(1, 1),
        [ran(reason=facts.EVICTED)],
        None,
        State.RUNNING,
        Reason.NONE,
    ),
    ("retry to come", intent(1, 1), [THREE], None, State.RUNNING, Reason.NONE),
    (
        "retry ran out",
        intent(1, 1),
        [THREE, ran(0, 1, code=4)],
        None,
        State.FAILED,
        Reason.NON_ZERO_EXIT,
    ),
    (
        "retry did it",
        intent(1, 1),
        [THREE, ran(0, 1, code=0)],
        None,
        State.SUCCEEDED,
        Reason.COMPLETED,
    ),
    ("one of two", intent(2), [OK], None, State.RUNNING, Reason.NONE),
    ("both", intent(2), [OK, ran(1, code=0)], None, State.SUCCEEDED, Reason.COMPLETED),
    ("failed, other runs", intent(2), [THREE, runs(1)], None, State.RUNNING, Reason.NONE),
    (
        "failed, other stopped",
        intent(2),
        [THREE, ran(1, reason=facts.STOPPED)],
        Stop(facts.SETTLED, 15.0, 1.0),
        State.FAILED,
        Reason.NON_ZERO_EXIT,
    ),
    ("cancelled before it ran", intent(), [], CANCEL, State.CANCELLED, Reason.CANCELLED),
    ("cancelled, still running", intent(), [runs()], CANCEL, State.RUNNING, Reason.NONE),
    (
        "cancelled",
        intent(),
        [ran(reason=facts.STOPPED, signal=15)],
        CANCEL,
        State.CANCELLED,
        Reason.CANCELLED,
    ),
    ("cancelled too late", intent(), [OK], CANCEL, State.SUCCEEDED, Reason.COMPLETED),
    (
        "cancelled after it failed",
        intent(),
        [ran(code=3, time=12.0)],
        CANCEL,
        State.FAILED,
        Reason.NON_ZERO_EXIT,
    ),
    ("cancelled while failing", intent(), [THREE], CANCEL, State.CANCELLED, Reason.CANCELLED),
    (
        "claimed after the stop",
        intent(),
        [ran(reason=facts.NEVER_RAN)],
        CANCEL,
        State.CANCELLED,
        Reason.CANCELLED,
    ),
    ("deleted", intent(), [], Stop(facts.DELETED, 15.0, 1.0), State.CANCELLED, Reason.DELETED),
    (
        "no place",
        intent(),
        [],
        Stop(facts.START_TIMEOUT, 15.0, 1.0),
        State.FAILED,
        Reason.START_TIMEOUT,
    ),
    (
        "between retries",
        intent(1, 9),
        [THREE],
        Stop(facts.DEADLINE, 15.0, 1.0),
        State.FAILED,
        Reason.DEADLINE_EXCEEDED,
    ),
]


@pytest.mark.parametrize(
    ("wanted", "attempts", "stop", "state", "reason"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_state_and_reason(
    wanted: Intent, attempts: list[Attempt], stop: Stop | None, state: State, reason: Reason
) -> None:
    results = {status(wanted, Progress(order), stop) for order in itertools.permutations(attempts)}
    assert len(results) == 1
    found = results.pop()
    assert (found.state, found.reason) == (state, reason)
    assert (found.end_time is not None) == found.state.terminal
    assert 0 not in (found.active, found.succeed, found.failed)


def test_counts_and_times() -> None:
    attempts = [ran(0, 0, code=3), ran(1, 0, code=0, time=30.0), runs(0, 1), runs(2)]
    found = status(intent(4, 2), Progress(attempts), None)
    assert (found.active, found.succeed, found.failed, found.retries) == (2, 1, 1, 1)
    assert (found.create_time, found.start_time, found.end_time) == (1.0, 10.0, None)


def test_the_first_failure_for_good_decides() -> None:
    attempts = [ran(1, code=5, time=21.0), ran(0, code=4, time=20.0), ran(2, code=6, time=22.0)]
    assert status(intent(3, 1), Progress(attempts), None).exit_code == 5


def test_the_last_success_gives_the_exit_code() -> None:
    found = status(intent(2), Progress([ran(0, code=0), ran(1, code=0)]), None)
    assert (found.exit_code, found.end_time) == (0, 20.0)


def test_an_attempt_is_counted_once_when_it_ends() -> None:
    progress = Progress([runs()])
    progress.add(OK)
    assert status(intent(), progress, None).active is None


def test_a_claim_that_was_seen_before_it_came_to_nothing_leaves_no_trace() -> None:
    """Else the next server, which sees only what came of it, would tell another end."""
    claimed = Progress([runs()])
    assert claimed.first_start == 10.0
    never = ran(reason=facts.NEVER_RAN)
    claimed.add(never)
    assert status(intent(), claimed, CANCEL) == status(intent(), Progress([never]), CANCEL)


def test_why_it_waits_is_told_until_it_starts() -> None:
    words = ("no node has that", Reason.UNSCHEDULABLE)
    waits = status(intent(), Progress(), None, *words)
    assert (waits.state, waits.message, waits.reason) == (State.PENDING, *words)
    starts = status(intent(), Progress([runs()]), None, *words)
    assert (starts.state, starts.message, starts.reason) == (State.RUNNING, "", Reason.NONE)


@pytest.mark.parametrize(
    "reason", [facts.NODE_LOST, facts.WITHDRAWN, facts.EVICTED, facts.TIMED_OUT, facts.LOST]
)
def test_an_end_may_bring_its_own_words(reason: str) -> None:
    assert status(intent(), Progress([ran(reason=reason)]), None).message
    said = ran(reason=reason, message="so it was")
    assert status(intent(), Progress([said]), None).message == "so it was"
