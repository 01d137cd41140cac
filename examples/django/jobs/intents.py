"""What users want: stored first, then handed to a task. Should the task get lost, the row stays."""

from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from jobs import history, tasks
from jobs.models import Job, JobEvent, State


@transaction.atomic
def submit(command: list[str], image: str = "", owner_id: int | None = None) -> Job:
    """Have a job run. Returns its row, which is stored before anything is started."""
    request_id = uuid4()
    job = Job.objects.create(
        name=f"web-{request_id.hex[:16]}",
        request_id=request_id,
        command=command,
        image=image,
        owner_id=owner_id,
    )
    JobEvent.objects.create(job=job, state=State.QUEUED, happened_at=job.created_at)
    tasks.send_after_commit(tasks.create_job, job)
    return job


@transaction.atomic
def cancel(job: Job) -> None:
    """Have a job stopped, whether or not the service has it yet."""
    job = history.locked().get(pk=job.pk)
    if job.ended:
        return
    if job.attempted_at is None:
        # Nobody called the service, and after this nobody will: see tasks.create_job.
        history.move(job, State.CANCELLED, "CANCELLED", "Cancelled before it was started")
        return
    job.cancel_requested = True
    job.sent_at = timezone.now()
    job.save(update_fields=["cancel_requested", "sent_at"])
    if job.uid:
        tasks.send_after_commit(tasks.cancel_job, job)
