"""What a watch tells, brought into the database together with the cursor after it."""

import logging
from collections.abc import Sequence
from uuid import UUID

from django.utils import timezone

from jobengine import WatchEvent, WatchJobsResponse
from jobs import history, lease
from jobs.models import Job, State

GONE = "The service doesn't know it any more; how it ended can't be known"

logger = logging.getLogger(__name__)


class Told:
    """What one watch has told since it began."""

    def __init__(self) -> None:
        # Only what was known before the call can be missed in its list: what is created while the
        # list is sent needn't be in it.
        rows = Job.objects.filter(removed_at=None).exclude(uid="")
        self._unheard = set(rows.values_list("uid", flat=True))

    def record(self, holder: UUID, messages: Sequence[WatchJobsResponse]) -> None:
        """Store messages, and the cursor after them, in one transaction.

        Raises:
            LeaseLost: another watcher has taken over; nothing was stored.
        """
        with lease.held(holder) as watch:
            for message in messages:
                self._record(message)
                # Messages of a full list have none: who is cut off within it begins again.
                watch.cursor = message.cursor or watch.cursor
            watch.save(update_fields=["cursor"])

    def _record(self, message: WatchJobsResponse) -> None:
        if message.event == WatchEvent.WATCH_EVENT_SYNCED:
            if message.full:
                self._forget_others()
            return
        self._unheard.discard(message.job.uid)
        job = history.locked().filter(name=message.job.name, removed_at=None).first()
        if job is None or job.uid not in ("", message.job.uid):
            logger.debug("%s (uid %s) isn't ours, or is gone", message.job.name, message.job.uid)
            return
        history.record_status(job, message.job.uid, message.job.status)
        if message.event == WatchEvent.WATCH_EVENT_DELETED:
            _remove(job)

    def _forget_others(self) -> None:
        """All there is has been told: what hasn't is gone."""
        for uid in self._unheard:
            job = history.locked().get(uid=uid)
            if not job.ended:
                history.move(job, State.LOST, "DELETED", GONE)
            _remove(job)
        self._unheard.clear()


def _remove(job: Job) -> None:
    job.removed_at = timezone.now()
    job.save(update_fields=["removed_at"])
