"""Tasks that got lost, sent again: by a broker that died, or by a worker that gave up."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import close_old_connections
from django.db.models import Q
from django.utils import timezone
from kombu.exceptions import OperationalError

from jobs.models import ENDS, Job, State
from jobs.tasks import cancel_job, create_job

MAX_AT_ONCE = 500

logger = logging.getLogger(__name__)


def sweep() -> None:
    """Send the tasks of all rows that wait for one for too long, oldest first."""
    try:
        for job in _overdue():
            task = create_job if job.state == State.QUEUED else cancel_job
            task.delay(job.pk)
            Job.objects.filter(pk=job.pk).update(sent_at=timezone.now())
            logger.info("%s: sent %s again", job, task.name)
    except OperationalError as error:
        logger.warning("the broker can't be reached, next time: %s", error)
    finally:
        close_old_connections()


def _overdue() -> list[Job]:
    since = timezone.now() - timedelta(seconds=settings.SWEEP_AFTER_SECONDS)
    waiting = Q(state=State.QUEUED) | Q(cancel_requested=True)
    rows = Job.objects.exclude(state__in=ENDS).filter(waiting, sent_at__lt=since)
    return list(rows.order_by("sent_at")[:MAX_AT_ONCE])
