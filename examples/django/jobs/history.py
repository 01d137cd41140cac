"""Changes of a job's state: the only place that writes them.

Whoever calls has locked the row in a transaction, so that row and event are stored together, and
so that the task and the watcher, which hear of the same things, take turns.
"""

from datetime import UTC, datetime

from django.db.models import QuerySet
from django.utils import timezone
from google.protobuf.timestamp_pb2 import Timestamp

from jobengine import JobStatus, reason_name, state_name
from jobs.models import PROGRESS, Job, JobEvent, State


def locked() -> QuerySet[Job]:
    """Rows that nobody else changes until this transaction ends."""
    # SQLite has no locks on rows; there, a transaction locks all from its beginning.
    return Job.objects.select_for_update(of=("self",))


def record_status(job: Job, uid: str, status: JobStatus) -> None:
    """Store what the service says of a job, if it is news.

    A state never goes back, and an end stays as it is: what comes late or twice changes nothing.
    A job is its uid: another one that got its name isn't this one.
    """
    state = State(state_name(status))
    if job.ended or job.uid not in ("", uid) or PROGRESS.get(state, 3) < PROGRESS[job.state]:
        return
    job.uid = uid
    job.exit_code = status.exit_code if status.HasField("exit_code") else None
    job.signal = status.signal or None
    job.start_time = _time(status.start_time)
    job.end_time = _time(status.end_time)
    times = {State.PENDING: _time(status.create_time), State.RUNNING: job.start_time}
    move(job, state, reason_name(status), status.message, times.get(state, job.end_time))


def move(
    job: Job, state: State, reason: str, message: str, happened_at: datetime | None = None
) -> None:
    """Store a job's state, and an event if it is another one than before."""
    changed = job.state != state
    job.state, job.reason, job.message = state, reason, message
    if job.ended and job.end_time is None:
        job.end_time = happened_at or timezone.now()
    job.save()
    if changed:
        JobEvent.objects.create(
            job=job,
            state=state,
            reason=reason,
            message=message,
            happened_at=happened_at or timezone.now(),
        )


def _time(time: Timestamp) -> datetime | None:
    return time.ToDatetime(tzinfo=UTC) if time.ListFields() else None  # unset is 1970
