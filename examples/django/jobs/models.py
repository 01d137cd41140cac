"""What this application knows of its jobs. The service has the truth; here is the copy to query."""

import shlex

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse


class State(models.TextChoices):
    """Where a job is: the service's states, and two of our own for what hasn't got there."""

    QUEUED = "QUEUED", "Queued"
    REFUSED = "REFUSED", "Refused"
    PENDING = "PENDING", "Pending"
    RUNNING = "RUNNING", "Running"
    SUCCEEDED = "SUCCEEDED", "Succeeded"
    FAILED = "FAILED", "Failed"
    CANCELLED = "CANCELLED", "Cancelled"
    LOST = "LOST", "Lost"


PROGRESS: dict[str, int] = {State.QUEUED: 0, State.PENDING: 1, State.RUNNING: 2}
"""How far a job is. States only move forward; those that aren't here are ends."""
ENDS = sorted(set(State) - PROGRESS.keys())


class Job(models.Model):
    """A command or container to run, and how that goes.

    The name and the request id are made with the row, before the service is called: the call may
    then be repeated by anybody, at any time, and starts one job.
    """

    name = models.CharField(max_length=63, unique=True, editable=False)
    request_id = models.UUIDField(unique=True, editable=False)
    uid = models.CharField(max_length=100, blank=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True)
    image = models.CharField(max_length=500, blank=True)
    command = models.JSONField(default=list)

    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    reason = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    signal = models.PositiveIntegerField(null=True, blank=True)
    violations = models.JSONField(default=list, blank=True)
    """Why the service refused it: pairs of a field and what to do about it."""
    cancel_requested = models.BooleanField(default=False)

    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(auto_now_add=True)
    """When a task was last sent for it; the sweep goes by that."""
    attempted_at = models.DateTimeField(null=True, blank=True)
    """When the service was first called. Before that, nobody but us knows of the job."""
    start_time = models.DateTimeField(null=True, blank=True)
    end_time = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    """When we learned that the service has forgotten it, and its logs."""

    class Meta:
        """The rows that are looked for all the time are few: those that haven't ended."""

        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["uid"], condition=~Q(uid=""), name="job_uid_unique"),
        ]
        indexes = [
            models.Index(fields=["sent_at"], condition=~Q(state__in=ENDS), name="job_unfinished"),
            models.Index(fields=["uid"], condition=Q(removed_at=None), name="job_at_the_service"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """The job's page."""
        return reverse("jobs:detail", args=[self.pk])

    @property
    def command_line(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.command) or self.image

    @property
    def result(self) -> str:
        """How it ended, in a word or two."""
        if self.exit_code is not None:
            return f"exit code {self.exit_code}"
        if self.signal:
            return f"signal {self.signal}"
        return self.reason.replace("_", " ").lower() if self.ended else ""

    @property
    def seconds(self) -> float | None:
        """How long it ran, once that is over."""
        if self.start_time is None or self.end_time is None:
            return None
        return (self.end_time - self.start_time).total_seconds()

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state in ENDS


class JobEvent(models.Model):
    """A change of a job's state. One for each state that a job was seen in, and one end."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="events")
    state = models.CharField(max_length=9, choices=State)
    reason = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)
    happened_at = models.DateTimeField()
    """By the service's clock, where it tells."""
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """What code gets wrong, the database refuses."""

        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["job", "state"], name="event_once_per_state"),
            models.UniqueConstraint(
                fields=["job"], condition=Q(state__in=ENDS), name="event_one_end_per_job"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.state}"


class Watch(models.Model):
    """The one watch: who holds it, until when, and up to where it has been told."""

    name = models.CharField(max_length=63, primary_key=True)
    holder = models.UUIDField(null=True)
    expires_at = models.DateTimeField(null=True)
    cursor = models.TextField(blank=True)

    class Meta:
        """English."""

        verbose_name_plural = "watches"

    def __str__(self) -> str:
        return self.name
