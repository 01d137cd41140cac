"""Each check finds nothing in a good history, and what is wrong in a bad one."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from jobengine import Job, JobState, JobStatus
from tests.history.check import problems
from tests.history.record import DELETED, STATUS, SYNCED, End, History, Life, Told, Watch

PENDING = JobStatus(state=JobState.JOB_STATE_PENDING)
RUNNING = JobStatus(state=JobState.JOB_STATE_RUNNING, active=1, succeed=1)
STARTED = JobStatus(state=RUNNING.state, succeed=1, start_time=Timestamp(seconds=5))
SUCCEEDED = JobStatus(state=JobState.JOB_STATE_SUCCEEDED, exit_code=0, succeed=2)
FAILED = JobStatus(state=JobState.JOB_STATE_FAILED, exit_code=3, succeed=2)
CANCELLED = JobStatus(state=JobState.JOB_STATE_CANCELLED, succeed=2)
LOST = JobStatus(state=JobState.JOB_STATE_LOST, succeed=2)

ENDS = frozenset({(JobState.JOB_STATE_SUCCEEDED, 0), (JobState.JOB_STATE_FAILED, 3)})
"""Of most jobs here, so that what a job may not have done is told apart from what it did."""

LIVES = {
    "1": Life("stays", "1", ENDS),
    "2": Life("goes", "2", ENDS, may_be_cancelled=True, may_go=True),
    "3": Life("goes", "3", frozenset({(JobState.JOB_STATE_SUCCEEDED, 0)}), may_go=True),
}
LISTED = {"": {"stays": Job(name="stays", uid="1", status=SUCCEEDED)}, "x=y": {}}
CURSORS = "a cursor"


def tell(uid: str, status: JobStatus, event: int = STATUS, cursor: str = CURSORS) -> Told:
    return Told(event, LIVES[uid].name if uid in LIVES else "who", uid, status, cursor)


def gone(uid: str, status: JobStatus = CANCELLED, cursor: str = CURSORS) -> Told:
    return tell(uid, status, DELETED, cursor)


def synced(*, full: bool = True) -> Told:
    return Told(SYNCED, cursor=CURSORS, full=full)


def of_one(*told: Told, name: str = "stays", end: End = End.OK, raw: bool = False) -> Watch:
    return Watch(name, raw=raw, told=list(told), end=end)


def of_all(*told: Told, raw: bool = False, selector: str = "", end: End = End.OPEN) -> Watch:
    return Watch(selector=selector, raw=raw, told=list(told), end=end)


def history(
    *watches: Watch,
    lives: Mapping[str, Life] = LIVES,
    listed: Mapping[str, Mapping[str, Job]] = LISTED,
) -> History:
    return History(list(watches), lives, listed)


END = tell("1", SUCCEEDED)
LISTING = tell("1", SUCCEEDED, cursor="")

GOOD: Mapping[str, Watch] = {
    "a change while the list was sent comes again": of_all(
        replace(LISTING, order=1),
        replace(synced(), order=2),
        replace(END, call=2, order=3),
        replace(synced(full=False), call=2, order=4),
        raw=True,
    ),
    "all statuses": of_one(tell("1", PENDING), tell("1", RUNNING), END),
    "only the end": of_one(END),
    "deleted": of_one(tell("2", RUNNING), gone("2"), name="goes"),
    "deleted after its end": of_one(gone("2", SUCCEEDED), name="goes"),
    "gone before the watch began": of_one(name="goes", end=End.GONE),
    "gone meanwhile": of_one(tell("2", RUNNING), name="goes", end=End.GONE),
    "all jobs": of_all(synced(), tell("1", PENDING), tell("1", RUNNING), END),
    "a name's next job": of_all(
        tell("2", PENDING), synced(), gone("2"), tell("3", SUCCEEDED), gone("3", SUCCEEDED), END
    ),
    "vanished while the client was away": of_all(
        synced(), tell("2", RUNNING), gone("2", LOST), END
    ),
    "none that match": of_all(synced(), selector="x=y"),
    "a raw watcher's second full list": of_all(
        LISTING,
        tell("2", RUNNING, cursor=""),
        synced(),
        replace(LISTING, call=2),
        replace(synced(), call=2),
        raw=True,
    ),
    "a raw watcher's list that was cut": of_all(
        LISTING, replace(LISTING, call=2), replace(synced(), call=2), raw=True
    ),
    "raw: a deletion told in a list, and by the call that goes on from that": of_all(
        LISTING, gone("2", cursor=""), synced(), gone("2"), synced(full=False), raw=True
    ),
}


BAD: Mapping[str, tuple[Watch, str]] = {
    "a state goes back": (
        of_one(tell("1", RUNNING), tell("1", PENDING), END),
        "went back in its state",
    ),
    "a count goes back": (
        of_one(tell("1", RUNNING), tell("1", JobStatus(state=RUNNING.state)), END),
        "went back in succeed",
    ),
    "a start is taken back": (
        of_one(tell("1", STARTED), tell("1", RUNNING), END),
        "went back in start_time",
    ),
    "an end changes": (of_all(synced(), tell("1", FAILED), END), "ended in several ways"),
    "an end is changed by the deletion": (
        of_all(synced(), END, tell("2", FAILED), gone("2", SUCCEEDED)),
        "ended in several ways",
    ),
    "an end is taken back": (of_all(synced(), END, tell("1", RUNNING), END), "went back"),
    "a repeat": (of_one(tell("1", RUNNING), tell("1", RUNNING), END), "twice in a row"),
    "a raw repeat": (
        of_all(
            replace(LISTING, order=1),
            replace(synced(), order=2),
            replace(LISTING, call=2, order=3),
            replace(synced(), call=2, order=4),
            replace(END, call=3, order=5),
            replace(synced(full=False), call=3, order=6),
            raw=True,
        ),
        "twice in a row",
    ),
    "a deletion told twice": (
        of_all(synced(), END, tell("2", RUNNING), gone("2"), gone("2")),
        "twice in a row",
    ),
    "an end it never had": (of_one(tell("3", FAILED), name="goes"), "never ended like this"),
    "a cancellation nobody asked for": (of_one(tell("1", CANCELLED)), "never ended like this"),
    "another exit code": (
        of_one(tell("1", JobStatus(state=FAILED.state, exit_code=4))),
        "never ended like this",
    ),
    "called LOST by the server": (
        of_one(gone("2", LOST), name="goes", raw=True),
        "never ended like",
    ),
    "called LOST though it is there": (of_one(tell("1", LOST)), "never ended like this"),
    "a job nobody made": (of_one(tell("9", SUCCEEDED)), "nobody made 9"),
    "deleted without an end": (of_one(gone("2", RUNNING), name="goes"), "deleted without an end"),
    "deleted by nobody": (of_one(gone("1", SUCCEEDED)), "nobody had asked for"),
    "two jobs in one watch": (
        of_one(tell("2", RUNNING), tell("3", SUCCEEDED), name="goes"),
        "told of several jobs",
    ),
    "news after the end": (of_one(END, gone("1", SUCCEEDED)), "after the end"),
    "two ends": (of_one(END, END), "with 2 ends"),
    "no end": (of_one(tell("1", RUNNING)), "with 0 ends"),
    "never over": (of_one(tell("1", RUNNING), end=End.OPEN), "with 0 ends"),
    "an end, and still open": (of_one(END, end=End.OPEN), "went on after the end"),
    "not found though it is there": (of_one(end=End.GONE), "with 0 ends"),
    "no list": (of_all(END), "never told a full list"),
    "its first list isn't full": (of_all(END, synced(full=False)), "never told a full list"),
    "a watch of all jobs that ends": (of_all(LISTING, synced(), end=End.OK), "it ended"),
    "a job that isn't told": (of_all(synced()), "the list says SUCCEEDED"),
    "a job that isn't seen to its end": (of_all(synced(), tell("1", RUNNING)), "sees"),
    "no end for a watcher of all": (of_all(synced(), tell("1", RUNNING)), "was told 0 times"),
    "an end told twice": (of_all(END, synced(), END), "the end of stays was told 2 times"),
    "a job that doesn't match": (of_all(synced(), END, selector="x=y"), "list says nothing"),
    "a deletion that isn't told": (
        of_all(synced(), END, tell("2", RUNNING)),
        "was told so 0 times",
    ),
    "a raw watcher's job that is left over": (
        of_all(LISTING, tell("2", RUNNING, cursor=""), synced(), raw=True),
        "list says nothing",
    ),
    "back after the deletion": (
        of_all(synced(), END, gone("2"), tell("2", CANCELLED), gone("2")),
        "came back",
    ),
    "raw: a deletion told twice after the list": (
        of_all(LISTING, synced(), gone("2"), gone("2"), raw=True),
        "told twice in a row",
    ),
    "raw: back after the deletion": (
        of_all(synced(), END, gone("2"), tell("2", CANCELLED), raw=True),
        "came back",
    ),
    "two jobs of one name": (
        of_all(
            synced(), END, tell("2", PENDING), tell("3", PENDING), gone("2"), gone("3", SUCCEEDED)
        ),
        "before 2 is gone",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    assert problems(history(GOOD[name])) == []


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    watch, expected = BAD[name]
    assert any(expected in problem for problem in problems(history(watch)))


def test_watchers_that_were_told_different_ends() -> None:
    ends = frozenset({(JobState.JOB_STATE_FAILED, 3), (JobState.JOB_STATE_SUCCEEDED, 0)})
    lives = {**LIVES, "1": Life("stays", "1", ends)}
    found = problems(history(of_one(END), of_one(tell("1", FAILED)), lives=lives))
    assert any("ended as" in problem for problem in found)


def test_a_job_that_is_missing_in_the_end() -> None:
    found = problems(history(listed={"": {}, "x=y": {}}))
    assert found == ["stays 1 isn't listed, and nobody deleted it"]


def test_every_check_fails_for_some_bad_history() -> None:
    """Of those above, each is needed: without its check, somebody finds less."""
    from tests.history import check

    every: set[Callable[..., object]] = {*check._OF_ONE, *check._OF_MANY}
    failed = {
        each
        for watch, expected in BAD.values()
        for each in (check._OF_ONE if watch.name else check._OF_MANY)
        if any(expected in problem for problem in each(history(watch), watch))
    }
    assert failed == every
