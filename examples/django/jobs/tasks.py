"""The calls to the service. Each may be made twice, or be cut off anywhere, and does no harm."""

from __future__ import annotations  # Celery's Task is generic for type checkers only

from typing import Any

from celery import Task, shared_task
from django.db import OperationalError, transaction
from django.utils import timezone

from jobengine import errors
from jobs import history
from jobs.models import Job, State
from jobs.service import client, spec_of

OPTIONS: dict[str, Any] = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "autoretry_for": (
        errors.Unavailable,
        errors.LimitReached,
        errors.DeadlineExceeded,
        errors.EngineFailed,
        OperationalError,
    ),
    "max_retries": 5,
    "retry_backoff": 1,
    "retry_backoff_max": 30,
    "retry_jitter": True,
}
"""A task that its worker doesn't finish is delivered again. Retries take some 30 s altogether;
after that the sweep comes back to it, as long as it takes."""

REFUSALS = (
    errors.InvalidRequest,
    errors.JobAlreadyExists,
    errors.PermissionDenied,
    errors.Unsupported,
)
"""What would be answered the same way next time."""


@shared_task(**OPTIONS)
def create_job(pk: int) -> None:
    """Start a job at the service, unless that is done or no longer wanted."""
    job = _claim(pk)
    if job is None:
        return
    try:
        created = client().create_job(spec_of(job), name=job.name, request_id=str(job.request_id))
    except REFUSALS as refusal:
        _refuse(pk, refusal)
        return
    # Killed here, the task comes again, and the same call finds the same job.
    with transaction.atomic():
        job = history.locked().get(pk=pk)
        history.record_status(job, created.uid, created.status)
        if job.cancel_requested:
            send_after_commit(cancel_job, job)


@shared_task(**OPTIONS)
def cancel_job(pk: int) -> None:
    """Stop a job at the service."""
    job = Job.objects.get(pk=pk)
    if job.ended:
        return
    try:
        status = client().cancel_job(job.name, uid=job.uid)
    except (errors.JobNotFound, errors.UidMismatch):
        return  # it is gone, and how it ended is for the watcher to tell
    with transaction.atomic():
        history.record_status(history.locked().get(pk=pk), job.uid, status)


def send_after_commit(task: Task[[int], None], job: Job) -> None:
    """Send a task once the transaction's rows can be read by it.

    A broker that is away is logged and no error: the row is stored, and the sweep sends again.
    """
    transaction.on_commit(lambda: task.delay(job.pk), robust=True)


@transaction.atomic
def _claim(pk: int) -> Job | None:
    """The row, if it is still to be started; noted before the call that it was tried."""
    job = history.locked().filter(pk=pk, state=State.QUEUED).first()
    if job is not None and job.attempted_at is None:
        job.attempted_at = timezone.now()
        job.save(update_fields=["attempted_at"])
    return job


@transaction.atomic
def _refuse(pk: int, refusal: errors.JobEngineError) -> None:
    job = history.locked().get(pk=pk)
    if job.state == State.QUEUED:
        job.violations = [list(violation) for violation in refusal.violations]
        history.move(job, State.REFUSED, refusal.reason, str(refusal))
