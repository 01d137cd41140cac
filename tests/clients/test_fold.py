"""One story out of a watch of all jobs that was interrupted."""

import pytest

from jobengine import Job, JobReason, JobState, JobStatus, WatchEvent, WatchJobsResponse, _fold
from jobengine._fold import JobsFold

STATUS = WatchEvent.WATCH_EVENT_STATUS
DELETED = WatchEvent.WATCH_EVENT_DELETED
SYNCED = WatchEvent.WATCH_EVENT_SYNCED
RUNNING = JobState.JOB_STATE_RUNNING
SUCCEEDED = JobState.JOB_STATE_SUCCEEDED


def job(name: str, state: "JobState.ValueType" = RUNNING, uid: str = "") -> Job:
    return Job(name=name, uid=uid or f"uid-{name}", status=JobStatus(state=state))


def status(of: Job, cursor: str = "") -> WatchJobsResponse:
    return WatchJobsResponse(event=STATUS, job=of, cursor=cursor)


def deleted(of: Job, cursor: str = "") -> WatchJobsResponse:
    return WatchJobsResponse(event=DELETED, job=of, cursor=cursor)


def synced(cursor: str, *, full: bool) -> WatchJobsResponse:
    return WatchJobsResponse(event=SYNCED, cursor=cursor, full=full)


def folded(fold: JobsFold, *messages: WatchJobsResponse) -> list[WatchJobsResponse]:
    return [event for message in messages for event in fold.fold(message)]


def interrupted_after(*jobs: Job) -> JobsFold:
    fold = JobsFold("")
    folded(fold, *(status(one) for one in jobs), synced("c1", full=True))
    fold.begin()
    return fold


def test_first_list_is_told_as_it_is() -> None:
    messages = [status(job("a")), status(job("b")), synced("c1", full=True)]
    assert folded(JobsFold(""), *messages) == messages


def test_heartbeat_moves_the_cursor_and_tells_nothing() -> None:
    fold = JobsFold("")
    folded(fold, synced("c1", full=True))
    beat = WatchJobsResponse(event=WatchEvent.WATCH_EVENT_HEARTBEAT, cursor="c2")
    assert folded(fold, beat) == []
    assert fold.cursor == "c2"


def test_cursor_within_a_list_is_not_resumed_from() -> None:
    fold = JobsFold("before")
    folded(fold, status(job("a"), cursor="midst"))
    assert fold.cursor == "before"


def test_a_replica_that_lags_behind_takes_nothing_back() -> None:
    fold = interrupted_after(job("a"), job("b", SUCCEEDED))
    behind = [job("a", JobState.JOB_STATE_PENDING), job("b", RUNNING)]
    told = folded(fold, *map(status, behind), synced("c2", full=True))
    assert [message.event for message in told] == [SYNCED]
    assert folded(fold, status(job("b", RUNNING))) == []
    later = status(job("a", SUCCEEDED))
    assert folded(fold, later) == [later]


def test_unchanged_jobs_are_not_told_again() -> None:
    fold = interrupted_after(job("a"), job("b"))
    again = [status(job("a")), status(job("b", SUCCEEDED)), synced("c2", full=True)]
    assert folded(fold, *again) == [status(job("b", SUCCEEDED)), synced("c2", full=False)]


def test_job_that_vanished_is_lost() -> None:
    fold = interrupted_after(job("a"), job("b"))
    gone, sync = folded(fold, status(job("b")), synced("c2", full=True))
    assert (gone.event, gone.job.name, gone.job.uid) == (DELETED, "a", "uid-a")
    assert gone.job.status.state == JobState.JOB_STATE_LOST
    assert gone.job.status.reason == JobReason.JOB_REASON_DELETED
    assert sync.event == SYNCED


def test_job_that_vanished_after_its_end_keeps_its_end() -> None:
    fold = interrupted_after(job("a", SUCCEEDED))
    gone, _ = folded(fold, synced("c2", full=True))
    assert gone == deleted(job("a", SUCCEEDED))


def test_nothing_vanished_where_only_changes_were_sent() -> None:
    fold = interrupted_after(job("a"), job("b"))
    assert folded(fold, synced("c2", full=False)) == [synced("c2", full=False)]


def test_job_made_anew_ends_the_one_before() -> None:
    fold = interrupted_after(job("a", uid="1"))
    gone, new = folded(fold, status(job("a", uid="2")))
    assert (gone.event, gone.job.uid) == (DELETED, "1")
    assert new == status(job("a", uid="2"))
    assert folded(fold, deleted(job("a", uid="1"))) == []


def test_deletion_of_a_job_from_before_the_cursor_is_told() -> None:
    assert folded(JobsFold("c1"), deleted(job("a"))) == [deleted(job("a"))]


def test_a_full_list_after_a_beginning_from_a_cursor_is_full_for_the_caller() -> None:
    """Of what it has known from before the cursor only the caller can tell what is missing."""
    fold = JobsFold("c1")
    assert folded(fold, synced("c2", full=False)) == [synced("c2", full=False)]
    for full in (True, False):
        fold.begin()
        told = folded(fold, status(job("a")), synced("d1", full=True))
        assert told[-1] == synced("d1", full=full)


def test_a_job_deleted_while_the_list_is_sent_is_told_gone_once() -> None:
    """The list lacks it already, and its deletion comes after the list."""
    fold = interrupted_after(job("a", SUCCEEDED))
    told = folded(fold, synced("c2", full=True), deleted(job("a", SUCCEEDED), cursor="c3"))
    assert [event.event for event in told] == [DELETED, SYNCED]
    assert fold.cursor == "c3"


def test_a_deletion_is_told_once_though_the_resumed_call_is_cut_short() -> None:
    """The next call begins where that one began, and tells it again."""
    fold = interrupted_after(job("a", SUCCEEDED))
    gone = deleted(job("a", SUCCEEDED), cursor="c2")
    assert folded(fold, gone) == [gone]
    for _ in range(2):
        fold.begin()
        assert folded(fold, gone) == []
    assert folded(fold, synced("c2", full=False)) == [synced("c2", full=False)]


def test_a_job_deleted_while_the_list_is_sent_is_told_gone_once_over_two_calls() -> None:
    """The list lacks it already; its deletion is told by the call that goes on from its SYNCED."""
    fold = interrupted_after(job("a"))
    told = folded(fold, synced("c2", full=True))
    assert [event.event for event in told] == [DELETED, SYNCED]
    fold.begin()
    again = [deleted(job("a", SUCCEEDED), cursor="c3"), synced("c3", full=False)]
    assert folded(fold, *again) == [synced("c3", full=False)]


def test_what_is_gone_stays_so_though_a_replica_has_not_heard_of_it() -> None:
    fold = interrupted_after(job("a"), job("b"))
    folded(fold, synced("c2", full=False), deleted(job("a", SUCCEEDED), cursor="c3"))
    fold.begin()
    behind = [status(job("a")), status(job("b")), synced("d1", full=True)]
    assert folded(fold, *behind) == [synced("d1", full=False)]
    assert folded(fold, deleted(job("a", SUCCEEDED), cursor="d2")) == []


def test_only_so_many_deletions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fold, "MAX_REMEMBERED_DELETIONS", 2)
    fold = interrupted_after()
    gone = [deleted(job(name)) for name in "abc"]
    assert folded(fold, *gone, *gone[1:]) == gone
    assert folded(fold, gone[0]) == gone[:1]
